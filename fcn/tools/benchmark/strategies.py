"""Stream and blended windows against the whole image in one pass, over image sizes: time, peak memory, and where labels differ.

Costs are measured in a process of its own for each way. Labels are compared here, pixel by pixel, and scores in rows spread over the
image. A label differs clearly where the network's best class is ahead by more than ``CLOSE``, as a share of the range of its scores. Below
it, rounding decides. It lies at a seam if it is within ``NEAR`` pixels of the edge of a window. The share of all pixels that are so near
stands beside it. In another number format than float32 the best class has to be ahead by more than that format's rounding, and the first
row is the first strategy in float32.

The machine's own convolutions are timed in the same turns, so that GFLOP/s can be compared on a machine that others use as well.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fcn.core.registry import build
from fcn.inference.kept import unchanged
from fcn.inference.scores import Reader, Scores, Strips
from fcn.inference.scoring import ScoresOf
from fcn.inference.strategies import create_strategy
from fcn.inference.stream import prepare
from fcn.inference.windows import positions
from fcn.models.segmenter import Segmenter
from fcn.tools.benchmark.rows import Row, Section, counted
from fcn.tools.benchmark.sliding import multiply_adds
from fcn.tools.benchmark.subject import Subject
from fcn.tools.measure import Maker, Measured, measured

NEAR = 16  # pixels
CLOSE = 1e-4
WARM = 1024  # pixels, side of the image that warms up: large enough for ``auto`` to look at the network
ROWS = 32  # of pixels, whose scores are compared
OVERLAPS = (0.25, 0.5)
PEAK = (128, 96, 4)  # channels, side and times of the 3x3 convolutions whose speed stands for the machine's: their maps stay in the cache
BATCH = {"cuda": 8}  # windows at a time; a CPU is as fast with one


class Result(NamedTuple):
    """What a strategy makes of an image: labels (H, W) and the scores (C, ROWS, W) of some rows. On request also the margin (H, W) by which
    each pixel's label is ahead of the next."""

    labels: NDArray[np.uint8]
    scores: Tensor
    margin: NDArray[np.float32]

    @property
    def range(self) -> float:
        return float(self.scores.max() - self.scores.min())


def strategy_rows(
    subject: Subject,
    *,
    strategies: Sequence[str],
    sizes: Sequence[int],
    window: int,
    device: torch.device,
    dtype: torch.dtype,
    channels_last: bool,
    turns: int,
) -> Section:
    """A case for each of ``sizes``, the sides of square images, for one model. Each has a row for each strategy, and for
    windows one for each overlap. The first that can be computed is what the others are compared to."""
    batch = BATCH.get(device.type, 1)
    blended = {
        f"windows, overlap {overlap}": ("windows", {"size": window, "overlap": overlap, "batch_size": batch}) for overlap in OVERLAPS
    }
    ways: dict[str, tuple[str, dict[str, Any]]] = {}
    for name in strategies:
        ways |= blended if name == "windows" else {name: (name, {})}
    types = dict.fromkeys(ways, dtype)
    if dtype != torch.float32:
        first = f"{next(iter(ways))}, float32"
        ways, types = {first: next(iter(ways.values())), **ways}, {first: torch.float32, **types}
    network = subject.made(str(device), channels_last)
    rows: list[Row] = []
    for size in sizes:
        makers: dict[str, Maker] = {
            way: (make, (subject, size, *chosen, str(device), types[way], channels_last)) for way, chosen in ways.items()
        }
        peaks = {of: f"convolutions, {of}" for of in dict.fromkeys(types.values())}
        makers |= {peaks[of]: (convolutions, (str(device), of, channels_last)) for of in peaks}
        times = measured(makers, turns=turns, on_gpu=device.type == "cuda")
        reached = {of: gflops(times[peaks[of]]) for of in peaks}
        found = {way: Row.of(f"{subject.name(network)}, {size}x{size}", way, times[way]) for way in ways}
        rows += found.values()
        done = [way for way, row in found.items() if row.seconds is not None]
        for way in done:
            found[way].macs, found[way].peak = cost(network, size, *ways[way]), reached[types[way]]
            found[way].note = f"{1e9 * (found[way].seconds or 0) / size**2:.0f} ns a pixel"
        if len(done) < 2:
            continue
        picture = subject.pixels(size)
        reference: Result | None = None
        for way in done:
            with torch.autocast(device.type, types[way], enabled=types[way] != torch.float32):
                result = read(build("inference", ways[way][0], network, picture, **ways[way][1]), size, margins=reference is None)
            if reference is None:
                reference = result
                continue
            seams = near_seams(size, window, ways[way][1]["overlap"]) if ways[way][0] == "windows" else None
            compare(found[way], result, reference, seams, close=max(CLOSE, 0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2))
    first = next(iter(ways))
    return Section(
        "Strategies over image sizes",
        rows,
        f"{'Random weights' if subject.spec else 'Weights as given'}; {subject.picture or 'noise'}; "
        f"windows of {window} pixels, {batch} at a time, Gaussian weights; "
        f"compared to {first} if there was memory for it. "
        f"Of peak: of the GFLOP/s of {PEAK[0]}-channel 3x3 convolutions in the same turns.",
    )


def compare(row: Row, found: Result, reference: Result, seams: NDArray[np.bool_] | None, *, close: float = CLOSE) -> None:
    """Note in ``row`` how far a result agrees with the reference.

    seams: (H, W), the pixels near the edges of windows. close: what a label has to be ahead by to differ clearly, a share of the scores'
    range.
    """
    row.difference = ((found.scores - reference.scores).abs().max() / reference.range).item()
    wrong = found.labels != reference.labels
    row.equal = 1 - float(wrong.mean())
    if not wrong.any():
        return
    clear = wrong & (reference.margin > close * reference.range)
    row.note += f"; {counted(int(wrong.sum()))}, {clear.sum():,} of them clearly"
    if seams is not None:
        row.note += f", {100 * wrong[seams].sum() / wrong.sum():.0f} % at seams ({100 * seams.mean():.0f} % of the image)"


@torch.inference_mode()
def read(scores: Scores | Strips, size: int, *, margins: bool) -> Result:
    """The result of a (size, size) image; ``margins``: whether they are wanted, which needs every pixel interpolated."""
    labels = np.empty((size, size), np.uint8)
    margin = np.empty((size, size) if margins else (0, 0), np.float32)
    rows = sorted({round(index * (size - 1) / (ROWS - 1)) for index in range(ROWS)})
    taken = []
    for left, right, strip in scores.strips if isinstance(scores, Strips) else [(0, size, scores)]:
        reader = Reader(strip, size, right - left)
        some = []
        for first, last in reader.bands():
            labels[first:last, left:right] = reader.labels(first, last).cpu().numpy()
            if margins:
                best, second = reader.values(first, last).topk(2, dim=0).values
                margin[first:last, left:right] = (best - second).cpu().numpy()
            some += [reader.values(row, row + 1).cpu() for row in rows if first <= row < last]  # last: what is above a row is let go
        taken.append(torch.cat(some, 1))
    return Result(labels, torch.cat(taken, 2), margin)


def cost(network: Segmenter, size: int, name: str, options: dict[str, Any]) -> int:
    """Multiply-adds of a strategy on a (size, size) image."""
    if name != "windows":
        once = multiply_adds(ScoresOf(network), size)
        return once if name != "stream" else int(once * prepare(network, size, size).price)
    starts, side = positions(size, options["size"], options["overlap"])
    return len(starts) ** 2 * multiply_adds(ScoresOf(network), side)


def near_seams(size: int, window: int, overlap: float) -> NDArray[np.bool_]:
    """(size, size): pixels within ``NEAR`` of a window's edge inside the image."""
    starts, side = positions(size, window, overlap)
    edges = sorted({edge for start in starts for edge in (start, start + side)} - {0, size})
    axis = np.zeros(size, np.bool_)
    for edge in edges:
        axis[max(0, edge - NEAR) : edge + NEAR] = True
    return axis[:, None] | axis


def make(
    subject: Subject, size: int, name: str, options: dict[str, Any], device: str, dtype: torch.dtype, channels_last: bool
) -> Callable[[], Any]:
    """A strategy on a model and an image, warmed up on a small one: as it is in a run over many images."""
    network, picture = subject.made(device, channels_last), subject.pixels(size)
    strategy = create_strategy(name, **options)
    run = ExitStack()
    run.enter_context(unchanged(network, many=True))

    def call(image: Tensor, run: ExitStack = run) -> None:  # which lasts as long as this
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            strategy(network, image)

    call(picture[:, :WARM, :WARM])
    return partial(call, picture)


def convolutions(device: str, dtype: torch.dtype, channels_last: bool) -> Callable[[], Any]:
    """As many multiply-adds a second as the machine has, by its own convolutions."""
    channels, side, times = PEAK
    order = torch.channels_last if channels_last else torch.contiguous_format
    x = torch.randn(1, channels, side, side, device=device, dtype=dtype).to(memory_format=order)
    weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype).to(memory_format=order)

    @torch.inference_mode()
    def call() -> None:
        for _ in range(times):
            torch.conv2d(x, weight, padding=1)

    call()
    return call


def gflops(found: Measured | RuntimeError) -> float | None:
    """The GFLOP/s of ``convolutions``."""
    channels, side, times = PEAK
    return None if isinstance(found, RuntimeError) else 2 * times * 9 * (channels * side) ** 2 / found.timing.low / 1e9
