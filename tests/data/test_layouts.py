"""Folders exactly as tools export them: no file is renamed, and every pixel is the class that was painted."""

from pathlib import Path

import numpy as np
import pytest

from fcn.core.labels import VOID, voc_colors
from fcn.data.folder import folder
from fcn.data.pairs import Pairs
from tests.data.folders import MAP, check, image, mask, painted, text

COLORS = {0: (0, 0, 0), 1: (250, 50, 83), 2: (51, 221, 255), VOID: (224, 224, 192)}
CVAT = """# label:color_rgb:parts:actions
background:0,0,0::
car:250,50,83::
sky, wide:51,221,255::
"""


def both(root: Path, **options: object) -> Pairs:
    """The pairs of train and val, sorted by name: of the few here all may fall into one."""
    pairs, some = [], None
    for split in ("train", "val"):
        try:
            some = folder(split, root=root, **options)
        except ValueError:
            continue
        pairs += some.pairs
    assert some is not None
    return Pairs(sorted(pairs), some.labels, masks=some.masks, notes=some.notes)


class TestExports:
    @pytest.mark.parametrize("masks", ["SegmentationClass", "SegmentationClassPNG"])
    @pytest.mark.parametrize("ignored", ["", "__ignore__\n"])
    def test_labelme2voc(self, tmp_path: Path, masks: str, ignored: str) -> None:
        for name in ("a", "b"):
            image(tmp_path / "JPEGImages" / f"{name}.jpg")
            mask(tmp_path / masks / f"{name}.png", palette=[channel for color in voc_colors(256) for channel in color])
            image(tmp_path / "SegmentationClassVisualization" / f"{name}.jpg")
        text(tmp_path / "class_names.txt", f"{ignored}_background_\nroad\ncar\n")
        split = both(tmp_path)
        check(split, "a b")
        assert split.labels.names == ("_background_", "road", "car")

    def test_cvat(self, tmp_path: Path) -> None:
        for name in ("a", "b", "not_labelled"):
            image(tmp_path / "JPEGImages" / f"{name}.jpg")
        for name in ("a", "b"):
            mask(tmp_path / "SegmentationClass" / f"{name}.png", painted(COLORS))
        text(tmp_path / "labelmap.txt", CVAT)
        text(tmp_path / "ImageSets" / "Segmentation" / "default.txt", "a\nb\n")
        split = both(tmp_path)
        check(split, "a b")
        assert split.labels.names == ("background", "car", "sky, wide")
        assert split.labels.colors == tuple(COLORS[index] for index in range(3))

    def test_roboflow(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            for name in ("a_jpg.rf.12", "b_jpg.rf.34"):
                image(tmp_path / split / f"{name}.jpg")
                mask(tmp_path / split / f"{name}_mask.png")
            text(tmp_path / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, road\n2, car\n")
        check(folder("train", root=tmp_path), "a_jpg.rf.12 b_jpg.rf.34")
        check(folder("valid", root=tmp_path), "a_jpg.rf.12 b_jpg.rf.34")
        with pytest.raises(ValueError, match=r"choose it with data\.val=valid"):
            folder("val", root=tmp_path)

    @pytest.mark.parametrize(
        ("image_file", "mask_file", "samples"),
        [
            ("image/{}.png", "label/{}_segmentation.png", "a a_1 b"),
            ("images/img_{}.png", "labels/seg_{}.png", "img_1 img_12 img_2"),
        ],
    )
    def test_names_that_differ_by_a_beginning_or_an_end(self, tmp_path: Path, image_file: str, mask_file: str, samples: str) -> None:
        for name in samples.replace("img_", "").split():
            image(tmp_path / image_file.format(name))
            mask(tmp_path / mask_file.format(name))
        text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
        check(both(tmp_path), samples)

    def test_masks_in_a_folder_beside(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            image(tmp_path / split / "a.png")
            mask(tmp_path / f"{split}_labels" / "a_L.png", painted(COLORS))
        text(tmp_path / "class_dict.csv", "name,r,g,b\nground,0,0,0\ncar,250,50,83\nsky,51,221,255\n")
        check(folder("val", root=tmp_path), "a")

    def test_a_folder_for_each_split_inside(self, tmp_path: Path) -> None:
        for split in ("train", "val"):
            image(tmp_path / "images" / split / "a.jpg")
            mask(tmp_path / "labels" / split / "a.png")
        text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
        check(folder("val", root=tmp_path), "a")

    def test_nested_folders(self, tmp_path: Path) -> None:
        for name in ("ulm/0001", "bonn/0001", "bonn/east/0002"):
            image(tmp_path / "images" / f"{name}.jpg")
            mask(tmp_path / "masks" / f"{name}.png")
        text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
        check(both(tmp_path), "bonn/0001 bonn/east/0002 ulm/0001")
        text(tmp_path / "val.txt", "ulm/0001\n")
        check(folder("val", root=tmp_path), "ulm/0001")

    def test_nnunet(self, tmp_path: Path) -> None:
        for name in ("CASE_000", "CASE_001"):
            image(tmp_path / "imagesTr" / f"{name}_0000.png")
            mask(tmp_path / "labelsTr" / f"{name}.png", np.where(MAP == VOID, 3, MAP))
        text(tmp_path / "dataset.json", '{"labels": {"background": 0, "tumor": 1, "cyst": 2, "ignore": 3}, "numTraining": 2}')
        split = both(tmp_path)
        check(split, "CASE_000 CASE_001")
        assert split.labels.names == ("background", "tumor", "cyst")

    @pytest.mark.parametrize("line", ["pictures/{0}.jpg truth/{0}_x.png", "{1}/pictures/{0}.jpg\t{1}/truth/{0}_x.png"])
    def test_lists_of_two_paths(self, tmp_path: Path, line: str) -> None:
        for name in ("a", "b"):
            image(tmp_path / "pictures" / f"{name}.jpg")
            mask(tmp_path / "truth" / f"{name}_x.png")
        text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
        text(tmp_path / "train.txt", "\ufeff" + line.format("b", tmp_path) + "\n" + line.format("a", tmp_path) + "\n")  # as on Windows
        check(folder("train", root=tmp_path), "pictures/b pictures/a")
        text(tmp_path / "train.txt", line.format("b", tmp_path) + "\n" + line.format("c", tmp_path) + "\n")
        with pytest.raises(FileNotFoundError, match=r"train\.txt: the line '.*c.*' does not name two files"):
            folder("train", root=tmp_path)

    def test_lists_of_paths(self, tmp_path: Path) -> None:
        for name in ("a", "b"):
            image(tmp_path / "images" / f"{name}.jpg")
            mask(tmp_path / "masks" / f"{name}.png")
        text(tmp_path / "classes.txt", "ground\nroad\ncar\n")
        text(tmp_path / "train.txt", "images/b.jpg\na.jpg\n")
        check(folder("train", root=tmp_path), "b a")


class TestPatterns:
    def fill(self, root: Path) -> None:
        for split in ("train", "val"):
            for name in ("ulm/a", "bonn/b"):
                image(root / "leftImg8bit" / split / f"{name}_leftImg8bit.png")
                for kind in ("labelIds", "instanceIds"):
                    mask(root / "gtFine" / split / f"{name}_gtFine_{kind}.png", MAP if kind == "labelIds" else MAP * 0)
        text(root / "classes.txt", "ground\nroad\ncar\n")

    def test_with_folders(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        patterns = {
            "image_pattern": "leftImg8bit/{split}/{}_leftImg8bit.png",
            "mask_pattern": "gtFine/{split}/{}_gtFine_labelIds.png",
        }
        check(folder("val", root=tmp_path, **patterns), "bonn/b ulm/a")
        with pytest.raises(ValueError, match="has the splits train, val, not 'test'"):
            folder("test", root=tmp_path, **patterns)

    def test_of_names_alone(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        (tmp_path / "leftImg8bit").rename(tmp_path / "images")
        (tmp_path / "gtFine").rename(tmp_path / "masks")
        split = folder("val", root=tmp_path, image_pattern="{}_leftImg8bit.png", mask_pattern="{}_gtFine_labelIds.png")
        check(split, "bonn/b ulm/a")
        (note,) = split.notes
        assert "2 pictures whose names do not fit {}_gtFine_labelIds.png" in note

    @pytest.mark.parametrize(
        ("image_pattern", "mask_pattern", "message"),
        [
            ("a.png", None, r"^image_pattern=a\.png needs \{\} once"),
            (None, "{}{}.png", r"^mask_pattern=.* needs \{\} once"),
            ("x/{}.png", "{}_mask.png", "need folders both, or none"),
            ("x/{split}/{}.png", "y/{}.png", r"need \{split\} both, or none"),
            ("x/{split}/{}.png", "y/{split}/{}.png", "fits no folder"),
        ],
    )
    def test_that_cannot_work(self, tmp_path: Path, image_pattern: str | None, mask_pattern: str | None, message: str) -> None:
        self.fill(tmp_path)
        with pytest.raises((ValueError, OSError), match=message):
            folder("train", root=tmp_path, image_pattern=image_pattern, mask_pattern=mask_pattern)
