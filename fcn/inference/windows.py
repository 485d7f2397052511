"""The classical sliding window: overlapping windows, each taken through the network by itself, their scores blended.

It is approximate: a pixel near a window's edge is scored without what lies beyond it. What it costs in memory does not depend on the
height of the image: scores are accumulated for the rows that windows still reach, and labelled as soon as no further window does.
"""

import torch
from torch import Tensor

from fcn.models.segmenter import Segmenter


@torch.inference_mode()
def windows(
    model: Segmenter, image: Tensor, *, size: int = 512, overlap: float = 0.5, batch_size: int = 1, weights: str = "gaussian"
) -> Tensor:
    """Labels (H, W) of an image uint8 (3, H, W) by windows of ``size`` pixels a side (the image's own where that is smaller).

    overlap: share of a window's side that the next one covers too (0 or more, below 1); batch_size: windows per pass; weights: "gaussian"
    (the middle of a window counts most, deviation a quarter of the side) or "constant".
    """
    height, width = image.shape[-2:]
    rows, tall = positions(height, size, overlap)
    columns, wide = positions(width, size, overlap)
    profile = window_profile(tall, weights)[:, None] * window_profile(wide, weights)[None, :]
    profile = profile.to(model.mean.device)
    labels = torch.empty(height, width, dtype=torch.uint8)
    total: Tensor | None = None  # (num_classes, tall, W): sums of weighted scores for the rows from `row` on
    for position, row in enumerate(rows):
        for start in range(0, len(columns), batch_size):
            group = columns[start : start + batch_size]
            cut = torch.stack([image[:, row : row + tall, column : column + wide] for column in group])
            scores = model(model.normalize(cut)).float()
            if total is None:
                total = scores.new_zeros(scores.shape[1], tall, width)
            for column, score in zip(group, scores, strict=True):
                total[:, :, column : column + wide] += score * profile
        assert total is not None
        done = (rows[position + 1] if position + 1 < len(rows) else height) - row
        labels[row : row + done] = total[:, :done].argmax(0).to("cpu", torch.uint8)
        total = torch.cat([total[:, done:], torch.zeros_like(total[:, :done])], 1)
    return labels


def positions(length: int, size: int, overlap: float) -> tuple[list[int], int]:
    """Where windows start along an axis of ``length`` pixels, and their side: evenly spread, the first and the last at the ends, each
    covering at least ``overlap`` of its predecessor."""
    side = min(size, length)
    step = max(1, int(side * (1 - overlap)))
    count = -(-(length - side) // step) + 1
    return [round(index * (length - side) / max(1, count - 1)) for index in range(count)], side


def window_profile(side: int, weights: str) -> Tensor:
    """(side,) weights of a window's pixels along one axis, all above 0."""
    if weights == "constant":
        return torch.ones(side)
    if weights != "gaussian":
        raise ValueError(f"inference.weights={weights} is not known; allowed: constant, gaussian")
    distance = (torch.arange(side) - (side - 1) / 2) / (side / 4)
    return torch.exp(-0.5 * distance**2)
