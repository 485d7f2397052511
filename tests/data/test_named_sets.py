"""Cityscapes, ADE20K and COCO-Stuff: layouts, ids and colours, on small folders in their form."""

from pathlib import Path

import numpy as np
import pytest

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.data.ade20k import ADE20K_LABELS, ade20k
from fcn.data.cityscapes import CITYSCAPES_LABELS, cityscapes
from fcn.data.coco_stuff import COCO_STUFF_LABELS, coco_stuff
from tests.data.folders import image, mask


def row(*values: int) -> np.ndarray:
    return np.array([values], np.uint8)


def named(labels: LabelSet, name: str) -> tuple[int, tuple[int, int, int]]:
    return labels.index(name), labels.colors[labels.index(name)]


@pytest.mark.parametrize("inside", ["", "cityscapes"])
def test_cityscapes(tmp_path: Path, inside: str) -> None:
    # ids of the labels' table: 0 unlabeled, 7 road, 8 sidewalk, 9 parking, 11 building, 24 person, 26 car, 29 caravan, 33 bicycle; -1 plate
    raw = row(0, 7, 8, 9, 11, 24, 26, 29, 33, 255)
    for split, city in (("train", "aachen"), ("val", "lindau"), ("test", "berlin")):
        name = f"{city}/{city}_000000_000019"
        image(tmp_path / inside / "leftImg8bit" / split / f"{name}_leftImg8bit.png", (10, 1))
        for kind in ("labelIds", "instanceIds", "color"):
            mask(tmp_path / inside / "gtFine" / split / f"{name}_gtFine_{kind}.png", raw if kind == "labelIds" else raw * 0)
    split = cityscapes("val", root=tmp_path)
    assert split.names == ("lindau/lindau_000000_000019",)
    assert split[0][1].tolist() == [[VOID, 0, 1, VOID, 2, 11, 13, VOID, 18, VOID]]
    assert any("has 1 images here, and 500 as it was published" in note for note in split.notes)
    assert cityscapes("test", root=tmp_path)[0][1].unique().tolist() == [VOID]
    assert named(CITYSCAPES_LABELS, "road") == (0, (128, 64, 128))
    assert named(CITYSCAPES_LABELS, "bicycle") == (18, (119, 11, 32))
    with pytest.raises(UserError, match="cityscapes has the splits train, val, test, not 'dev'"):
        cityscapes("dev", root=tmp_path)


def test_ade20k(tmp_path: Path) -> None:
    for split in ("training", "validation"):
        image(tmp_path / "ADEChallengeData2016" / "images" / split / "ADE_00000001.jpg", (4, 1))
        mask(tmp_path / "ADEChallengeData2016" / "annotations" / split / "ADE_00000001.png", row(0, 1, 13, 150))
    split = ade20k("train", root=tmp_path)
    assert split.names == ("ADE_00000001",)
    assert split[0][1].tolist() == [[VOID, 0, 12, 149]]
    assert ADE20K_LABELS.num_classes == 150
    assert named(ADE20K_LABELS, "wall") == (0, (120, 120, 120))
    assert named(ADE20K_LABELS, "person") == (12, (150, 5, 61))
    assert named(ADE20K_LABELS, "flag") == (149, (92, 0, 255))
    mask(tmp_path / "ADEChallengeData2016" / "annotations" / "training" / "ADE_00000001.png", row(0, 1, 13, 151))
    with pytest.raises(UserError, match="holds the value 151"):
        split[0]


@pytest.mark.parametrize("train_ids", [False, True])
@pytest.mark.parametrize(("images", "masks"), [("images", "annotations"), (".", "stuffthingmaps_trainval2017")])
def test_coco_stuff(tmp_path: Path, images: str, masks: str, train_ids: bool) -> None:
    # pixels are ids less one: 0 person, 90 is the unused id 91, 91 banner, 181 wood
    name = "000000000009_labelTrainIds.png" if train_ids else "000000000009.png"
    for split in ("train2017", "val2017"):
        image(tmp_path / images / split / "000000000009.jpg", (4, 1))
        mask(tmp_path / masks / split / name, row(0, 80, 170, 255) if train_ids else row(0, 91, 181, 255))
    split = coco_stuff("val", root=tmp_path)
    assert split.names == ("000000000009",)
    assert split[0][1].tolist() == [[0, 80, 170, VOID]]
    assert COCO_STUFF_LABELS.num_classes == 171
    assert [COCO_STUFF_LABELS.names[index] for index in (0, 79, 80, 170)] == ["person", "toothbrush", "banner", "wood"]
    if not train_ids:
        mask(tmp_path / masks / "val2017" / name, row(0, 90, 181, 255))
        with pytest.raises(UserError, match="holds the value 90"):
            split[0]


@pytest.mark.parametrize("read", [cityscapes, ade20k, coco_stuff])
def test_that_is_not_there(tmp_path: Path, read) -> None:
    with pytest.raises(FileNotFoundError, match=r"is not in .*: set data\.root"):
        read("train", root=tmp_path)
