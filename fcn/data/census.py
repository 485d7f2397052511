"""The census of a split's label maps: pixels of each class and of void, and whether there is anything to learn or to score.

Binary masks of 0 and 255 are a trap. Most tools write them for "background and object". Read as class indices, they hold one class and
void (255). A network that predicts "background" everywhere then scores 1.0.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.core.names import listed, said
from fcn.data.split import Split

_SHOWN = 8  # classes that a sentence lists before "and so on"
_MOST = 30  # classes whose shares a line lists
_MUCH_VOID = 0.5
_NO_CLASSES = ("void", "ignore", "ignored", "unlabeled", "unlabelled", "dontcare", "don't care")


@dataclass
class Census:
    """Counts over the label maps that were read, ``samples`` of ``of``.

    ``pixels[value]``: pixels of each class index, and of void. ``inside[value]``: pixels, without void, of the label maps that hold it.
    ``kinds[values]``: label maps that hold exactly this set of values.
    """

    labels: LabelSet
    of: int
    samples: int = 0
    pixels: Tensor = field(init=False)
    inside: Tensor = field(init=False)
    kinds: Counter[frozenset[int]] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.pixels, self.inside = torch.zeros(2, self.labels.void + 1, dtype=torch.int64)

    def add(self, counts: Tensor) -> None:
        """Count one label map more; counts: its pixels of each value, as :func:`count_values` gives them."""
        self.samples += 1
        self.pixels += counts
        self.inside += (counts > 0) * (counts.sum() - counts[self.labels.void])
        self.kinds[frozenset(counts.nonzero()[:, 0].tolist())] += 1

    @property
    def classes(self) -> list[int]:
        """The classes that occur, in order."""
        return [int(index) for index in self.pixels[: self.labels.num_classes].nonzero()[:, 0]]

    @property
    def void(self) -> float:
        """The share of the pixels that is void."""
        return float(self.pixels[self.labels.void] / self.pixels.sum().clamp(min=1))

    def summary(self) -> str:
        """What was seen, in one line."""
        maps = (
            f"{self.samples} label map{'s' if self.samples > 1 else ''}"
            if self.samples == self.of
            else f"{self.samples} label maps looked at (of {self.of})"
        )
        return f"{maps}: {len(self.classes)} of {self.labels.num_classes} classes occur, {_percent(self.void)} of the pixels is void"


def shares(census: Census) -> str:
    """The share of the pixels that each class has, in one line, the most frequent first."""
    total = max(1, int(census.pixels.sum()))
    order = sorted(census.classes, key=lambda index: -int(census.pixels[index]))
    return listed([f"{census.labels.names[index]} {_percent(int(census.pixels[index]) / total)}" for index in order], _MOST)


def count_values(labels: Tensor, void: int) -> Tensor:
    """int64 ``(void + 1,)``: the pixels of each value of a label map, integers ``(H, W)``."""
    return labels.flatten().bincount(minlength=void + 1)


def need_classes(split: Split, count: int, what: str) -> None:
    """Read label maps of a split until ``count`` classes were met: usually one or two maps, in an order that is drawn.

    Raises UserError, which calls the split ``what``, where all of them hold fewer, and says what that looks like.
    """
    if not len(split):
        raise UserError(f"{what} is empty: it needs at least one sample")
    census = Census(split.labels, len(split))
    for index in Random(0).sample(range(len(split)), len(split)):
        census.add(count_values(split.truth(index), split.labels.void))
        if len(census.classes) >= count:
            return
    refuse_too_few(census, count, what)


def refuse_too_few(census: Census, count: int, what: str) -> None:
    """Raises UserError where all label maps were read and hold fewer than ``count`` classes."""
    found, names = census.classes, census.labels.names
    if len(found) >= count or census.samples < census.of:
        return
    if not found:
        raise UserError(
            f"the label maps of {what} hold nothing but void ({census.labels.void}): no pixel counts. "
            f"Write class indices, 0 to {len(names) - 1}, where a class is meant"
        )
    void = f" and void ({_percent(census.void)} of the pixels)" if census.void else ""
    raise UserError(f"the label maps of {what} hold one class only, {found[0]} ({names[found[0]]}){void}: {_why_one(census)}")


def refuse_scoring(census: Census, what: str) -> None:
    """Raises UserError where no pixel of a split counts, or where two classes are told in masks that look like 0 and 255.

    Such a score would be nan, or 1.0 for a network that says the first class everywhere.
    """
    refuse_too_few(census, 1, what)
    if census.labels.num_classes == 2 and census.classes == [0] and census.void:
        try:
            refuse_too_few(census, 2, what)
        except UserError as error:
            raise UserError(f"{error}. (If 255 does mean void, verify=none scores the masks as they are)") from None


def training_warnings(census: Census) -> Iterator[str]:
    """What may not be meant in a training split, each in a sentence, to be told before the first step."""
    names = census.labels.names
    suspects = [name for name in names if name.lower() in _NO_CLASSES]
    if suspects:
        yield f"{listed(suspects, _SHOWN)}: counted as a class, trained and scored; only the value {census.labels.void} (void) is left out"
    missing = [name for index, name in enumerate(names) if index not in census.classes]
    if missing:
        where = "no training mask" if census.samples == census.of else f"none of {census.samples} training masks looked at (of {census.of})"
        void = (
            f"; does the value {census.labels.void} ({_percent(census.void)} of the pixels) mean it?"
            if len(missing) == 1 and census.void
            else ""
        )
        yield f"{where} holds {listed(missing, _SHOWN)}: a class that does not occur cannot be learnt{void}"
    if census.void > _MUCH_VOID:
        yield f"{_percent(census.void)} of the training pixels are void ({census.labels.void}): nothing is learnt from them"
    yield from _mixed(census, "train on")


def scoring_warnings(census: Census) -> Iterator[str]:
    """What may not be meant in a split that scores, each in a sentence."""
    names, found = census.labels.names, census.classes
    absent = [name for index, name in enumerate(names) if index not in found]
    if census.samples == census.of and len(found) == 1:
        yield f"the masks to score hold {names[found[0]]} only: a network that predicts it everywhere has a mean IoU of 1.0"
    elif census.samples == census.of and absent:
        yield f"no mask to score holds {listed(absent, _SHOWN)}: left out of the mean IoU, or 0 where the network predicts it"
    yield from _mixed(census, "score on")


def _mixed(census: Census, what: str) -> Iterator[str]:
    """Two classes, where some maps hold 0 and 1 and others 0 and 255, but none holds 1 beside 255: two ways to write one thing."""
    binary = sum(count for kind, count in census.kinds.items() if kind in ({0, VOID}, {VOID}))
    both = any({1, VOID} <= kind for kind in census.kinds)
    if census.labels.num_classes == 2 and binary and 1 in census.classes and not both:
        yield (
            f"{binary} of {census.samples} masks to {what} hold 255 and no 1, and no mask holds both: "
            f"if their 255 means {census.labels.names[1]}, write 1 in its place, since 255 is void here"
        )


def _why_one(census: Census) -> str:
    names = census.labels.names
    if len(names) == 2 and census.classes == [0] and census.void:
        return (
            f"it looks like binary masks of 0 and 255, in which 255 means {names[1]}. Here 255 is void, which is not counted: "
            f"give {said('data.values', {0: names[0], VOID: names[1]})}, or write 1 in place of 255 in the masks"
        )
    if census.classes == [1]:
        return f"no pixel is 0 ({names[0]}). If the values of the masks begin at 1, or 0 was made void, write 0 where it is meant"
    return "a network needs two or more. Check the masks' values against the list of classes"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
