"""How much of its surroundings a network sees, measured: for networks of which no graph can be read.

Half of a picture is replaced. The scores that change on the other side of the line tell how far a pixel is seen. That is the halo that
windows need. Then the picture is moved: the smallest move with which the scores move along, unchanged, is the step on which windows may
begin. Last, windows with that halo and step are put together and compared with one pass, at a size with the same remainders as the image.
So a network that depends on the whole image in a way that was not seen before is refused.

The pictures are noise and parts of the image itself, and for the comparison the whole image made small as well: its windows are as
different from each other as those of the image. It is a measurement, not a proof: what none of these pictures showed is not known.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import lcm

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import Range
from fcn.core.names import said
from fcn.inference.scores import Image

Compute = Callable[[Tensor], Tensor]  # windows (1, C, h, w) of an image to scores (1, K, h, w)
Draw = Callable[[int, int, int], Tensor]  # height, width and a number to a picture (1, C, h, w)

OVERLAP = "inference.overlap"
STEPS = (1, 2, 4, 8, 16, 32, 64, 128)  # pixels, tried as the step
SMALLEST = 128  # side of the image that is measured on, pixels
COMPARED = 32  # pixels, at least, on which moved scores are compared
DRAWS = 2  # pictures of each kind
MOST = 2**26  # pixels of a file that is read once more, to make it small
SAME = 1e-6  # share of the range of the scores up to which a score counts as one that has not changed
CLOSE = 1e-4  # share of the range up to which scores of moved or cut images count as equal


@dataclass(frozen=True)
class Halo:
    """pixels: what a window needs on each side, a multiple of ``step``. step: multiples of it are where windows may begin."""

    pixels: int
    step: int


def mirrored(length: int, size: int) -> Tensor:
    """Indices of ``size`` places along an axis of ``length`` that goes on as in a mirror at each end."""
    place = torch.arange(size) % (2 * length)
    return torch.minimum(place, 2 * length - 1 - place)


@dataclass(frozen=True)
class Pictures:
    """What a network is tried on before it labels an image. ranges: of the values of the image's channels; None: 0 to 255."""

    image: Image
    ranges: Sequence[Range] | None = None

    def noise(self, height: int, width: int, seed: int) -> Tensor:
        shape = (1, self.image.shape[0], height, width)
        noise = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
        if self.ranges is not None:
            low, high = (torch.tensor([each[end] for each in self.ranges]).view(-1, 1, 1) for end in (0, 1))
            noise = low + noise.float() * ((high - low) / 255)
        return noise.to(self.image.device) if isinstance(self.image, Tensor) else noise

    def part(self, height: int, width: int, seed: int) -> Tensor:
        """A part of the image, anywhere; where that is smaller it goes on in mirrors."""
        _, tall, wide = self.image.shape
        generator = torch.Generator().manual_seed(seed)
        top, left = (int(torch.randint(max(0, most - side) + 1, (), generator=generator)) for most, side in ((tall, height), (wide, width)))
        rows = self.image[:, top : top + height][:, :, left : left + width]
        return rows[:, mirrored(rows.shape[1], height)][:, :, mirrored(rows.shape[2], width)][None]

    def small(self, height: int, width: int, seed: int) -> Tensor:
        """The whole image made small, pixels left out; of a very large file a part."""
        _, tall, wide = self.image.shape
        if tall * wide > MOST and not isinstance(self.image, Tensor):
            return self.part(height, width, seed)
        rows, columns = ((torch.arange(side) * most + most // 2) // side for side, most in ((height, tall), (width, wide)))
        if isinstance(self.image, Tensor):
            return self.image[:, rows][:, :, columns][None]
        return torch.cat([self.image[:, row : row + 1][:, :, columns] for row in rows.tolist()], 1)[None]


def measure(compute: Compute, pictures: Pictures, divisor: int, size: int) -> Halo:
    """The halo of a network for an image and windows of ``size`` pixels.

    Raises UserError where these cannot give what one pass gives.
    """
    _, height, width = pictures.image.shape
    side, largest = SMALLEST, max(SMALLEST, 2 * size)
    kinds = (pictures.noise, pictures.part)
    while True:
        seen = max(reach(compute, kind, side, flip, draw) for kind in kinds for flip in (False, True) for draw in range(DRAWS))
        steps = [step for step in STEPS if 2 * seen + step + COMPARED <= side]
        step = next((step for step in steps if all(moves_along(compute, kind, side, seen, step) for kind in kinds)), None)
        if step is not None:
            step = lcm(step, divisor)
            halo = Halo(-(-(seen + step) // step) * step, step)
            break
        if side >= largest:
            far = f"pixels {seen} apart still change each other's scores, which windows of {size} pixels cannot show"
            moved = f"the network's scores do not move along with the image, by no step up to {STEPS[-1]} pixels"
            raise UserError(f"{said(OVERLAP, 'exact')} is not possible: {moved if steps else far}; use {said(OVERLAP, 0.5)}")
        side = min(2 * side, largest)
    for kind in (*kinds, pictures.small):
        check(compute, kind, halo, height, width)
    return halo


def reach(compute: Compute, kind: Draw, side: int, flip: bool, draw: int) -> int:
    """How many rows and columns above and left of a line change with what is below or right of it (flip: the other way round)."""
    image, other, found = kind(side, side, draw), kind(side, side, draw + 100), 0
    before = compute(image)
    for axis in (2, 3):
        line = side // 2 + 5 * draw
        kept = slice(line, side) if flip else slice(0, line)
        mixed = other.clone()
        mixed.narrow(axis, kept.start, kept.stop - kept.start).copy_(image.narrow(axis, kept.start, kept.stop - kept.start))
        changed = differs(before, compute(mixed)).amax(1)[0].amax(1 if axis == 2 else 0)[kept].nonzero()
        if len(changed):
            found = max(found, int(changed.max()) + 1 if flip else line - int(changed.min()))
    return found


def differs(one: Tensor, other: Tensor) -> Tensor:
    """Where scores are not equal up to rounding."""
    return (one - other).abs() > SAME * range_of(one)


def range_of(scores: Tensor) -> float:
    """From the smallest to the largest; never 0."""
    return float((scores.max() - scores.min()).clamp_min(1e-30))


def moves_along(compute: Compute, kind: Draw, side: int, seen: int, step: int) -> bool:
    """Whether the scores of an image without its first ``step`` rows and columns are those of the whole, beyond what sees the cut."""
    image = kind(side, side, 7)
    whole, moved = compute(image), compute(image[..., step:, step:])
    inner = slice(seen, side - step - seen)
    return bool((whole[..., step:, step:][..., inner, inner] - moved[..., inner, inner]).abs().max() < CLOSE * range_of(whole))


def check(compute: Compute, kind: Draw, halo: Halo, height: int, width: int) -> None:
    """Raises UserError where windows differ from one pass on a small picture with the remainders of (height, width)."""
    size = 3 * halo.pixels  # a third of it is kept: with less, there would be very many windows
    sides = [side if side <= 2 * size else side % halo.step + 2 * size // halo.step * halo.step for side in (height, width)]
    image = kind(sides[0], sides[1], 11)[0]
    whole = compute(image[None])[0]
    found = torch.cat(list(cropped(compute, image, size, halo)), 1)
    if float((whole - found).abs().max()) > CLOSE * range_of(whole):
        other = f", or an image with sides that are multiples of {halo.step}" if height % halo.step or width % halo.step else ""
        raise UserError(
            f"{said(OVERLAP, 'exact')} is not possible for this image of {width}x{height} pixels: the network's scores depend on the whole "
            f"image or its size; use {said(OVERLAP, 0.5)}{other}"
        )


def cropped(compute: Compute, image: Image, size: int, halo: Halo) -> Iterator[Tensor]:
    """Bands (C, rows, W) of scores: of each window of up to ``size`` pixels, without what sees its edges inside the image."""
    height, width = image.shape[-2:]
    rows, columns = (spans(side, size, halo) for side in (height, width))
    for top, bottom, first, last in rows:
        strip = image[:, top:bottom]
        parts = []
        for left, right, start, end in columns:
            scores = compute(strip[:, :, left:right][None])[0]
            parts.append(scores[:, first - top : last - top, start - left : end - left])
        yield torch.cat(parts, 2)


def spans(length: int, size: int, halo: Halo) -> list[tuple[int, int, int, int]]:
    """Windows along an axis: the first pixel and the end of each, and of what is kept of it."""
    if length <= size:
        return [(0, length, 0, length)]
    core = (size - 2 * halo.pixels) // halo.step * halo.step
    if core < 1:
        raise UserError(
            f"{said('inference.size', size)} is too small for {said(OVERLAP, 'exact')}: windows need {halo.pixels} pixels on each side "
            f"(measured); give {said('inference.size', 2 * halo.pixels + halo.step)} or more"
        )
    starts = range(0, length, core)
    return [(max(0, start - halo.pixels), min(length, start + core + halo.pixels), start, min(length, start + core)) for start in starts]
