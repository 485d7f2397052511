"""A survey of a data set: what it counts, and one test for each trap with its sentence."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from fcn.core.labels import VOID
from fcn.data.balance import counted
from fcn.data.folder import folder
from fcn.data.survey import Survey, suggestions, survey, traps, twins
from tests.data.folders import mask, text

SIZE = (24, 32)
HALVES = np.repeat([[0, 1]], SIZE[0], 0).repeat(SIZE[1] // 2, 1).astype(np.uint8)  # class 0 on the left, 1 on the right


def photograph(seed: int) -> np.ndarray:
    """A picture that no other seed gives, not even nearly."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    return np.array(Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC))


def put(root: Path, split: str, name: str, labels: np.ndarray, picture: np.ndarray | None = None, *, suffix: str = "png") -> None:
    images = root / split / "images"
    images.mkdir(parents=True, exist_ok=True)
    Image.fromarray(photograph(crc32(f"{split} {name}".encode())) if picture is None else picture).save(images / f"{name}.png")
    mask(root / split / "masks" / f"{name}.{suffix}", labels)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
    return tmp_path


def looked(root: Path, **options: object) -> tuple[Survey, Survey]:
    train, val = (survey(folder(split, root=root, **options), split, progress=False) for split in ("train", "val"))
    return train, val


def told(root: Path, **options: object) -> str:
    train, val = looked(root, **options)
    return "\n".join(traps(train, [val]))


class TestCounts:
    def test_by_hand(self, root: Path) -> None:
        labels = HALVES.copy()
        labels[2:4, 3:6] = labels[10, 10] = 2
        labels[0] = VOID
        put(root, "train", "a", labels, np.full((*SIZE, 3), (0, 51, 255), np.uint8))
        put(root, "train", "b", HALVES, np.full((*SIZE, 3), (255, 51, 255), np.uint8))
        put(root, "val", "c", HALVES)
        train, _ = looked(root)
        assert train.census.pixels[:3].tolist() == [2 * 384 - 16 - 7, 2 * 384 - 16, 7]
        assert train.images_with == [2, 2, 1]
        assert train.smallest[2] == (1, "a")
        assert sorted(train.objects[2]) == [1, 6]
        assert train.sizes == {SIZE: 2}
        assert train.mean == pytest.approx([0.5, 0.2, 1])
        assert train.deviation == pytest.approx([0.5, 0, 0])
        assert train.range == [(0, 255), (51, 51), (255, 255)]
        assert train.kinds == {"PNG RGB, 8 bits": 2}

    def test_weights_are_not_suggested_where_classes_are_alike(self, root: Path) -> None:
        labels = HALVES.copy()
        labels[:4, :4] = 2
        put(root, "train", "a", labels)
        put(root, "val", "c", HALVES)
        words = list(suggestions(looked(root)[0]))
        assert any(word.startswith("augment.crop_size=32 ") for word in words)
        assert not any("class_weights" in word for word in words)

    def test_weights_are_suggested_for_a_rare_class(self, root: Path) -> None:
        labels = HALVES.copy()
        labels[0, 0] = 2
        put(root, "train", "a", labels)
        put(root, "val", "c", labels)
        train, _ = looked(root)
        word, focus, _ = suggestions(train)
        assert word.startswith(
            "loss.class_weights=auto  (the rarest class has 384 times fewer pixels than the most frequent; the weights: "
        )
        weights = counted(folder("train", root=root), progress=False).weights
        assert [float(each.split()[-1]) for each in word.split("weights: ")[1].strip(")").split(", ")] == pytest.approx(weights, rel=0.01)
        assert focus.startswith("augment.focus=0.5  ")


class TestTraps:
    def test_none(self, root: Path) -> None:
        labels = HALVES.copy()
        labels[:6, :6] = 2
        put(root, "train", "a", labels)
        put(root, "val", "b", labels)
        assert told(root) == ""

    def test_void_is_more_than_half(self, root: Path) -> None:
        labels = np.where(np.arange(SIZE[0])[:, None] < 16, VOID, HALVES)
        put(root, "train", "a", labels)
        put(root, "val", "b", HALVES)
        assert "66.7 % of the training pixels are void (255): nothing is learnt from them" in told(root)

    def test_one_class(self, root: Path) -> None:
        put(root, "train", "a", HALVES * 0)
        put(root, "val", "b", HALVES)
        assert "the split train hold one class only, 0 (ground)" in told(root)

    def test_class_that_never_occurs(self, root: Path) -> None:
        put(root, "train", "a", HALVES)
        put(root, "val", "b", HALVES)
        assert "no training mask holds car: a class that does not occur cannot be learnt" in told(root)

    def test_values_of_a_binary_mask(self, root: Path) -> None:
        text(root / "classes.txt", "ground\nthing\n")
        put(root, "train", "a", HALVES * 255)
        put(root, "val", "b", HALVES * 255)
        assert told(root) == ""  # understood
        assert "it looks like binary masks of 0 and 255, in which 255 means thing" in told(root, values={0: "0", 1: "1", 255: "void"})
        put(root, "train", "a", HALVES * 128)
        assert "It looks like a binary mask of 0 and 128: give values={0: 'ground', 128: 'thing'}" in told(root)

    def test_value_that_is_not_listed(self, root: Path) -> None:
        put(root, "train", "a", HALVES * 7)
        put(root, "train", "b", HALVES)
        put(root, "val", "b", HALVES)
        assert "train: 1 of 2 samples cannot be used: " in told(root)
        assert "holds the value 7 (first in row 0, column 16)" in told(root)

    def test_colours(self, root: Path) -> None:
        put(root, "train", "a", np.stack([HALVES * 200, HALVES * 0, HALVES * 0], 2))
        put(root, "val", "b", HALVES)
        assert "holds the colour #c80000 (first in row 0, column 16" in told(root)

    def test_masks_saved_as_jpeg(self, root: Path) -> None:
        put(root, "train", "a", HALVES, suffix="jpg")
        put(root, "val", "b", HALVES)
        assert "is a JPEG, which may smear the class indices" in told(root)

    def test_masks_of_another_size_or_turned(self, root: Path) -> None:
        put(root, "train", "a", HALVES[:, :-2])
        put(root, "train", "b", HALVES.T)
        put(root, "val", "b", HALVES)
        assert "its label map" in told(root)
        assert "24x32: they must be of one size. The map is turned" in told(root)

    @pytest.mark.filterwarnings("ignore:.*16 bits a channel")
    def test_16_bits_of_which_a_twentieth_is_used(self, root: Path) -> None:
        put(root, "train", "a", HALVES, HALVES.astype(np.uint16) * 3000)
        put(root, "val", "b", HALVES)
        assert "train: 1 images of 16 bits use less than a twentieth of their range ('a', ...)" in told(root)


class TestTwins:
    def test_equal_and_nearly_equal(self, root: Path) -> None:
        first, second = photograph(1), photograph(2)
        put(root, "train", "a", HALVES, first)
        put(root, "train", "b", HALVES, second)
        put(root, "train", "c", HALVES)
        put(root, "val", "d", HALVES, first)
        noise = np.random.default_rng(0).integers(-3, 4, second.shape)
        put(root, "val", "e", HALVES, (second.astype(int) + noise).clip(0, 255).astype(np.uint8))
        train, val = looked(root)
        assert sorted(twins([train, val])) == [("train a", "val d", True), ("train b", "val e", False)]
        assert "1 images are equal in two splits, so that the score is too high: train a and val d" in told(root)
        assert "1 images are nearly equal in two splits" in told(root)

    def test_empty_pictures_are_no_twins(self, root: Path) -> None:
        put(root, "train", "a", HALVES, np.full((*SIZE, 3), 100, np.uint8))
        put(root, "val", "b", HALVES, np.full((*SIZE, 3), 101, np.uint8))
        assert twins(looked(root)) == []
