"""More than 255 classes: void is 65535, label maps are int32 in memory and uint16 in files. Also masks of few classes and large values."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import fcn
from fcn.cli.main import run
from fcn.core.labels import LabelSet, void_index
from fcn.data.changes import Cutout
from fcn.data.named_transforms import NamedTransforms
from fcn.data.pictures import colorize, overlay, sample_sheet, save_labels
from fcn.data.rows import from_rows
from fcn.data.transforms import TrainingTransform
from fcn.inference.labelmap import label_map
from fcn.tools.ceiling.measure import through_cells
from fcn.training.boundary import boundary_counts
from fcn.training.losses import SegmentationLoss
from fcn.training.metrics import confusion_matrix

COUNT, VOID = 300, 65535
MANY = LabelSet(tuple(f"class {index}" for index in range(COUNT)))


def masks(count: int, seed: int = 0) -> list[np.ndarray]:
    """Label maps of large squares whose classes are drawn, 255 and void among them."""
    rng = np.random.default_rng(seed)
    maps = [rng.choice([3, 255, 256, 299, VOID], (3, 4)).repeat(16, 0).repeat(16, 1).astype(np.uint16) for _ in range(count)]
    for values in maps:
        values[0, :5] = [3, 255, 256, 299, VOID]
    return maps


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of 300 classes: each class has a gray of its own."""
    root = tmp_path_factory.mktemp("many")
    (root / "classes.txt").write_text("\n".join(MANY.names))
    for split, count in (("train", 6), ("val", 2)):
        for kind in ("images", "masks"):
            (root / split / kind).mkdir(parents=True)
        for index, values in enumerate(masks(count)):
            Image.fromarray(values).save(root / split / "masks" / f"{index}.png")
            gray = np.where(values == VOID, 0, 40 + values % 200).astype(np.uint8)
            Image.fromarray(np.stack([gray] * 3, 2)).save(root / split / "images" / f"{index}.png")
    return root


def test_void_and_type_follow_from_the_number_of_classes():
    assert [(void_index(count), LabelSet(tuple(map(str, range(count)))).dtype) for count in (255, 256)] == [(255, "uint8"), (VOID, "int32")]
    assert MANY.void == VOID
    with pytest.raises(fcn.UserError, match="a label set has 2 to 65535"):
        LabelSet(tuple(map(str, range(65536))))


class TestReading:
    def test_masks_of_16_bits_are_read_as_they_are(self, folder):
        split = fcn.create_split("folder", "train", root=folder)
        for index, values in enumerate(masks(6)):
            image, labels = split[index]
            assert labels.dtype == torch.int32
            assert image.shape[1:] == labels.shape
            assert np.array_equal(labels.numpy(), values)

    def test_few_classes_of_large_values(self, tmp_path):
        for kind in ("images", "masks"):
            (tmp_path / "train" / kind).mkdir(parents=True)
        values = np.array([[0, 1000, 40000], [255, 1000, 0]], np.uint16)
        Image.fromarray(values).save(tmp_path / "train" / "masks" / "a.png")
        Image.new("RGB", (3, 2)).save(tmp_path / "train" / "images" / "a.png")
        words = {0: "ground", 1000: "tree", 40000: "void"}
        labels = fcn.create_split("folder", "train", root=tmp_path, values=words)[0][1]
        assert labels.dtype == torch.uint8
        assert labels.tolist() == [[0, 1, 255], [255, 1, 0]]
        with pytest.raises(fcn.UserError, match=r"a\.png holds the value 40000 \(first in row 0, column 2\)"):
            fcn.create_split("folder", "train", root=tmp_path, values={0: "ground", 1000: "tree"})[0]
        taken = fcn.create_split("folder", "train", root=tmp_path, values={0: "ground", 1000: "tree"}, unknown="void")[0][1]
        assert torch.equal(taken, labels)
        (tmp_path / "classes.txt").write_text("ground\ntree")
        with pytest.raises(fcn.UserError, match=r"a\.png holds values from 0 to 40000.*data\.values|values"):
            fcn.create_split("folder", "train", root=tmp_path)[0]

    def test_a_value_that_is_no_class(self, tmp_path, folder):
        split = fcn.create_split("folder", "train", root=folder)
        path = tmp_path / "strange.png"
        Image.fromarray(np.array([[0, 300]], np.uint16)).save(path)
        with pytest.raises(fcn.UserError, match=r"holds the value 300 .*allowed are 0 to 299, 65535"):
            split.masks.read(str(path))

    def test_polygons(self, tmp_path):
        Image.new("RGB", (8, 6)).save(tmp_path / "a.png")
        shape = {"label": "class 298", "shape_type": "rectangle", "points": [[0, 0], [3, 3]]}
        text = json.dumps({"version": "5", "imagePath": "a.png", "imageHeight": 6, "imageWidth": 8, "shapes": [shape]})
        (tmp_path / "a.json").write_text(text)
        (tmp_path / "classes.txt").write_text("\n".join(("_background_", *MANY.names)))
        labels = fcn.create_split("folder", "train", root=tmp_path, val_fraction=0.01)[0][1]
        assert labels[0, 0] == 299
        assert labels.unique().tolist() == [0, 299]

    def test_rows(self):
        mask = np.array([[0, 299], [VOID, 256]], np.uint16)
        split = from_rows([{"image": Image.new("RGB", (2, 2)), "mask": mask}], classes=MANY)
        assert split[0][1].tolist() == mask.tolist()


class TestWriting:
    def test_files_hold_the_indices(self, tmp_path):
        values = masks(1)[0]
        save_labels(values, MANY, tmp_path / "labels.png")
        with Image.open(tmp_path / "labels.png") as picture:
            assert picture.mode.startswith("I;16")
            assert np.array_equal(np.array(picture), values)

    def test_pictures_have_the_colours_of_the_classes(self):
        values = masks(1)[0].astype(np.int32)
        colored = colorize(values, MANY)
        for value in (3, 255, 256, 299):
            assert (colored[values == value] == MANY.colors[value]).all()
        image = np.zeros((3, *values.shape), np.uint8)
        assert np.array_equal(overlay(image, values, MANY, alpha=1.0), colored)
        assert sample_sheet([(image, values, values.clip(0, 299))], MANY, errors=True).width > 100
        with pytest.raises(fcn.UserError, match="holds the value 300; values are classes, 0 to 299, or 65535"):
            colorize(np.full((2, 2), 300), MANY)
        with pytest.raises(fcn.UserError, match="holds -1 to -1"):
            colorize(np.full((2, 2), -1), MANY)


@pytest.mark.parametrize("size", [(61, 77), (96, 128), (9, 13)])
@pytest.mark.parametrize("classes", [256, COUNT])
def test_label_map(size, classes):
    scores = torch.randn(classes, 9, 13, generator=torch.Generator().manual_seed(classes))
    labels, sure = label_map(scores, size=size, confidence=True)
    full = F.interpolate(scores[None], size=size, mode="bilinear", align_corners=False)[0]
    assert labels.dtype == torch.int32
    assert sure.dtype == torch.uint8
    assert torch.equal(labels.long(), full.argmax(0))
    assert labels.max() > 255 or classes == 256


class TestTraining:
    def test_void_does_not_count_in_any_term(self):
        generator = torch.Generator().manual_seed(0)
        logits = torch.randn(2, COUNT, 4, 6, generator=generator)
        labels = torch.randint(0, COUNT, (2, 4, 6), generator=generator, dtype=torch.int32)
        labels[:, :2] = VOID
        labels[:, 2, 0] = 255
        terms = {"cross_entropy": 1.0, "ohem": 1.0, "dice": 1.0, "focal": 1.0, "lovasz": 1.0}
        changed = logits.clone()
        changed[:, :, :2] = torch.randn(2, COUNT, 2, 6, generator=generator)  # where the truth is void
        for name in terms:
            loss = SegmentationLoss(COUNT, {name: 1.0})
            counts = loss.counts(labels)
            assert counts.tolist() == [24, 24]
            torch.testing.assert_close(loss(changed, labels, counts), loss(logits, labels, counts))
        expected = F.cross_entropy(logits[:, :, 2:], labels[:, 2:].long())
        loss = SegmentationLoss(COUNT)
        torch.testing.assert_close(loss(logits, labels, loss.counts(labels)), expected)

    def test_counts(self):
        truth, prediction = (torch.from_numpy(values.astype(np.int32)) for values in masks(2))
        prediction = prediction.where(prediction != VOID, 7)
        expected = torch.zeros(COUNT, COUNT, dtype=torch.int64)
        for true, found in zip(truth.flatten().tolist(), prediction.flatten().tolist(), strict=True):
            if true != VOID:
                expected[true, found] += 1
        assert torch.equal(confusion_matrix(truth, prediction, COUNT), expected)
        same = boundary_counts(truth, truth, COUNT, 2)
        assert torch.equal(same[0], same[1])
        assert same[0].nonzero()[:, 0].tolist() == [3, 255, 256, 299]
        through = through_cells(truth[16:, 16:], 16, "majority")
        assert torch.equal(through.where(truth[16:, 16:] != VOID, VOID), truth[16:, 16:])

    def test_crops_are_void_outside(self):
        labels = torch.full((20, 20), 255, dtype=torch.int32)
        image = torch.zeros(3, 20, 20, dtype=torch.uint8)
        shift = NamedTransforms(["RandomAffine(degrees=0, translate=(0.9, 0.9))"], (32, 32), (0, 0, 0), void=VOID)
        transform = TrainingTransform(32, scale=(0.5, 0.9), rotation=40.0, fill=(0, 0, 0), after=[shift, Cutout(0.5, (0, 0, 0))])
        generator = torch.Generator().manual_seed(0)
        crops = torch.stack([transform(image, labels, generator)[1] for _ in range(20)])
        assert crops.dtype == torch.int32
        assert crops.unique().tolist() == [255, VOID]


@pytest.mark.slow
def test_from_the_folder_to_the_label_map(folder, tmp_path):
    """Trained, scored and labelled from the command line, all strategies alike."""
    words = [f"data.root={folder}", "data=folder", "backbone=compact", "model=fcn8s", "augment.crop_size=48", "augment.scale=[1,1]"]
    words += ["epochs=40", "batch_size=3", "optim.lr=0.05", "loss.class_weights=auto", "augment.focus=0.5", "augment.brightness=0"]
    words += ["augment.contrast=0", "augment.saturation=0", "workers=0", f"output={tmp_path / 'run'}"]
    assert run(["train", *words]) == 0
    checkpoint = tmp_path / "run" / "best.pt"
    model = fcn.load(checkpoint)
    assert model.labels.num_classes == COUNT
    picture = folder / "val" / "images" / "0.png"
    whole = fcn.predict(model, picture, strategy="whole")
    assert whole.dtype == np.int32
    assert set(np.unique(whole)) <= set(range(COUNT))
    for strategy, options in (("stream", {"band": 8, "strip": 32}), ("windows", {"size": 128, "overlap": "exact"})):
        assert np.array_equal(fcn.predict(model, picture, strategy=strategy, **options), whole)
    assert fcn.evaluate(model, fcn.create_split("folder", "val", root=folder)).pixel_accuracy > 0.5
    assert run(["predict", f"checkpoint={checkpoint}", f"input={picture}", f"output={tmp_path / 'out'}"]) == 0
    with Image.open(next((tmp_path / "out").rglob("0*.png"))) as written:
        assert np.array_equal(np.array(written), whole)
