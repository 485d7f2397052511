"""Finished rows of a label map, kept in one file that only grows, until the map is complete.

A record is a block of labels, and of confidence where it is asked for: compressed, with a checksum, synced to the disk before it counts.
A process that is killed leaves at most one torn record at the end. It is cut off when the file is opened again. The readable files (TIFF,
zarr, PNG, polygons) are made of the records when all rows are there: each is written once, from the top to the bottom.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fcn.core.errors import UserError
from fcn.core.files import explained, written
from fcn.core.labels import LabelSet

Block = NDArray[np.uint8] | NDArray[np.uint16]

RECORD = struct.Struct("<4sQQIIQQI")  # mark, top, left, rows, columns, bytes of labels, bytes of confidence, checksum
MARK = b"rows"
AT_ONCE = 2**22  # pixels of a record
WAITING = 2  # records that are being written while the next one is computed
LEVEL = 1  # of zlib: label maps are mostly runs


@dataclass(frozen=True)
class Shape:
    """What the rows of a spool are: the size of the whole map, the type of labels in files, whether confidence is kept.

    source: what tells whether the image is still the one that it was; not looked into.
    """

    height: int
    width: int
    dtype: str = "uint8"
    confidence: bool = False
    source: str = ""


class Record(NamedTuple):
    """Where a block lies on the map and in its file."""

    path: Path
    top: int
    left: int
    rows: int
    columns: int
    offset: int
    sizes: tuple[int, int]


class Spool:
    """A file of finished rows, open for more of them, as a context. What was torn off at its end is removed.

    path: the file; made where it is missing. shape: of all rows of the map. wanted: the first row that comes into this file, and the one
    behind the last; default: all. Raises UserError where the file holds rows of another shape, OSError with
    one sentence where it cannot be written.
    """

    def __init__(self, path: Path, shape: Shape, wanted: tuple[int, int] | None = None) -> None:
        self.path, self.shape = path, shape
        self.first, self.end = wanted or (0, shape.height)
        if not path.exists():
            with written(path) as temporary:
                temporary.write_bytes(json.dumps(asdict(shape)).encode() + b"\n")
        if (found := shape_of(path)) != shape:
            what = "the image has changed since" if replace(found, source=shape.source) == shape else "the image or the settings are others"
            raise UserError(f"{path} holds finished rows, but {what}; remove that file to label the image anew")
        self._done: dict[int, int] = {}  # by the first column of the strip
        self._columns: dict[int, int] = {}
        self._waiting: dict[int, list[tuple[int, Block, Block | None]]] = {}  # blocks of a strip that are no record yet
        end = len(json.dumps(asdict(shape))) + 1
        for record in records(path):
            self._done[record.left], self._columns[record.left] = record.top + record.rows, record.columns
            end = record.offset + sum(record.sizes)
        try:
            self.file: BinaryIO = open(path, "r+b")  # noqa: SIM115
            self.file.truncate(end)
            self.file.seek(end)
        except OSError as error:
            raise explained(error, path) from error
        self._pool = ThreadPoolExecutor(1)
        self._going: list[Future[None]] = []

    def done(self, left: int = 0) -> int:
        """The number of the first row that is not on the disk yet, in the strip that begins with this column."""
        return self._done.get(left, self.first)

    @property
    def first_row(self) -> int:
        """The number of the first row of which some pixels are not on the disk yet."""
        return min(self._done.values()) if sum(self._columns.values()) == self.shape.width else self.first

    def write(self, top: int, left: int, labels: NDArray[Any], confidence: NDArray[np.uint8] | None = None) -> None:
        """Takes a block (rows, columns) of a strip, each right below the one before. Full records go to the disk beside the caller."""
        rows = self._waiting.setdefault(left, [])
        assert (confidence is not None) == self.shape.confidence
        assert not rows or top == rows[-1][0] + len(rows[-1][1]), (top, left)
        rows.append((top, labels.astype(self.shape.dtype, copy=True), None if confidence is None else confidence.copy()))
        end = top + len(labels)
        if end == self.end or (end - rows[0][0]) * labels.shape[1] >= AT_ONCE:
            self.flush(left)

    def flush(self, left: int) -> None:
        """Makes a record of what there is of a strip."""
        blocks = self._waiting.pop(left, [])
        if not blocks:
            return
        while len(self._going) >= WAITING:
            self._going.pop(0).result()
        self._going.append(self._pool.submit(self._append, left, blocks))

    def _append(self, left: int, blocks: list[tuple[int, Block, Block | None]]) -> None:
        labels = np.concatenate([labels for _, labels, _ in blocks])
        parts = [zlib.compress(labels.data, LEVEL)]
        if self.shape.confidence:
            parts.append(zlib.compress(np.concatenate([sure for _, _, sure in blocks if sure is not None]).data, LEVEL))
        sizes = len(parts[0]), len(parts[1]) if len(parts) > 1 else 0
        payload = b"".join(parts)
        head = RECORD.pack(MARK, blocks[0][0], left, *labels.shape, *sizes, zlib.crc32(payload))
        try:
            self.file.write(head + payload)
            self.file.flush()
            os.fsync(self.file.fileno())
        except OSError as error:
            raise explained(error, self.path) from error
        self._done[left], self._columns[left] = blocks[0][0] + len(labels), labels.shape[1]

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Puts what there is on the disk, also of a strip that was not finished."""
        try:
            if not isinstance(error, OSError):
                for left in list(self._waiting):
                    self.flush(left)
            for going in self._going:
                going.result()
        except OSError:
            if error is None:
                raise
        finally:
            self._pool.shutdown()
            with suppress(OSError):  # what the buffer still held was not synced, and does not count
                self.file.close()


def file_dtype(label_set: LabelSet) -> str:
    """The type of labels in files."""
    return "uint8" if label_set.dtype == "uint8" else "uint16"


def shape_of(path: Path) -> Shape:
    """The shape of the rows in a file. Raises UserError where it has none."""
    try:
        with open(path, "rb") as file:
            found = json.loads(file.readline(2**20))
        return Shape(**found)
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{path} is damaged: it is no file of finished rows; remove it and label the image again") from error


def records(path: Path) -> Iterator[Record]:
    """The whole records of a file, up to the first that is torn or damaged."""
    with open(path, "rb") as file:
        file.readline(2**20)
        while len(head := file.read(RECORD.size)) == RECORD.size:
            mark, top, left, rows, columns, labels, confidence, checksum = RECORD.unpack(head)
            offset, room = file.tell(), os.fstat(file.fileno()).st_size
            if mark != MARK or offset + labels + confidence > room:
                return
            if zlib.crc32(file.read(labels + confidence)) != checksum:
                return
            yield Record(path, top, left, rows, columns, offset, (labels, confidence))


class Finished:
    """All rows of a map, of one or more files of them: ``bands()`` reads them from the top to the bottom.

    Raises UserError where rows are missing.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.shape = shape_of(paths[0])
        found: dict[int, list[Record]] = {}
        for path in paths:
            for record in records(path):
                found.setdefault(record.left, []).append(record)
        self.strips = [sorted(found[left], key=lambda record: record.top) for left in sorted(found)]
        column = 0
        for strip in self.strips:
            row = 0
            for record in strip:
                if (record.top, record.left, record.columns) != (row, column, strip[0].columns):
                    raise self.incomplete(paths[0])
                row += record.rows
            if row != self.shape.height:
                raise self.incomplete(paths[0])
            column += strip[0].columns
        if column != self.shape.width:
            raise self.incomplete(paths[0])

    @staticmethod
    def incomplete(path: Path) -> UserError:
        return UserError(f"{path} does not hold all rows of its map, each once; remove it and label the image again")

    def labels(self, rows: int) -> Iterator[Block]:
        """The labels in bands (rows, width); the last one may be lower."""
        return self._bands(0, rows, self.shape.dtype)

    def confidence(self, rows: int) -> Iterator[Block]:
        """The confidence, in the same way."""
        return self._bands(1, rows, "uint8")

    def _bands(self, kind: int, rows: int, dtype: str) -> Iterator[Block]:
        height, width = self.shape.height, self.shape.width
        strips = [Strip(strip, kind, dtype) for strip in self.strips]
        for top in range(0, height, rows):
            band = np.empty((min(rows, height - top), width), dtype)
            for strip in strips:
                strip.read(top, band)
            yield band


class Strip:
    """Reads the records of a strip one after another, each once."""

    def __init__(self, strip: list[Record], kind: int, dtype: str) -> None:
        self.coming, self.kind, self.dtype = iter(strip), kind, dtype
        self.block, self.top = np.empty((0, 0), dtype), 0

    def read(self, top: int, band: Block) -> None:
        """Fills the columns of the strip in a band that begins with row ``top``."""
        row, end = top, top + len(band)
        while row < end:
            if row >= self.top + len(self.block):
                self._next()
            until = min(end, self.top + len(self.block))
            band[row - top : until - top, self.left : self.left + self.block.shape[1]] = self.block[row - self.top : until - self.top]
            row = until

    def _next(self) -> None:
        record = next(self.coming)
        with open(record.path, "rb") as file:
            file.seek(record.offset + sum(record.sizes[: self.kind]))
            values = np.frombuffer(zlib.decompress(file.read(record.sizes[self.kind])), self.dtype)
        self.block, self.top, self.left = values.reshape(record.rows, record.columns), record.top, record.left
