"""A person's own images and label maps in each layout, and every way in which they can be incomplete."""

import re
import unicodedata
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
        check(folder("train", root=root), "a b c d e f")
        check(folder("val", root=root), "g")
        with pytest.raises(ValueError, match="has the splits train, val, not 'test'"):
            folder("test", root=root)

    def test_lists(self, root: Path) -> None:
        fill(root, "a b c unlisted")
        (root / "train.txt").write_text("c\na\n")
        (root / "check.txt").write_text("b\n")
        check(folder("train", root=root), "c a")
        check(folder("check", root=root), "b")
        with pytest.raises(ValueError, match="has the splits check, train, not 'val'"):
            folder("val", root=root)
        (root / "train.txt").write_text("a\nzebra\n")
        with pytest.raises(FileNotFoundError, match=r"train\.txt: there is no image for 'zebra'"):
            folder("train", root=root)
        (root / "train.txt").write_text("")
        with pytest.raises(ValueError, match=r"train\.txt lists nothing"):
            folder("train", root=root)
        with pytest.raises(ValueError, match="leave it out"):
            folder("train", root=root, val_fraction=0.5)

    def test_voc(self, root: Path) -> None:
        fill(root, "a b", "JPEGImages", "SegmentationClass")
        (root / "ImageSets" / "Segmentation").mkdir(parents=True)
        (root / "ImageSets" / "Segmentation" / "train.txt").write_text("b\n")
        check(folder("train", root=root), "b")
        with pytest.raises(ValueError, match="has the splits train, not 'val'"):
            folder("val", root=root)

    def test_no_lists(self, root: Path) -> None:
        (root / "README.txt").write_text("mine")
        stems = [f"photo{i}" for i in range(60)]
        fill(root, " ".join(stems))
        train, val = folder("train", root=root), folder("val", root=root)
        assert set(train.names) | set(val.names) == set(stems)
        assert set(train.names).isdisjoint(val.names)
        assert 3 <= len(val) <= 24
        larger = folder("val", root=root, val_fraction=0.5)
        assert set(val.names) < set(larger.names)
        fill(root, "one_more and_another")
        assert set(val.names) <= set(folder("val", root=root).names)
        assert set(train.names) <= set(folder("train", root=root).names)
        with pytest.raises(ValueError, match="splits are train and val, not 'test'"):
            folder("test", root=root)
        with pytest.raises(ValueError, match="more than 0 and less than 1"):
            folder("val", root=root, val_fraction=1.0)

    def test_no_lists_and_too_few_images(self, root: Path) -> None:
        fill(root, "a")
        splits = []
        for split in ("train", "val"):
            try:
                splits.append(folder(split, root=root))
            except ValueError as error:
                message = str(error)
        assert len(splits) == 1
        assert "none of the 1 images" in message


class TestFaults:
    def test_no_root(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"set root"):
            folder("train", root=tmp_path / "nowhere")

    def test_no_classes(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"no list of classes .*classes\.txt: write one"):
            folder("train", root=tmp_path)

    def test_no_layout(self, root: Path) -> None:
        with pytest.raises(FileNotFoundError, match="none of the known layouts"):
            folder("train", root=root)

    @pytest.mark.parametrize("base", ["train", "."])
    def test_left_over_files(self, root: Path, base: str) -> None:
        fill(root / base, "a b")
        put(root / base / "images" / "c.png")
        with pytest.raises(FileNotFoundError, match="no label map for 'c'"):
            folder("train", root=root)
        (root / base / "images" / "c.png").unlink()
        put(root / base / "masks" / "d.png", 0)
        with pytest.raises(FileNotFoundError, match=r"d\.png has no image of its name"):
            folder("train", root=root)

    def test_empty_split(self, root: Path) -> None:
        (root / "train" / "images").mkdir(parents=True)
        (root / "train" / "masks").mkdir()
        with pytest.raises(ValueError, match="images holds no picture"):
            folder("train", root=root)

    def test_no_masks(self, root: Path) -> None:
        put(root / "train" / "images" / "a.png")
        with pytest.raises(FileNotFoundError, match=r"there is no folder .*masks"):
            folder("train", root=root)

    def test_two_files_of_one_stem(self, root: Path) -> None:
        fill(root / "train", "a b")
        put(root / "train" / "images" / "a.png")
        with pytest.raises(ValueError, match=r"holds both a\.jpg and a\.png"):
            folder("train", root=root)

    @pytest.mark.parametrize(("split", "there", "choose"), [("val", "valid", "data.val=valid"), ("train", "default", "data.train=default")])
    def test_split_of_another_name(self, root: Path, split: str, there: str, choose: str) -> None:
        fill(root / there, "a")
        with pytest.raises(ValueError, match=rf"has the splits {there}, not '{split}': choose it with {choose}, or add {split}/images"):
            folder(split, root=root)

    def test_list_of_another_name(self, root: Path) -> None:
        fill(root, "a b c", "JPEGImages", "SegmentationClass")
        lists = root / "ImageSets" / "Segmentation"
        lists.mkdir(parents=True)
        (lists / "valid.txt").write_text("b\n")
        with pytest.raises(ValueError, match=r"not 'val': choose it with data.val=valid, or write val\.txt"):
            folder("val", root=root)
        (lists / "valid.txt").rename(lists / "default.txt")  # all that is labelled, in no split
        assert all_of(root).names == ("b",)


def all_of(root: Path) -> Pairs:
    """The pairs of both splits of a folder without lists, where so few may fall into one."""
    splits = []
    for split in ("train", "val"):
        try:
            splits.append(folder(split, root=root))
        except ValueError:  # none of the images falls into it
            continue
    return Pairs([pair for found in splits for pair in found.pairs], splits[0].labels, notes=splits[0].notes)


class TestLeftOut:
    """What lies in the folders and is not read is counted and named."""

    @pytest.mark.parametrize("base", [".", "train"])
    def test_files_of_other_kinds(self, root: Path, base: str) -> None:
        fill(root / base, "a b c")
        for name in ("images/d.xyz", "images/e.xyz", "masks/d.npy", "images/list.csv", "images/.hidden", "images/Thumbs.db"):
            (root / base / name).write_text("?")
        (root / base / "images" / "more").mkdir()
        split = all_of(root) if base == "." else folder("train", root=root)
        assert set(split.names) == {"a", "b", "c"}
        images, masks = split.notes
        assert f"{root / base / 'images'}: passed over 2 .xyz, 1 .csv, 1 folder ('d.xyz', 'e.xyz', 'list.csv', 'more/')" in images
        assert f"{root / base / 'masks'}: passed over 1 .npy ('d.npy')" in masks

    def test_nothing(self, root: Path) -> None:
        fill(root / "train", "a b")
        assert folder("train", root=root).notes == ()

    def test_partner_of_another_kind(self, root: Path) -> None:
        fill(root / "train", "a b")
        (root / "train" / "images" / "b.png").rename(root / "train" / "images" / "b.xyz")
        with pytest.raises(FileNotFoundError, match=r"b\.tiff has no image of its name in .*images \(1 such; 1 \.xyz in it is not read\)"):
            folder("train", root=root)
        for path in (root / "train" / "masks").iterdir():
            path.rename(path.with_suffix(".npz"))
        with pytest.raises(
            FileNotFoundError, match=r"no label map for 'a' \(looked in .*masks, where 2 \.npz are not read: 'a\.npz', 'b\.npz'\)"
        ):
            folder("train", root=root)
        (root / "train" / "images" / "a.jpg").rename(root / "train" / "images" / "a.xyz")
        with pytest.raises(ValueError, match=r"holds no picture of a kind that is read \(.*\); it holds 2 \.xyz"):
            folder("train", root=root)

    def test_texts_that_are_no_lists(self, root: Path) -> None:
        stems = [f"photo{i}" for i in range(20)]
        fill(root, " ".join(stems))
        (root / "notes.txt").write_text("take more photographs\n")
        (root / "labels.txt").write_bytes(b"\xff\xfe\x00")
        assert len(folder("train", root=root)) + len(folder("val", root=root)) == 20
        (note,) = folder("train", root=root).notes
        assert "no line of labels.txt, notes.txt names an image" in note
        (root / "notes.txt").write_text("photo3\n")  # now it is one
        assert folder("notes", root=root).names == ("photo3",)
        with pytest.raises(ValueError, match=r"has the splits notes, not 'train': add train\.txt.* or take notes\.txt away"):
            folder("train", root=root)

    def test_images_in_no_list(self, root: Path) -> None:
        fill(root, "a b c d")
        (root / "train.txt").write_text("c\na\n")
        (root / "val.txt").write_text("b\n")
        (note,) = folder("train", root=root).notes
        assert "1 of 4 images are in none of the lists train.txt, val.txt ('d', ...)" in note


@pytest.mark.parametrize("lists", [False, True])
def test_names_in_either_form_of_unicode_meet(root: Path, lists: bool) -> None:
    names = ("caf\u00e9", "\u00fcber", "plain")
    for name in names:
        put(root / "train" / "images" / f"{unicodedata.normalize('NFC', name)}.png")
        put(root / "train" / "masks" / f"{unicodedata.normalize('NFD', name)}.png", 0)
    assert folder("train", root=root).names == tuple(sorted(names))
    if lists:
        (root / "train" / "images").rename(root / "images")
        (root / "train" / "masks").rename(root / "masks")
        (root / "train.txt").write_text("\n".join(unicodedata.normalize("NFD", name) for name in names), encoding="utf-8")
        assert folder("train", root=root).names == names
        return
    try:
        put(root / "train" / "images" / f"{unicodedata.normalize('NFD', names[0])}.png")
        both = len(list((root / "train" / "images").iterdir())) == 4
    except OSError:
        both = False
    if both:  # a file system that keeps the two apart
        with pytest.raises(ValueError, match="differ only in how Unicode writes their accents"):
            folder("train", root=root)


class TestOtherLayouts:
    """Folders as other tools leave them: one message with all that is to be changed."""

    @pytest.mark.parametrize(
        ("files", "words"),
        [
            ("JPEGImages/a.jpg SegmentationClass/a.png names.txt", "hold the values 1 .255 is void"),
            ("ImageSets/Segmentation/default.txt SegmentationClass/a.png", "no folder .*JPEGImages"),
            ("train/a.jpg train/a_mask.png valid/a.jpg", "has the splits train|hold the values 1"),
            ("image/a.png", "no folder .*masks"),
            ("train/images/a.jpg val/images/a.jpg", "no folder .*train/masks"),
            ("leftImg8bit/train/ulm/a.png gtFine/train/ulm/a.png", "Cityscapes: use data=cityscapes"),
            ("images/training/a.jpg annotations/training/a.png", "ADE20K: use data=ade20k"),
            ("images/train2017/a.jpg annotations/train2017/a.png", "COCO-Stuff: use data=coco_stuff"),
            ("images/train/a.jpg labels/train/a.txt", "YOLO|no folder .*masks"),
            ("mine/images/a.jpg mine/masks/a.png", "perhaps .*mine is the folder that is meant"),
            ("images/a.jpg masks/a.png labels.names", "hold the values 1 .255 is void|labels.names may have the names"),
            ("a.txt", "none of the known layouts|image_pattern"),
            ("", "none of the known layouts|Found there: nothing"),
        ],
    )
    def test_everything_is_said_at_once(self, tmp_path: Path, files: str, words: str) -> None:
        for name in files.split():
            if name.endswith(("png", "jpg")):
                put(tmp_path / name, 1 if name.endswith("png") else None)
            else:
                (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / name).write_text("?")
        with pytest.raises(FileNotFoundError) as error:
            folder("train", root=tmp_path)
        for part in (r"no list of classes .*classes\.txt: write one", *words.split("|")):
            assert re.search(part, str(error.value)), (part, str(error.value))

    def test_masks_of_0_and_255(self, tmp_path: Path) -> None:
        put(tmp_path / "images" / "a.png")
        Image.fromarray(np.array([[0, 255]] * 3, np.uint8)).save(tmp_path / "masks.png")
        (tmp_path / "masks").mkdir()
        (tmp_path / "masks.png").rename(tmp_path / "masks" / "a.png")
        with pytest.raises(
            FileNotFoundError, match=r"hold the values 0, 255 .*binary masks: give values=\{0: 'background', 255: 'thing'\}"
        ):
            folder("train", root=tmp_path)
