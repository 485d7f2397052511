"""The scores of an image that are wanted, band by band and strip by strip: what is read of the image, and what is computed of it.

Of a raster some rows may be wanted, and pixels may be no data. Then what those rows see is read and computed, and nothing else: where the
next pixel with data lies so far down that nothing is computed twice, the pass ends, and another one begins there.
"""

import logging
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Tensor

from fcn.inference.grid import Axis
from fcn.inference.memory import ran_out
from fcn.inference.scores import Image
from fcn.inference.stream.plan import Interval, cells
from fcn.inference.stream.scores import Known, Prepared, gather, score_bands
from fcn.models.segmenter import Cell
from fcn.rasters.rows import Rows

log = logging.getLogger(__name__)

ALIGNED = 512  # columns of which strips of a wide image are multiples: files have tiles of so many, or of a divisor


class Wanted:
    """What is wanted of an image: all of it, or the rows ``wanted`` of a raster."""

    def __init__(self, prepared: Prepared, image: Image, cell: Cell, normalize: Callable[[Tensor], Tensor]) -> None:
        """cell: cells of the scores. normalize: images (1, C, rows, columns) as they are stored to what the network takes."""
        height, self.width = image.shape[-2:]
        self.prepared, self.image, self.cell, self.normalize = prepared, image, cell, normalize
        output = prepared.program.instructions[prepared.program.output]
        self.down, self.across = (
            Axis.over(points, side, corners=cell.corners) for points, side in zip(output.sizes, (cell.down, cell.across), strict=True)
        )
        self.pixels = image.wanted if isinstance(image, Rows) else (0, height)  # rows
        self.rows = cells_of(self.down, *self.pixels)  # of the scores
        self.come = 0  # rows of the image that this pass has read

    def columns(self, strip: Interval) -> Interval:
        """The columns of the scores that a strip of pixels lies at."""
        return cells_of(self.across, *strip)

    def read(self, first: int, end: int, left: int, right: int) -> Tensor:
        """A part of the normalised image (``Source``)."""
        self.come = end
        if isinstance(self.image, Rows):
            return self.normalize(self.image[:, first:end, left:right][None])
        return self.normalize(self.image[:, first:end][None, ..., left:right])

    def bands(self, band: int) -> Iterator[Tensor]:
        """The scores (C, rows, columns) in bands of so many rows of the image, one below the other."""
        known, band = self._known(band, 1)
        yield from self._bands(known, band, (0, self.width))

    def strips(self, band: int, count: int) -> Iterator[tuple[Interval, Iterator[Tensor]]]:
        """The first column and the end of each strip of pixels, and the bands of its scores."""
        known, band = self._known(band, count)
        for strip in self.edges(count):
            yield strip, self._bands(known, band, strip)

    def edges(self, count: int) -> list[Interval]:
        """Pixels of ``count`` strips. Those of a raster are whole tiles wide."""
        ends = [self.width * index // count for index in range(count + 1)]
        if isinstance(self.image, Rows) and self.width >= 2 * ALIGNED * count:
            ends[1:-1] = [round(end / ALIGNED) * ALIGNED for end in ends[1:-1]]
        return list(pairwise(ends))

    def _known(self, band: int, count: int) -> tuple[Known, int]:
        """What needs all of the image, and the rows of a band: half as many each time that memory runs out."""
        while True:
            try:
                return gather(self.prepared, self.read, band=band, strips=count), band
            except (RuntimeError, MemoryError) as error:
                band = halved(band, error)

    @torch.inference_mode()
    def _bands(self, known: Known, band: int, strip: Interval) -> Iterator[Tensor]:
        """Bands (C, rows, columns) of a strip's scores, zeros where no pixel with data lies at them. Where memory runs out, it goes on from
        the same row with half the band."""
        columns = self.columns(strip)
        output = self.prepared.program.instructions[self.prepared.program.output]
        skips = Skips(self, known, columns)
        done, end = self.rows
        self.come, tall = 0, 1
        wanted = skips.next_wanted(done)
        while done < end:
            if wanted > done:
                for first in range(done, wanted, tall):  # no more at once than is computed at once
                    yield self.prepared.program.like.new_zeros(output.shape[1], min(tall, wanted - first), columns[1] - columns[0])
                done = wanted
                continue
            try:
                for first, scores in score_bands(self.prepared, self.read, known, band=band, columns=columns, rows=(done, end)):
                    tall, done = scores.shape[2], first + scores.shape[2]
                    yield scores[0]
                    wanted = skips.next_wanted(done)
                    if wanted > done:
                        break
            except (RuntimeError, MemoryError) as error:
                band = halved(band, error)


class Skips:
    """Which rows of a strip's scores no pixel with data lies at."""

    def __init__(self, wanted: Wanted, known: Known, columns: Interval) -> None:
        self.wanted = wanted
        self.image = wanted.image if isinstance(wanted.image, Rows) and wanted.image.raster.has_nodata else None
        if self.image is None:
            return
        prepared = wanted.prepared
        self.instructions, _ = prepared.plan([prepared.program.output], known.values, 1, wanted.rows)
        self.known, self.output, self.input = known.values, prepared.program.output, prepared.program.input.name
        self.across = cells(self.instructions, {self.output: columns}, self.known, axis=1).get(self.input, (0, 0))
        self.starts = wanted.down.starts(self.image.shape[1], torch.empty(0))  # the row of scores before each row of pixels
        self.looked = -1  # row of pixels up to which it is known that there is nothing to skip

    def next_wanted(self, done: int) -> int:
        """The first row of the scores, from ``done`` on, that is to be computed: ``done``, unless those below it can be left out."""
        if self.image is None or self.across[0] == self.across[1]:
            return done
        row = max(int(torch.searchsorted(self.starts, done - 1)), self.wanted.pixels[0])  # the first that lies at `done`
        if row <= self.looked or row >= self.wanted.pixels[1]:
            return done
        valid = self.looked = self.image.next_valid(row, *self.across)
        if valid >= self.wanted.pixels[1]:
            return self.wanted.rows[1]
        following = max(done, int(self.starts[valid]))
        span = cells(self.instructions, {self.output: (following, self.wanted.rows[1])}, self.known, axis=0)
        return following if span[self.input][0] >= self.wanted.come else done


def cells_of(axis: Axis, first: int, end: int) -> Interval:
    """The cells of the scores that the pixels ``[first, end)`` lie at."""
    low, high = axis.reach(first, end, torch.empty(0))
    return low, high + 1


def halved(rows: int, error: Exception) -> int:
    """Half the band, if it was memory that ran out; else the error is raised again."""
    if rows == 1 or not ran_out(error):
        raise error
    log.warning("memory ran out with bands of %d rows; going on with %d", rows, rows // 2)
    return rows // 2
