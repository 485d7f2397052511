"""A survey of a split before training: what its images and label maps hold, and what is a trap.

Everything is counted over a sample of the split, evenly spread. Samples that cannot be used are faults, in sentences; they do not stop the
survey.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.core.names import listed
from fcn.data.balance import median_frequency
from fcn.data.census import Census, count_values, refuse_scoring, refuse_too_few, scoring_warnings, training_warnings
from fcn.data.measured import Moments, measured, moments
from fcn.data.objects import region_sizes
from fcn.data.opening import opened
from fcn.data.split import Split
from fcn.data.verify import by_kind, looks
from fcn.data.visible import visible

_LOOK = 16  # side of the small gray picture that near-equal photographs share
_ALIKE = 3.0  # mean difference of two such pictures of one photograph, gray levels
_FLAT = 8.0  # deviation below which a picture is too empty to be told from others, gray levels
_POOR = 0.05  # share of a 16-bit range below which an image is nearly black
_SHOWN = 5
_RARE = 50  # times that the most frequent class may have more pixels before weights are suggested


class Look(NamedTuple):
    """What one sample holds. used: share of the range that 16 bits use. moments: of its channels."""

    size: tuple[int, int]
    kind: str
    used: float | None
    moments: Moments
    counts: Tensor
    objects: dict[int, np.ndarray]
    digest: bytes
    small: np.ndarray


@dataclass
class Survey:
    """What the samples of one split hold, of which ``census.samples`` were looked at.

    faults: a sentence for each kind of sample that cannot be used; ``faulty`` counts the samples. sizes: of the images, (height, width).
    images: the kind of the images. poor: images of 16 bits that use little of their range, which are read with 8 bits. moments: of the
    channels, over all images. objects: pixels of each object, by class. smallest: the smallest object of each class, and the sample that
    has it. indices, names: of the samples that can be used. digests, looks: of their images, for the search for twins.
    """

    split: str
    census: Census
    images: ImageKind = RGB
    faults: list[str] = field(default_factory=list)
    faulty: int = 0
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    poor: list[str] = field(default_factory=list)
    moments: Moments | None = None
    objects: dict[int, list[int]] = field(default_factory=dict)
    smallest: dict[int, tuple[int, str]] = field(default_factory=dict)
    indices: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    looks: list[np.ndarray] = field(default_factory=list)

    def add(self, index: int, name: str, look: Look) -> None:
        self.census.add(look.counts)
        self.sizes[look.size] += 1
        self.kinds[look.kind] += 1
        self.moments = look.moments if self.moments is None else self.moments + look.moments
        if look.used is not None and look.used < _POOR:
            self.poor.append(name)
        for value, sizes in look.objects.items():
            self.objects.setdefault(value, []).extend(sizes.tolist())
            if value not in self.smallest or sizes.min() < self.smallest[value][0]:
                self.smallest[value] = int(sizes.min()), name
        self.indices.append(index)
        self.names.append(name)
        self.digests.append(look.digest)
        self.looks.append(look.small)

    @property
    def images_with(self) -> list[int]:
        """The number of images in which each class occurs."""
        return [sum(count for kind, count in self.census.kinds.items() if index in kind) for index in range(self.census.labels.num_classes)]

    @property
    def mean(self) -> list[float]:
        """Of each channel: of 8 bits in 0..1, of other types as values."""
        return [] if self.moments is None else (self.moments.mean / self._unit).tolist()

    @property
    def deviation(self) -> list[float]:
        return [] if self.moments is None else (self.moments.std / self._unit).tolist()

    @property
    def range(self) -> list[tuple[float, float]]:
        """The smallest and the largest value of each channel; of 8 bits 0 to 255. A channel without a finite number has 0 and 0."""
        if self.moments is None:
            return []
        whole = float if self.images.dtype == "float32" else int
        pairs = zip(self.moments.low, self.moments.high, strict=True)
        return [(whole(low), whole(high)) if low <= high else (0, 0) for low, high in pairs]

    @property
    def _unit(self) -> float:
        return 255.0 if self.images.dtype == "uint8" else 1.0


class Twins(NamedTuple):
    """Two samples of different splits whose images are the same, or nearly."""

    first: str
    second: str
    equal: bool


def survey(split: Split, name: str, *, most: int = 500, progress: bool = True) -> Survey:
    """Look at ``most`` samples of a split, evenly spread (0: at all). name: the split's, for the report."""
    if not len(split):
        raise UserError(f"the split {name} is empty: it needs at least one sample")
    images = measured(split, progress=progress)
    found = Survey(name, Census(split.labels, len(split)), images)
    faults = []
    for index, look in looks(split, most or len(split), partial(_look, split, images), f"looking at {name}", progress=progress):
        if isinstance(look, str):
            faults.append((split.names[index], look))
        else:
            found.add(index, split.names[index], look)
    found.faults, found.faulty = list(by_kind(faults)), len(faults)
    return found


def twins(surveys: Sequence[Survey]) -> list[Twins]:
    """The pairs of samples of different splits with equal images, or with photographs that are nearly equal."""
    found = []
    for place, one in enumerate(surveys):
        for other in surveys[place + 1 :]:
            digests = dict(zip(other.digests, other.names, strict=True))
            for name, digest, look in zip(one.names, one.digests, one.looks, strict=True):
                if digest in digests:
                    found.append(Twins(f"{one.split} {name}", f"{other.split} {digests[digest]}", True))
                elif other.looks and look.std() > _FLAT:
                    apart = np.abs(np.stack(other.looks).astype(np.int16) - look).mean((1, 2))
                    if apart.min() < _ALIKE:
                        found.append(Twins(f"{one.split} {name}", f"{other.split} {other.names[int(apart.argmin())]}", False))
    return found


def traps(training: Survey, others: Sequence[Survey] = ()) -> Iterator[str]:
    """What is likely to spoil a training, each in one line, the worst first. others: the splits that score."""
    for each in (training, *others):
        for fault in each.faults:
            yield f"{each.split}: {each.faulty} of {each.census.samples + each.faulty} samples cannot be used: {fault}"
    refused = dict(_refusals(training, others))
    yield from list(refused.values())[:1]  # the others have the same cause, mostly
    for each in (training, *others):
        if each.poor:
            yield (
                f"{each.split}: {len(each.poor)} images of 16 bits use less than a twentieth of their range ('{each.poor[0]}', ...), "
                "and are read as nearly black: multiply the values, or save 8 bits"
            )
    if training.census.samples and training.split not in refused:
        yield from training_warnings(training.census)
    for each in others:
        if each.census.samples and each.split not in refused:
            yield from scoring_warnings(each.census)
    pairs = twins([training, *others])
    for equal, what in ((True, "equal"), (False, "nearly equal")):
        alike = [f"{pair.first} and {pair.second}" for pair in pairs if pair.equal == equal]
        if alike:
            yield f"{len(alike)} images are {what} in two splits, so that the score is too high: {listed(alike, _SHOWN)}"


def _refusals(training: Survey, others: Sequence[Survey]) -> Iterator[tuple[str, str]]:
    """The splits that would be refused before the first step, each with the reason: nothing to tell apart, nothing to score."""
    for each in (training, *others):
        try:
            if each is training:
                refuse_too_few(each.census, 2, f"the split {each.split}")
            else:
                refuse_scoring(each.census, f"the split {each.split}")
        except UserError as error:
            yield each.split, str(error)


def suggestions(training: Survey) -> Iterator[str]:
    """Settings for this data set, as words of ``fcn train``, each with its reason."""
    census = training.census
    counts = census.pixels[: census.labels.num_classes].tolist()
    seen = [count for count in counts if count]
    if len(seen) > 1 and max(seen) > _RARE * min(seen) and len(seen) == len(counts):
        weights = median_frequency(counts, census.inside[: len(counts)].tolist())
        told = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(census.labels.names, weights, strict=True))
        times = f"the rarest class has {max(seen) / min(seen):,.0f} times fewer pixels than the most frequent"
        yield f"loss.class_weights=auto  ({times}; the weights: {told})"
        yield "augment.focus=0.5  (half of the crops then hold a rare class)"
    if training.sizes:
        shorts = sorted(min(size) for size in training.sizes.elements())
        short = shorts[len(shorts) // 2]
        side = min(512, max(32, short // 32 * 32))
        yield f"augment.crop_size={side}  (the shorter side of half of the images is {short} pixels or more)"


def _look(split: Split, images: ImageKind, index: int, image: Tensor, labels: Tensor) -> Look:
    """What a sample holds."""
    kind, used = _file(split, index) if images.is_rgb else (f"images of {images}", None)
    values = image.permute(1, 2, 0).contiguous().numpy()
    pixels = np.ascontiguousarray(visible(image, images)[:, :].permute(1, 2, 0).numpy())
    small = np.asarray(Image.fromarray(pixels).convert("L").resize((_LOOK, _LOOK), Image.Resampling.BOX), np.int16)
    size = (int(image.shape[1]), int(image.shape[2]))
    digest = blake2b(values.tobytes(), digest_size=16).digest()
    return Look(
        size, kind, used, moments(image), count_values(labels, split.labels.void), region_sizes(labels, split.labels.void), digest, small
    )


def _file(split: Split, index: int) -> tuple[str, float | None]:
    """What kind of picture the file of a sample is, and the share of the range that it uses if it has 16 bits."""
    pairs = getattr(split, "pairs", None)
    if pairs is None:
        return "RGB, 8 bits", None
    with opened(pairs[index].image) as picture:
        words = {"L": "gray", "P": "palette", "1": "black and white", "I": "gray"}
        deep = picture.mode.startswith("I")
        kind = f"{picture.format} {words.get(picture.mode, 'gray' if deep else picture.mode)}, {16 if deep else 8} bits"
        if not deep:
            return kind, None
        picture.load()
        return kind, int(np.asarray(picture).max()) / 65535
