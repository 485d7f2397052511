"""Each export of a tool as it comes: the command line takes it with ``data.root`` and at most one more word, and finds nothing wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from PIL import Image

from fcn.cli.main import run
from tests.data.folders import mask, text

NAMES = [f"photo{number}" for number in range(24)]  # enough for a hash to give some to each split
SIZE = (24, 32)
LABELS = np.zeros(SIZE, np.uint8)
LABELS[4:20, 6:22] = 1
LABELS[8:16, 10:18] = 2
COLORS = np.array([(0, 0, 0), (128, 64, 128), (70, 130, 180)], np.uint8)


def photograph(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = np.random.default_rng(crc32(path.as_posix().encode())).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(small).resize(SIZE[::-1], Image.Resampling.BICUBIC).save(path)


def labelme2voc(root: Path) -> None:
    for name in NAMES:
        photograph(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "SegmentationClass" / f"{name}.png", LABELS)
    text(root / "class_names.txt", "_background_\nroad\ncar\n")


def cvat(root: Path) -> None:
    for name in NAMES:
        photograph(root / "JPEGImages" / f"{name}.jpg")
        mask(root / "SegmentationClass" / f"{name}.png", COLORS[LABELS])
    text(root / "labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:128,64,128::\ncar:70,130,180::\n")
    text(root / "ImageSets" / "Segmentation" / "default.txt", "\n".join(NAMES))


def roboflow(root: Path) -> None:
    for split in ("train", "valid"):
        for name in NAMES[:4]:
            photograph(root / split / f"{name}.jpg")
            mask(root / split / f"{name}_mask.png", LABELS)
        text(root / split / "_classes.csv", "Pixel Value, Class\n0, background\n1, road\n2, car\n")


def label_studio(root: Path) -> None:
    for number, name in enumerate(NAMES):
        photograph(root / "images" / f"{name}.jpg")
        for index, label in ((1, "road"), (2, "car")):
            region = (index <= LABELS) * 255
            mask(root / "masks" / f"task-{number}-annotation-{number}-by-1-tag-{label}-0.png", region.astype(np.uint8))
    tasks = [{"id": number, "data": {"image": f"/data/upload/1/0a1b2c3d-{name}.jpg"}} for number, name in enumerate(NAMES)]
    text(root / "export.json", json.dumps(tasks))


def binary(root: Path) -> None:
    for name in NAMES:
        photograph(root / "image" / f"{name}.png")
        mask(root / "label" / f"{name}.png", (LABELS > 0).astype(np.uint8) * 255)


def suffixes(root: Path) -> None:
    for name in NAMES:
        photograph(root / "images" / f"{name}.jpg")
        for kind in ("labelIds", "instanceIds"):
            mask(root / "masks" / f"{name}_gtFine_{kind}.png", LABELS)
    text(root / "classes.txt", "ground\nroad\ncar\n")


def lists(root: Path) -> None:
    for split in ("train", "val"):
        for name in NAMES[:4]:
            photograph(root / "photographs" / split / f"{name}.jpg")
            mask(root / "truth" / split / f"{name}.png", LABELS)
        text(root / f"{split}.txt", "\n".join(f"photographs/{split}/{name}.jpg truth/{split}/{name}.png" for name in NAMES[:4]))
    text(root / "classes.txt", "ground\nroad\ncar\n")


def nested(root: Path) -> None:
    for number, name in enumerate(NAMES):
        photograph(root / "images" / f"city{number % 3}" / f"{name}.jpg")
        mask(root / "masks" / f"city{number % 3}" / f"{name}.png", LABELS)
    text(root / "classes.txt", "ground\nroad\ncar\n")


def polygons(index: int) -> list[float]:
    (top, left), *_, (bottom, right) = np.argwhere(index <= LABELS).tolist()
    return [left, top, right + 1, top, right + 1, bottom + 1, left, bottom + 1]


def coco(root: Path) -> None:
    pytest.importorskip("pycocotools")
    for split in ("train", "val"):
        for name in NAMES[:4]:
            photograph(root / f"{split}2017" / f"{name}.jpg")
        images = [{"id": number, "file_name": f"{name}.jpg", "height": 24, "width": 32} for number, name in enumerate(NAMES[:4])]
        objects = [
            {"id": 2 * number + index, "image_id": number, "category_id": index, "segmentation": [polygons(index)], "iscrowd": 0}
            for number in range(4)
            for index in (1, 2)
        ]
        categories = [{"id": 1, "name": "road"}, {"id": 2, "name": "car"}]
        content = {"images": images, "annotations": objects, "categories": categories}
        text(root / "annotations" / f"instances_{split}2017.json", json.dumps(content))


def labelme(root: Path) -> None:
    for name in NAMES:
        photograph(root / f"{name}.jpg")
        shapes = [
            {"label": label, "points": np.reshape(polygons(index), (-1, 2)).tolist(), "shape_type": "polygon"}
            for index, label in ((1, "road"), (2, "car"))
        ]
        content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": f"{name}.jpg", "imageData": None}
        text(root / f"{name}.json", json.dumps(content | {"imageHeight": 24, "imageWidth": 32}))


def nnunet(root: Path) -> None:
    for name in NAMES:
        photograph(root / "imagesTr" / f"{name}_0000.png")
        mask(root / "labelsTr" / f"{name}.png", LABELS)
    text(root / "dataset.json", '{"labels": {"background": 0, "road": 1, "car": 2}}')


FORMATS: list[tuple[Callable[[Path], None], str]] = [
    (labelme2voc, ""),
    (cvat, ""),
    (roboflow, "data.val=valid"),
    (label_studio, ""),
    (binary, "data.values={0: background, 255: thing}"),
    (suffixes, "data.mask_pattern={}_gtFine_labelIds.png"),
    (lists, ""),
    (nested, ""),
    (coco, ""),
    (labelme, ""),
    (nnunet, ""),
]


@pytest.mark.parametrize(("fill", "word"), FORMATS, ids=[fill.__name__ for fill, _ in FORMATS])
def test_root_and_one_word_are_enough(tmp_path: Path, capsys: pytest.CaptureFixture[str], fill: Callable[[Path], None], word: str) -> None:
    fill(tmp_path / "set")
    words = ["data=folder", f"data.root={tmp_path / 'set'}", *filter(None, [word])]
    assert run(["data", *words, f"output={tmp_path / 'out'}", "strides=[4]", "pictures=1"]) == 0
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "no traps found"
    found = json.loads((tmp_path / "out" / "data.json").read_text())
    expected = np.bincount(LABELS.ravel())[1:] / LABELS.size
    expected = [expected.sum()] if fill is binary else expected.tolist()
    for facts in found["splits"].values():
        shares = {name: each["share"] for name, each in facts["classes"].items()}
        found_shares = [shares[name] for name in (("thing",) if fill is binary else ("road", "car"))]
        assert found_shares == pytest.approx(expected, abs=0.06)  # borders of polygons


@pytest.mark.slow
@pytest.mark.parametrize(("fill", "word"), FORMATS, ids=[fill.__name__ for fill, _ in FORMATS])
def test_training_takes_them(tmp_path: Path, fill: Callable[[Path], None], word: str) -> None:
    fill(tmp_path / "set")
    words = ["data=folder", f"data.root={tmp_path / 'set'}", *filter(None, [word])]
    small = ["backbone=compact", "epochs=1", "batch_size=2", "augment.crop_size=32", "workers=0"]
    assert run(["train", *words, *small, f"output={tmp_path / 'run'}"]) == 0
