"""Each image by itself, against sets of pixels; what is kept of the worst, against looking at all."""

import csv
import math

import numpy as np
import pytest
import torch
from torch import nn

from fcn.core.images import RGB
from fcn.core.labels import VOID
from fcn.data.pictures import thumbnail
from fcn.tools.evaluate import images as module
from fcn.tools.evaluate.images import BARS, ImageScores, compared
from fcn.tools.evaluate.worst import CROPS, IMAGES, Worst
from fcn.training.devices import create_accelerator
from fcn.training.evaluate import score_split
from tests.tools.compare.drawn import Drawn

CLASSES = ("ground", "disk", "wire, thin", "ghost")  # the ghost is nowhere


def blocks(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    return rng.integers(0, 3, (rows, columns), dtype=np.uint8).repeat(9, 0).repeat(9, 1)


@pytest.fixture(scope="module")
def drawn():
    """A split of images of several sizes, one of which has no truth, and label maps that miss it more and less."""
    rng = np.random.default_rng(0)
    truths = [blocks(rng, 4 + index % 3, 5 + index % 4) for index in range(12)]
    guesses = []
    for index, truth in enumerate(truths):
        guess = np.roll(truth, index, 1)
        wrong = rng.random(guess.shape) < 0.02 * index
        guess[wrong] = rng.integers(0, 3, int(wrong.sum()))
        guesses.append(guess)
        truth[: index % 3, :20] = VOID
    truths[5][:] = VOID
    return Drawn(CLASSES, truths), guesses


def scored(drawn, visit, **more):
    split, guesses = drawn

    def strategy(model, image, confidence=None):
        guess = torch.from_numpy(guesses[image[0, 0, 0]])
        if confidence is not None:
            confidence.copy_(200 + guess)
        return guess

    accelerator = create_accelerator("cpu", "fp32")
    return score_split(nn.Identity(), split, strategy, accelerator, workers=0, visit=visit, progress=False, **more), accelerator


def ratio(one: set, other: set) -> float | None:
    return len(one & other) / len(one | other) if one | other else None


def by_sets(truth: np.ndarray, guess: np.ndarray) -> dict[str, list[float | None]]:
    """IoU and boundary IoU of each class, by sets of pixels. The band: a square round the pixel leaves its class or the image."""
    height, width = truth.shape
    reach = max(1, round(0.02 * math.hypot(height, width)))
    guess = np.where(truth == VOID, VOID, guess)

    def near(labels: np.ndarray, row: int, column: int) -> bool:
        square = labels[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1]
        return square.size < (2 * reach + 1) ** 2 or bool((square != labels[row, column]).any())

    found: dict[str, list[float | None]] = {"iou": [], "boundary": []}
    for index in range(len(CLASSES)):
        sets = [set(map(tuple, np.argwhere(labels == index))) for labels in (truth, guess)]
        found["iou"].append(ratio(*sets))
        bands = [{place for place in pixels if near(labels, *place)} for pixels, labels in zip(sets, (truth, guess), strict=True)]
        found["boundary"].append(ratio(*bands))
    return found


def average(values) -> float | None:
    values = [value for value in values if value is not None]
    return sum(values) / len(values) if values else None


@pytest.mark.parametrize("at_once", [1000, 5])
def test_each_image_has_its_row(drawn, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", at_once)
    split, guesses = drawn
    images = ImageScores(split.labels)
    _, accelerator = scored(drawn, images.add)
    images.write(tmp_path / "images.csv", split.names, accelerator)
    with open(tmp_path / "images.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == list(split.names)
    expected = [by_sets(truth.numpy(), guess) for truth, guess in zip(split.truths, guesses, strict=True)]
    for row, one, truth, guess in zip(rows, expected, split.truths, guesses, strict=True):
        right = (truth.numpy() == guess)[truth.numpy() != VOID]
        values = {
            "miou": average(one["iou"]),
            "boundary_iou": average(one["boundary"]),
            "pixel_accuracy": right.mean() if right.size else None,
        }
        values |= {f"iou_{name}": one["iou"][index] for index, name in enumerate(CLASSES)}
        assert row.keys() == {"image", *values}
        for key, value in values.items():
            assert (row[key] == "") if value is None else (float(row[key]) == pytest.approx(value, abs=1e-6)), key
    means = [average(one["iou"]) for one in expected]
    assert images.sums.mean_image_iou == pytest.approx(average(means))
    for index in range(3):
        assert images.sums.image_iou[index] == pytest.approx(average([one["iou"][index] for one in expected]))
    assert math.isnan(images.sums.image_iou[3])
    bars = np.histogram([mean for mean in means if mean is not None], BARS, (0, 1))[0]
    assert images.sums.bars.tolist() == bars.tolist()
    assert not images.sums.confidence.any()


def test_confidence_is_counted_where_it_is_asked_for(drawn):
    split, guesses = drawn
    images = ImageScores(split.labels)
    scored(drawn, images.add, confidence=True)
    for index in range(3):
        right = sum(int(((guess == index) & (truth.numpy() == index)).sum()) for truth, guess in zip(split.truths, guesses, strict=True))
        all_of = sum(int(((guess == index) & (truth.numpy() != VOID)).sum()) for truth, guess in zip(split.truths, guesses, strict=True))
        assert images.sums.confidence[200 + index].tolist() == [all_of - right, right]


def test_the_worst_images_and_crops_are_those_of_all(drawn):
    split, guesses = drawn
    worst = Worst(split.labels, split.names, RGB)
    scored(drawn, worst.add)
    means, wrong = {}, {}
    for index, (truth, guess) in enumerate(zip(split.truths, guesses, strict=True)):
        truth = truth.numpy()
        known = truth != VOID
        if not known.any():
            continue
        mean = average(by_sets(truth, guess)["iou"])
        if mean < 1:
            means[index] = mean
        for which in range(3):
            about = ((truth == which) != (guess == which)) & known
            if about.any():
                wrong.setdefault(which, {})[index] = about.sum() / known.sum(), about
    assert [example.index for example in worst.images] == sorted(means, key=lambda index: (means[index], index))[:IMAGES]
    for which in range(3):
        order = sorted(wrong[which], key=lambda index: (-wrong[which][index][0], index))[:CROPS]
        assert [example.index for example in worst.crops[which]] == order
        for example in worst.crops[which]:
            about = wrong[which][example.index][1]
            side = round(min(about.shape) / 2)
            squares = np.lib.stride_tricks.sliding_window_view(about, (side, side)).sum((2, 3))
            shown = ((example.truth == which) != (example.prediction == which)) & (example.truth != VOID)
            assert example.truth.shape == (side, side)
            assert shown.sum() == squares.max()
    assert worst.crops[3] == []
    assert worst.classes([0.5, 0.2, 0.3, 0.1]) == [1, 2, 0]
    assert worst.sheet([0.5, 0.2, 0.3, 0.1]) is not None


def test_where_nothing_is_wrong_nothing_is_shown():
    truth = np.array([[0, 1], [1, 2]], np.uint8)
    split = Drawn(CLASSES, [truth])
    worst = Worst(split.labels, split.names, RGB)
    scored((split, [truth]), worst.add)
    assert worst.images == []
    assert worst.sheet([1.0] * 4) is None


def test_a_thumbnail_of_a_large_image_is_small():
    split = Drawn(CLASSES, [np.zeros((300, 700), np.uint8)])
    image, truth = split[0]
    small, (labels,) = thumbnail(image, [truth], split.labels, 70)
    assert small.shape == (3, 30, 70)
    assert labels.shape == (30, 70)
    assert small.base is None
    assert labels.base is None
    np.testing.assert_allclose(small[:, 3, 4], image[:, 30:40, 40:50].double().mean((1, 2)).numpy(), atol=1.01)  # Pillow rounds twice


def test_one_line_says_which_mean_is_higher():
    assert "54.00 (-6.00 against the set)" in compared(0.60, 0.54)
    assert "64.00 (+4.00 against the set)" in compared(0.60, 0.64)
    assert "no mean over images" in compared(math.nan, math.nan)
