"""The check of a split's samples before a long run: does every pair exist, decode, match in size, and hold known labels?"""

import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import TypeVar

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import kind_of
from fcn.core.names import listed, shown
from fcn.core.progress import Progress
from fcn.data.census import Census, count_values
from fcn.data.split import Split, spread

T = TypeVar("T")

MODES = ("auto", "all", "none")
_SAMPLE = 500  # pairs that "auto" looks at
_SHOWN = 5  # kinds of faults that are told
_ALIKE = 3  # samples that are named beside the first of a kind


def verify(split: Split, mode: str = "auto", *, progress: bool = True) -> Census:
    """Reads samples of a split as training will and returns what their label maps hold.

    mode: ``all`` reads every sample, ``none`` none, ``auto`` all up to 500, else 500 that are evenly spread.
    progress: show progress on stderr.

    Raises UserError for an empty split, and for faulty samples. The message gives one fault of each kind in full.
    """
    if mode not in MODES:
        raise UserError(f"verify is one of {', '.join(MODES)}, not '{mode}'")
    if len(split) == 0:
        raise UserError("the split is empty: it needs at least one sample")
    if mode == "none":
        return Census(split.labels, len(split))
    census, faults = Census(split.labels, len(split)), []
    most = len(split) if mode == "all" else _SAMPLE
    for index, found in looks(
        split, most, lambda index, image, labels: count_values(labels, split.labels.void), "verifying", progress=progress
    ):
        if isinstance(found, str):
            faults.append((split.names[index], found))
        else:
            census.add(found)
    if faults:
        lines = list(by_kind(faults))
        more = f"\n  and {len(lines) - _SHOWN} other faults" if len(lines) > _SHOWN else ""
        count = min(len(split), most)
        looked = f"{count} samples" if count == len(split) else f"{count} samples looked at (of {len(split)})"
        raise UserError(f"{len(faults)} of {looked} cannot be used:\n  " + "\n  ".join(lines[:_SHOWN]) + more)
    return census


def by_kind(faults: list[tuple[str, str]]) -> Iterator[str]:
    """Sentences on samples (name, fault): of those that differ in paths and numbers only, the first, and the names of the others."""
    kinds: dict[str, list[tuple[str, str]]] = {}
    for name, fault in faults:
        kind = re.sub(r"#[0-9a-f]{6}|\d+", "", " ".join(word for word in fault.split() if os.sep not in word))
        kinds.setdefault(kind, []).append((name, fault))
    for (_, first), *others in kinds.values():
        names = listed([f"'{shown(name)}'" for name, _ in others], _ALIKE)
        yield f"{first} (the same with {names})" if others else first


def looks(
    split: Split, most: int, look: Callable[[int, Tensor, Tensor], T], title: str, *, progress: bool
) -> Iterator[tuple[int, T | str]]:
    """What ``look(index, image, labels)`` returns for each of ``most`` samples, evenly spread; or what is wrong with one, in a sentence."""
    indices = spread(range(len(split)), most)
    with ThreadPoolExecutor(min(8, cpu_count() or 1)) as pool:
        found = pool.map(lambda index: _looked_at(split, index, look), indices)
        yield from zip(indices, Progress(title, len(indices), "pairs", shown=progress).over(found), strict=True)


def _looked_at(split: Split, index: int, look: Callable[[int, Tensor, Tensor], T]) -> T | str:
    name = split.names[index]
    try:
        image, labels = split[index]
        kind = kind_of(split)
        if image.dtype != getattr(torch, kind.dtype) or image.ndim != 3 or image.shape[0] != kind.channels:
            wanted = f"{kind.dtype} ({kind.channels}, H, W)"
            return f"{name}: the image is {image.dtype} of shape {tuple(image.shape)} instead of {wanted}"
        known = split.labels
        if labels.dtype != getattr(torch, known.dtype) or labels.shape != image.shape[1:]:
            wanted = f"{known.dtype} {tuple(image.shape[1:])}"
            return f"{name}: the label map is {labels.dtype} of shape {tuple(labels.shape)} instead of {wanted}"
        if ((labels >= known.num_classes) & (labels != known.void)).any() or int(labels.min()) < 0:
            return f"{name}: the label map holds values that are neither one of the {known.num_classes} classes nor {known.void}"
        return look(index, image, labels)
    except (UserError, OSError) as error:
        return str(error)
