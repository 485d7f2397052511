"""A person's own images and label maps in each layout, and every way in which they can be incomplete."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.data.folder import folder
from fcn.data.pairs import Pairs


def put(path: Path, value: int | None = None) -> None:
    """A picture, or with ``value`` a label map of that class."""
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.new("RGB", (4, 3), "gray") if value is None else Image.fromarray(np.full((3, 4), value, np.uint8))).save(path)


def fill(base: Path, stems: str, images: str = "images", masks: str = "masks") -> None:
    for number, stem in enumerate(stems.split()):
        put(base / images / f"{stem}.{('jpg', 'png', 'bmp', 'tif', 'jpeg')[number % 5]}")
        put(base / masks / f"{stem}.{('png', 'tiff', 'bmp')[number % 3]}", number % 2)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "classes.txt").write_text("background\nthing\n")
    return tmp_path


def check(split: Pairs, names: str) -> None:
    assert split.names == tuple(names.split())
    for image, labels in split:
        assert image.shape == (3, 3, 4)
        assert labels.unique().tolist() in ([0], [1])


class TestLayouts:
    def test_a_folder_for_each_split(self, root: Path) -> None:
        fill(root / "train", "a b c d e f")
        fill(root / "val", "g")
        check(folder(root, "train"), "a b c d e f")
        check(folder(root, "val"), "g")
        with pytest.raises(ValueError, match="has the splits train, val, not 'test'"):
            folder(root, "test")

    def test_lists(self, root: Path) -> None:
        fill(root, "a b c unlisted")
        (root / "train.txt").write_text("c\na\n")
        (root / "check.txt").write_text("b\n")
        check(folder(root, "train"), "c a")
        check(folder(root, "check"), "b")
        with pytest.raises(ValueError, match="has the splits check, train, not 'val'"):
            folder(root, "val")
        (root / "train.txt").write_text("a\nzebra\n")
        with pytest.raises(FileNotFoundError, match=r"train\.txt: there is no image for 'zebra'"):
            folder(root, "train")
        (root / "train.txt").write_text("")
        with pytest.raises(ValueError, match=r"train\.txt lists nothing"):
            folder(root, "train")
        with pytest.raises(ValueError, match="leave it out"):
            folder(root, "train", val_fraction=0.5)

    def test_voc(self, root: Path) -> None:
        fill(root, "a b", "JPEGImages", "SegmentationClass")
        (root / "ImageSets" / "Segmentation").mkdir(parents=True)
        (root / "ImageSets" / "Segmentation" / "train.txt").write_text("b\n")
        check(folder(root, "train"), "b")
        with pytest.raises(ValueError, match="has train, not 'val'"):
            folder(root, "val")

    def test_no_lists(self, root: Path) -> None:
        (root / "README.txt").write_text("mine")
        stems = [f"photo{i}" for i in range(60)]
        fill(root, " ".join(stems))
        train, val = folder(root, "train"), folder(root, "val")
        assert set(train.names) | set(val.names) == set(stems)
        assert set(train.names).isdisjoint(val.names)
        assert 3 <= len(val) <= 24
        larger = folder(root, "val", val_fraction=0.5)
        assert set(val.names) < set(larger.names)
        fill(root, "one_more and_another")
        assert set(val.names) <= set(folder(root, "val").names)
        assert set(train.names) <= set(folder(root, "train").names)
        with pytest.raises(ValueError, match="splits are train and val, not 'test'"):
            folder(root, "test")
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            folder(root, "val", val_fraction=1.0)

    def test_no_lists_and_too_few_images(self, root: Path) -> None:
        fill(root, "a")
        splits = []
        for split in ("train", "val"):
            try:
                splits.append(folder(root, split))
            except ValueError as error:
                message = str(error)
        assert len(splits) == 1
        assert "none of the 1 images" in message


class TestFaults:
    def test_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"set data\.root"):
            folder(tmp_path / "nowhere", "train")

    def test_no_classes(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no list of classes .*classes\.txt: write one"):
            folder(tmp_path, "train")

    def test_no_layout(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match="none of the known layouts"):
            folder(root, "train")

    @pytest.mark.parametrize("base", ["train", "."])
    def test_left_over_files(self, root: Path, base: str) -> None:
        fill(root / base, "a b")
        put(root / base / "images" / "c.png")
        with pytest.raises(FileNotFoundError, match="no label map for 'c'"):
            folder(root, "train")
        (root / base / "images" / "c.png").unlink()
        put(root / base / "masks" / "d.png", 0)
        with pytest.raises(FileNotFoundError, match=r"d\.png has no image of its name"):
            folder(root, "train")

    def test_empty_split(self, root: Path) -> None:
        (root / "train" / "images").mkdir(parents=True)
        (root / "train" / "masks").mkdir()
        with pytest.raises(ValueError, match="images holds no picture"):
            folder(root, "train")

    def test_no_masks(self, root: Path) -> None:
        put(root / "train" / "images" / "a.png")
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*masks"):
            folder(root, "train")

    def test_two_files_of_one_stem(self, root: Path) -> None:
        fill(root / "train", "a b")
        put(root / "train" / "images" / "a.png")
        with pytest.raises(ValueError, match=r"holds both a\.jpg and a\.png"):
            folder(root, "train")
