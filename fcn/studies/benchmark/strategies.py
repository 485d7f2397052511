"""Blended windows against the whole image in one pass, over image sizes: time, peak memory, and where labels differ.

Each run has a process of its own. A label that differs is counted as one at a seam where it lies within ``NEAR`` pixels of the edge of a
window, and the share of all pixels that lie so near is told beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from fcn.inference.strategies import create_strategy
from fcn.inference.windows import positions
from fcn.models.segmenter import ModelSpec, create_model
from fcn.studies.benchmark.rows import Row, Section
from fcn.studies.benchmark.sliding import image, placed
from fcn.studies.measure import measured

NEAR = 16  # pixels


def strategy_rows(
    spec: ModelSpec, *, sizes: Sequence[int], window: int, device: torch.device, dtype: torch.dtype, channels_last: bool
) -> Section:
    """For a model with random weights, a case for each of the ``sizes``, the sides of square images."""
    ways: list[tuple[str, str, dict[str, Any]]] = [("whole", "whole", {})]
    ways += [(f"windows, overlap {overlap}", "windows", {"size": window, "overlap": overlap}) for overlap in (0.25, 0.5)]
    rows = []
    for size in sizes:
        whole: NDArray[np.uint8] | None = None
        for way, name, options in ways:
            case = f"{spec.model} on {spec.backbone}, {size}x{size}"
            arguments = (asdict(spec), size, name, options, str(device), dtype, channels_last)
            try:
                found = measured(make, *arguments, on_gpu=device.type == "cuda")
            except RuntimeError as error:  # an image too large for one pass is a result, too
                rows.append(Row(case, way, None, note=str(error)))
                continue
            row = Row(case, way, found.seconds, memory=found.memory)
            if name == "whole":
                whole = found.result
            elif whole is not None:
                wrong = found.result != whole
                row.equal = 1 - float(wrong.mean())
                seams = near_seams(size, window, options["overlap"])
                at_seams = float(wrong[seams].sum() / max(1, wrong.sum()))
                row.note = (
                    f"{wrong.sum():,} labels differ, {100 * at_seams:.0f} % of them at seams ({100 * seams.mean():.0f} % of the image)"
                )
            rows.append(row)
    return Section(
        "Strategies over image sizes", rows, f"Random weights; windows of {window} pixels, Gaussian weights; float scores blended."
    )


def near_seams(size: int, window: int, overlap: float) -> NDArray[np.bool_]:
    """(size, size): pixels within ``NEAR`` of a window's edge inside the image."""
    starts, side = positions(size, window, overlap)
    edges = sorted({edge for start in starts for edge in (start, start + side)} - {0, size})
    axis = np.zeros(size, np.bool_)
    for edge in edges:
        axis[max(0, edge - NEAR) : edge + NEAR] = True
    return axis[:, None] | axis


def make(
    spec: dict[str, Any], size: int, name: str, options: dict[str, Any], device: str, dtype: torch.dtype, channels_last: bool
) -> Callable[[], NDArray[np.uint8]]:
    """A strategy on a model and an image, warmed up on a small one."""
    torch.manual_seed(0)
    network = create_model(**spec).eval()
    for module in network.decoder.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():  # zero at the start: no labels to compare
            nn.init.normal_(module.weight, std=0.1)
    network = placed(network, device=torch.device(device), dtype=torch.float32, channels_last=channels_last)
    picture = image(size)[0].mul_(50).add_(128).clamp_(0, 255).to(torch.uint8)
    strategy = create_strategy(name, **options)

    def call() -> NDArray[np.uint8]:
        with torch.autocast(torch.device(device).type, dtype, enabled=dtype != torch.float32):
            return strategy(network, picture).numpy()

    strategy(network, picture[:, :256, :256])
    return call
