"""A classifier in sliding windows: where they stand, some of them, and the classifier on each."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

Place = tuple[int, int]  # the upper left pixel of a window: row, column


def grid(size: tuple[int, int], window: tuple[int, int], step: int) -> list[Place]:
    """The places of all windows in an image, row by row; sizes are (height, width)."""
    rows, columns = (range(0, side - length + 1, step) for side, length in zip(size, window, strict=True))
    return [(row, column) for row in rows for column in columns]


def spread_evenly(places: list[Place], count: int) -> list[Place]:
    count = min(count, len(places))
    return [places[round(index * (len(places) - 1) / max(1, count - 1))] for index in range(count)]


@torch.inference_mode()
def in_windows(classifier: nn.Module, cut: Callable[[int, int], Tensor], places: Sequence[Place], batch: int) -> Tensor:
    """Scores (windows, classes), ``batch`` windows in a pass. cut: gives the window (C, h, w) at a row and a column."""
    parts = [places[start : start + batch] for start in range(0, len(places), batch)]
    return torch.cat([classifier(torch.stack([cut(*place) for place in part])) for part in parts])


def cutting(picture: Tensor, window: tuple[int, int]) -> Callable[[int, int], Tensor]:
    """What cuts windows out of one image (1, C, H, W)."""
    return lambda row, column: picture[0, :, row : row + window[0], column : column + window[1]]
