"""Pictures of a comparison: where the methods' label maps differ most, and what their networks make of a flat image."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fcn.data.measured import measured
from fcn.data.pictures import colorize
from fcn.data.split import Split
from fcn.data.visible import visible
from fcn.tools.crops import SIDE, Bytes, busiest

SHOWN = 6  # images of which a crop is shown


class Crop(NamedTuple):
    """A square of an image: its name, the picture (H, W, 3), and the label maps of the truth and of each method in colours."""

    name: str
    image: Bytes
    maps: dict[str, Bytes]
    disagreement: float  # share of the square's pixels on which not all methods agree


def disputed(truth: Tensor, maps: list[Tensor], void: int) -> Tensor:
    """(H, W) bool: pixels with a truth that not all label maps label alike."""
    first = maps[0]
    differs = torch.zeros_like(truth, dtype=torch.bool)
    for other in maps[1:]:
        differs |= other != first
    return differs & (truth != void)


def read_kept(folder: Path, report: Mapping[str, Any], kind: str) -> tuple[int | None, dict[str, dict[str, Any]]]:
    """The first seed of which all variants kept a file of this kind, "kept" or "flat", and what each kept in it; None and nothing where
    there is none."""
    for seed in report["settings"]["seeds"]:
        mine = {variant: report["cells"].get(f"{variant}-{seed}") for variant in report["summary"]}
        paths = {
            variant: folder / "cells" / one["cell"] / one["files"][kind] for variant, one in mine.items() if one and kind in one["files"]
        }
        if len(paths) == len(mine) and all(path.is_file() for path in paths.values()):
            return seed, {variant: dict(np.load(path)) for variant, path in paths.items()}
    return None, {}


def choose(kept: Mapping[str, Mapping[str, Any]], split: Split) -> list[Crop]:
    """The crops in which the methods differ most, one of an image, the most disputed first."""
    found = []
    for key in next(iter(kept.values()), {}):
        truth = split.truth(int(key))
        maps = {method: torch.from_numpy(mine[key]) for method, mine in kept.items()}
        side = max(1, round(SIDE * min(truth.shape)))
        top, left, share = busiest(disputed(truth, list(maps.values()), split.labels.void), side)
        if share:
            found.append((share, int(key), top, left, side))
    crops = []
    images = measured(split, progress=False)
    for share, index, top, left, side in sorted(found, key=lambda one: (-one[0], one[1]))[:SHOWN]:
        image, truth = split[index]
        part = slice(top, top + side), slice(left, left + side)
        pictures = {"truth": colorize(truth[part], split.labels)}
        pictures |= {method: colorize(mine[str(index)][part], split.labels) for method, mine in kept.items()}
        picture = visible(image, images)[:, part[0]][..., part[1]].permute(1, 2, 0).numpy()
        crops.append(Crop(str(split.names[index]), picture, pictures, share))
    return crops


class Pattern(NamedTuple):
    """What a network makes of a flat image: a grey picture (H, W) of the class that varies most, its mean mid-grey. Also the root mean
    square of all scores, less what all classes have in common."""

    picture: Bytes
    spread: float


def patterns(flat: Mapping[str, Mapping[str, Any]]) -> tuple[dict[str, Pattern], float]:
    """The pattern of each method, from its ``scores`` (images, num_classes, H, W), and by how much black and white lie below and above
    mid-grey. One scale serves all, so that a flat picture is a flat map."""
    varying, spread = {}, {}
    for method, mine in flat.items():
        scores = mine["scores"].astype(np.float64)
        scores = scores - scores.mean(-3, keepdims=True)
        spread[method] = float(np.sqrt((scores**2).mean()))
        maps = (scores - scores.mean((-2, -1), keepdims=True)).reshape(-1, *scores.shape[-2:])
        varying[method] = maps[(maps**2).mean((1, 2)).argmax()]
    largest = max((float(np.abs(one).max()) for one in varying.values()), default=0.0)
    grey = {method: np.round(128 + 127 * one / (largest or 1.0)).astype(np.uint8) for method, one in varying.items()}
    return {method: Pattern(grey[method], spread[method]) for method in flat}, largest
