"""Labels of rasters: images that are large, or that lie on the earth. Neither the image nor its labels are ever whole in memory.

Finished rows go to a file beside the results (``fcn/rasters/spool.py``). A run that was cut goes on behind them. When all are there, the
results are made of them, each whole or not at all, and the file is removed.
"""

import os
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from fcn.core.errors import UserError
from fcn.core.progress import Progress, tell
from fcn.data.pictures import save_overlay
from fcn.data.visible import visible
from fcn.inference.blocks import label_blocks
from fcn.inference.scores import Block
from fcn.inference.stream import prepare
from fcn.models.segmenter import Segmenter
from fcn.rasters.opening import open_raster
from fcn.rasters.outputs import reduced, save_map
from fcn.rasters.polygons import save_polygons
from fcn.rasters.raster import Raster
from fcn.rasters.spool import Finished, Shape, Spool, file_dtype
from fcn.tools.predict.plan import Image
from fcn.tools.predict.settings import PredictConfig
from fcn.tools.predict.shares import Shares

SECTION = 8192  # rows of a scene that are computed by themselves
POLYGON_ROWS = 512  # of a map, in which outlines are drawn at once


class RasterLabelling:
    """Labels rasters with one model.

    folder: where the results go. progress: show how far a raster is.
    """

    def __init__(self, model: Segmenter, config: PredictConfig, folder: Path, shares: Shares, *, progress: bool) -> None:
        assert model.labels is not None
        self.model, self.config, self.folder, self.shares, self.progress = model, config, folder, shares, progress
        self.label_set = model.labels

    def __call__(self, image: Image) -> bool:
        """Whether the raster is labelled now; one that could not be read is named. The last of several parts makes the results.

        Raises OSError, saying how to go on, where the results cannot be written.
        """
        try:
            raster = open_raster(image.path, bands=self.config.bands, page=self.config.page, level=self.config.level)
        except (UserError, OSError) as error:
            return skipped(image, error)
        with raster:
            try:
                for note in raster.notes() if image.part == 0 else ():
                    tell(f"note: {note}")
                self.compute(image, raster)
                if self.shares.count(image.path) < image.parts:
                    return False
                self.finish(image, raster)
            except UserError as error:
                return skipped(image, error)
            except OSError as error:
                raise type(error)(f"{error}; fcn predict resume={self.folder} goes on with what is finished") from error
        return True

    def compute(self, image: Image, raster: Raster) -> None:
        """Puts the rows that are not finished yet on the disk."""
        shape = Shape(raster.height, raster.width, file_dtype(self.label_set), self.config.confidence, source=state_of(raster))
        height, parts = raster.height, min(image.parts, raster.height)
        wanted = height * image.part // parts, height * (image.part + 1) // parts
        if image.part >= parts:
            return
        with Spool(self.folder / image.rows, shape, wanted) as spool:
            for block in self.blocks(raster, spool):
                sure = None if block.confidence is None else block.confidence.numpy()
                spool.write(block.top, block.left, block.labels.numpy(), sure)

    def blocks(self, raster: Raster, spool: Spool) -> Iterator[Block]:
        """The blocks that are not on the disk yet."""
        first, rows = spool.first_row, self.section(raster)
        if spool.first < first < spool.end:
            tell(f"{raster.name} goes on behind row {first:,} of {raster.height:,}")
        shown = Progress(Path(raster.name).name, spool.end - spool.first, "rows", start=first - spool.first, shown=self.progress)
        with shown:
            for top in range(spool.first, spool.end, rows):
                end = min(top + rows, spool.end)
                if end <= first:
                    continue
                for block in self.label(raster, top, end):
                    done = spool.done(block.left) - block.top  # rows of the block that are there already
                    if done < len(block.labels):
                        yield block if done <= 0 else without(block, done)
                    if block.left + block.labels.shape[1] == raster.width:
                        shown.update(max(0, block.top + len(block.labels) - spool.first - shown.done))

    def label(self, raster: Raster, first: int, end: int) -> Iterator[Block]:
        config = self.config
        return label_blocks(
            self.model,
            raster,
            strategy=config.inference.name,
            first_row=first,
            end_row=end,
            precision=config.precision,
            confidence=config.confidence,
            **config.inference.options(),
        )

    def section(self, raster: Raster) -> int:
        """Rows that are computed by themselves, in a run that is cut as in one that is not. So both have the same labels, bit by bit.

        All rows, where a section would cost more than what its first and last rows see: the network needs all of the image first, or is
        not streamed.
        """
        options = self.config.inference.options()
        augmented = options.get("flip") or list(options.get("scales") or [1.0]) != [1.0]
        if self.config.inference.name not in ("auto", "stream") or augmented:
            return raster.height
        try:
            return SECTION if prepare(self.model, raster.height, raster.width).passes == 1 else raster.height
        except UserError:
            return raster.height

    def finish(self, image: Image, raster: Raster) -> None:
        """Makes those results of the finished rows that are not there yet."""
        rows = [self.folder / part.rows for part in image.shared(self.folder, image.parts)]
        finished = Finished([path for path in rows if path.exists()])
        files = {kind: self.folder / name for kind, name in image.results.items()}
        missing = {kind: path for kind, path in files.items() if not path.exists()}
        place = raster.georeference
        for kind in ("labels", "confidence"):
            if kind in missing:
                save_map(
                    finished,
                    missing[kind],
                    label_set=self.label_set,
                    georeference=place,
                    confidence=kind == "confidence",
                    cloud=self.config.format == "cog",
                )
        if "polygons" in missing:
            save_polygons(finished.labels(POLYGON_ROWS), raster.height, missing["polygons"], label_set=self.label_set, georeference=place)
        if "overlay" in missing:
            small, labels = reduced(raster, finished)
            save_overlay(visible(small, self.model.images), labels, self.label_set, missing["overlay"], alpha=self.config.alpha)
        for path in rows:
            path.unlink(missing_ok=True)


def without(block: Block, rows: int) -> Block:
    """A block without its first rows."""
    return Block(block.top + rows, block.left, block.labels[rows:], None if block.confidence is None else block.confidence[rows:])


def skipped(image: Image, error: Exception) -> bool:
    reason = " ".join(str(error).split())
    tell(f"skipped: {reason}" if image.path in reason else f"skipped {image.path}: {reason}")
    return False


def state_of(raster: Raster) -> str:
    """What tells whether the files of a raster are still those that they were: their sizes and the times of their last changes."""
    count, state, digest = 0, "", sha256()
    for file in raster.files():
        count += 1
        try:
            found = os.stat(file)
            state = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:  # what only GDAL knows how to open
            state = ""
        digest.update(f"{state}\n".encode())
    return state if count == 1 else f"{count} files {digest.hexdigest()}"
