"""Polygons and other annotations that are drawn on first use: COCO's and labelme's JSON, and Label Studio's masks of one label each."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.core.errors import UserError
from fcn.core.labels import VOID, LabelSet
from fcn.data.folder import folder
from fcn.data.labelme import draw_shapes
from tests.data.folders import image, mask, text

HEIGHT, WIDTH = 12, 16


def runs(region: np.ndarray) -> list[int]:
    """Uncompressed RLE: lengths of runs of 0, 1, 0, ... down the columns."""
    flat = region.astype(np.uint8).ravel(order="F")
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat, [2]])))
    return np.diff(np.concatenate([[0], edges])).tolist()


def box(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    region = np.zeros((HEIGHT, WIDTH), bool)
    region[top:bottom, left:right] = True
    return region


def coco(path: Path, names: list[str]) -> None:
    """Each image: a large car as a polygon, a small dog on it as runs, and a crowd of cars as runs. Ids have gaps."""
    annotations = []
    for number in range(len(names)):
        place = {"image_id": 10 + number, "iscrowd": 0}
        annotations += [
            {"id": 3 * number, "category_id": 18, "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(box(3, 3, 6, 6))}, **place},
            {"id": 3 * number + 1, "category_id": 3, "segmentation": [[2, 2, 10, 2, 10, 8, 2, 8]], "area": 48, **place},
            {
                "id": 3 * number + 2,
                "category_id": 3,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": runs(box(10, 0, 12, 4))},
                **place | {"iscrowd": 1},
            },
        ]
    content = {
        "images": [{"id": 10 + number, "file_name": name, "height": HEIGHT, "width": WIDTH} for number, name in enumerate(names)],
        "annotations": annotations,
        "categories": [{"id": 18, "name": "dog"}, {"id": 3, "name": "car"}],
    }
    text(path, json.dumps(content))


EXPECTED = np.zeros((HEIGHT, WIDTH), np.uint8)
EXPECTED[2:8, 2:10] = 1
EXPECTED[3:6, 3:6] = 2
EXPECTED[10:12, 0:4] = 1


class TestCoco:
    @pytest.fixture(autouse=True)
    def needs(self) -> None:
        pytest.importorskip("pycocotools")

    @pytest.mark.parametrize("images", ["", "images/"])
    def test_its_own_layout(self, tmp_path: Path, images: str) -> None:
        for split in ("train", "val"):
            for name in ("a.jpg", "b.jpg"):
                image(tmp_path / f"{images}{split}2017" / name, (WIDTH, HEIGHT))
            coco(tmp_path / "annotations" / f"instances_{split}2017.json", ["a.jpg", "b.jpg"])
            text(tmp_path / "annotations" / f"captions_{split}2017.json", "{}")
        split = folder("train", root=tmp_path)
        assert split.names == ("a", "b")
        assert split.labels.names == ("background", "car", "dog")
        assert np.array_equal(split[1][1].numpy(), EXPECTED)
        assert folder("val", root=tmp_path).names == ("a", "b")

    def test_roboflow(self, tmp_path: Path) -> None:
        for split in ("train", "valid"):
            image(tmp_path / split / "a.jpg", (WIDTH, HEIGHT))
            coco(tmp_path / split / "_annotations.coco.json", ["a.jpg"])
        assert np.array_equal(folder("valid", root=tmp_path)[0][1].numpy(), EXPECTED)
        with pytest.raises(UserError, match=r"choose it with data\.val=valid"):
            folder("val", root=tmp_path)

    @pytest.mark.parametrize("place", ["annotations/instances_default.json", "result.json"])
    def test_one_file_for_all(self, tmp_path: Path, place: str) -> None:
        names = [f"{number}.jpg" for number in range(30)]
        for name in names:
            image(tmp_path / "images" / name, (WIDTH, HEIGHT))
        coco(tmp_path / place, names)
        train, val = folder("train", root=tmp_path), folder("val", root=tmp_path)
        assert sorted([*train.names, *val.names]) == sorted(Path(name).stem for name in names)
        assert np.array_equal(val[0][1].numpy(), EXPECTED)

    def test_is_drawn_once_and_anew_when_it_changes(self, tmp_path: Path) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        file = tmp_path / "train" / "_annotations.coco.json"
        coco(file, ["a.jpg"])
        first = folder("train", root=tmp_path).pairs[0].labels
        stamp = Path(first).stat().st_mtime_ns
        assert folder("train", root=tmp_path).pairs[0].labels == first
        assert Path(first).stat().st_mtime_ns == stamp
        file.write_text(file.read_text().replace('"dog"', '"horse"'))
        assert folder("train", root=tmp_path).labels.names == ("background", "car", "horse")
        Path(first).with_name("index.json").write_text("{")
        file.write_text(file.read_text().replace('"horse"', '"dog"'))

    def test_compressed_runs(self, tmp_path: Path) -> None:
        from pycocotools import mask as masks

        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        file = tmp_path / "train" / "_annotations.coco.json"
        coco(file, ["a.jpg"])
        content = json.loads(file.read_text())
        for each in content["annotations"]:
            if isinstance(each["segmentation"], dict):
                region = masks.decode(masks.frPyObjects(each["segmentation"], HEIGHT, WIDTH))
                each["segmentation"]["counts"] = masks.encode(np.asfortranarray(region))["counts"].decode()
        file.write_text(json.dumps(content))
        assert np.array_equal(folder("train", root=tmp_path)[0][1].numpy(), EXPECTED)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda content: content.pop("categories"), "lacks one of the lists"),
            (lambda content: content["annotations"][0].pop("image_id"), r"an entry lacks 'image_id'"),
            (lambda content: content["annotations"][0].update(category_id=77), "annotation 0 cannot be drawn"),
            (
                lambda content: content["annotations"][0]["segmentation"].update(size=[3, 3], counts=[9]),
                "annotation 0 is 3x3 pixels, its image",
            ),
            (lambda content: content["images"][0].update(file_name="b.jpg"), r"there is no image for 'b\.jpg'"),
            (lambda content: content.update(images=[]), "has no annotated image"),
        ],
    )
    def test_faults(self, tmp_path: Path, change, message: str) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        file = tmp_path / "train" / "_annotations.coco.json"
        coco(file, ["a.jpg"])
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))
        with pytest.raises((UserError, FileNotFoundError), match=message):
            folder("train", root=tmp_path)
        assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".part")]

    @pytest.mark.parametrize("name", ["background", "_background_", "Background"])
    def test_what_no_object_covers_is_the_background_wherever_that_is_listed(self, tmp_path: Path, name: str) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        file = tmp_path / "train" / "_annotations.coco.json"
        coco(file, ["a.jpg"])
        content = json.loads(file.read_text())
        content["categories"].append({"id": 20, "name": name})
        file.write_text(json.dumps(content))
        split = folder("train", root=tmp_path)
        assert split.labels.names == (name, "car", "dog")
        assert np.array_equal(split[0][1].numpy(), EXPECTED)

    @pytest.mark.parametrize("option", [{"classes": "mine.txt"}, {"unknown": "void"}])
    def test_settings_of_masks_are_refused(self, tmp_path: Path, option: dict) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        coco(tmp_path / "train" / "_annotations.coco.json", ["a.jpg"])
        text(tmp_path / "mine.txt", "background\ncar\ndog\n")
        with pytest.raises(UserError, match=f"has annotations of coco, not masks: leave out {next(iter(option))}"):
            folder("train", root=tmp_path, **option)

    def test_values_mean_nothing(self, tmp_path: Path) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        coco(tmp_path / "train" / "_annotations.coco.json", ["a.jpg"])
        with pytest.raises(UserError, match=r"leave out values"):
            folder("train", root=tmp_path, values={0: "a", 1: "b"})


def test_coco_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
    coco(tmp_path / "train" / "_annotations.coco.json", ["a.jpg"])
    monkeypatch.setattr("fcn.data.coco.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r'needs pycocotools: pip install "fcn-toolkit\[coco\]"'):
        folder("train", root=tmp_path)


def labelme(path: Path, shapes: list[dict], picture: str = "") -> None:
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": picture or f"{path.stem}.jpg", "imageData": None}
    text(path, json.dumps(content | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))


CAR = {"label": "car", "points": [[2, 2], [9, 2], [9, 7], [2, 7]], "shape_type": "polygon"}
DOG = {"label": "dog", "points": [[5, 5], [3, 3]], "shape_type": "rectangle"}


class TestLabelme:
    @pytest.mark.parametrize("base", [".", "images"])
    def test_json_beside_the_images(self, tmp_path: Path, base: str) -> None:
        for number in range(20):
            image(tmp_path / base / f"{number}.jpg", (WIDTH, HEIGHT))
            labelme(tmp_path / base / f"{number}.json", [CAR, DOG])
        train, val = folder("train", root=tmp_path), folder("val", root=tmp_path)
        assert len(train) + len(val) == 20
        assert train.labels.names == ("background", "car", "dog")
        expected = EXPECTED.copy()
        expected[10:] = 0
        assert np.array_equal(val[0][1].numpy(), expected)

    def test_a_folder_for_each_split_has_the_classes_of_all(self, tmp_path: Path) -> None:
        for split, shapes in (("train", [CAR]), ("val", [DOG])):
            image(tmp_path / split / "a.jpg", (WIDTH, HEIGHT))
            labelme(tmp_path / split / "a.json", shapes)
        assert folder("train", root=tmp_path).labels.names == ("background", "car", "dog")
        assert folder("val", root=tmp_path)[0][1].unique().tolist() == [0, 2]

    @pytest.mark.parametrize("name", ["classes.txt", "labels.txt", "class_names.txt", "train/class_names.txt"])
    def test_list_of_labels(self, tmp_path: Path, name: str) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        labelme(tmp_path / "train" / "a.json", [CAR])
        text(tmp_path / name, "_background_\ndog\ncar\n")
        assert folder("train", root=tmp_path)[0][1].unique().tolist() == [0, 2]
        text(tmp_path / name, "_background_\ndog\ncat\n")
        with pytest.raises(UserError, match="has the label 'car', which the list of classes does not have"):
            folder("train", root=tmp_path)

    def test_labelmes_own_list_begins_with_what_is_ignored(self, tmp_path: Path) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        labelme(tmp_path / "train" / "a.json", [CAR, DOG | {"label": "__ignore__"}])
        text(tmp_path / "labels.txt", "__ignore__\n_background_\ndog\ncar\n")
        split = folder("train", root=tmp_path)
        assert split.labels.names == ("_background_", "dog", "car")
        assert split[0][1].unique().tolist() == [0, 2, VOID]
        text(tmp_path / "labels.txt", "_background_\ndog #00ff00\ncar #804080\n")
        assert folder("train", root=tmp_path).labels.colors[1:] == ((0, 255, 0), (128, 64, 128))

    def test_the_list_that_is_named(self, tmp_path: Path) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        labelme(tmp_path / "train" / "a.json", [CAR])
        text(tmp_path / "classes.txt", "background\ncar\n")
        text(tmp_path / "mine.txt", "dog\ncar\nbackground\n")
        split = folder("train", root=tmp_path, classes="mine.txt")
        assert split.labels.names == ("dog", "car", "background")
        assert split[0][1].unique().tolist() == [1, 2]  # what no shape covers is the background, wherever it is listed
        assert folder("train", root=tmp_path).labels.names == ("background", "car")
        with pytest.raises(FileNotFoundError, match=r"there is no list of classes .*missing\.txt: correct classes"):
            folder("train", root=tmp_path, classes="missing.txt")

    def test_without_a_background_all_has_to_be_covered(self, tmp_path: Path) -> None:
        image(tmp_path / "train" / "a.jpg", (WIDTH, HEIGHT))
        labelme(tmp_path / "train" / "a.json", [CAR])
        text(tmp_path / "classes.txt", "road\ncar\n")
        with pytest.raises(
            UserError, match=r"75\.0 % of the pixels of .*a\.json lie in no shape, and none of the classes road, car is called"
        ):
            folder("train", root=tmp_path)
        everything = {"label": "road", "points": [[0, 0], [WIDTH, HEIGHT]], "shape_type": "rectangle"}
        labelme(tmp_path / "train" / "a.json", [everything, CAR])
        assert folder("train", root=tmp_path)[0][1].unique().tolist() == [0, 1]
        corner = {"label": "road", "points": [[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [2, HEIGHT], [0, HEIGHT - 2]], "shape_type": "polygon"}
        labelme(tmp_path / "train" / "a.json", [corner])
        found = folder("train", root=tmp_path)[0][1]
        assert found.unique().tolist() == [0, VOID]
        assert 0 < (found == VOID).float().mean() < 0.05

    def test_shapes(self, tmp_path: Path) -> None:
        labels = LabelSet(("background", "car"))

        def drawn(kind: str, points: list, label: str = "car") -> np.ndarray:
            content = {"shapes": [{"label": label, "points": points, "shape_type": kind}], "imageHeight": 60, "imageWidth": 80}
            return draw_shapes(content, labels, tmp_path / "a.json").astype(int)

        circle = drawn("circle", [[40, 30], [40, 10]])
        assert circle.sum() == pytest.approx(np.pi * 20**2, rel=0.05)
        assert circle[30, 40] == 1
        assert drawn("line", [[10, 30], [60, 30]]).sum() == pytest.approx(50 * 10, rel=0.1)
        assert drawn("linestrip", [[10, 30], [60, 30]], "__ignore__").max() == VOID
        assert drawn("points", [[10, 30], [60, 30]]).sum() == pytest.approx(2 * np.pi * 5**2, rel=0.25)
        with pytest.raises(UserError, match=r"a\.json has a shape of the kind 'spline'"):
            drawn("spline", [[1, 1]])
        with pytest.raises(UserError, match="it has 2 points"):
            drawn("polygon", [[1, 1], [5, 5]])

    def test_image_that_is_missing(self, tmp_path: Path) -> None:
        labelme(tmp_path / "train" / "a.json", [CAR])
        image(tmp_path / "train" / "b.jpg", (WIDTH, HEIGHT))
        with pytest.raises(FileNotFoundError, match=r"a\.json has no image"):
            folder("train", root=tmp_path)


class TestLabelStudio:
    def fill(self, root: Path) -> None:
        for task, name in ((3, "street"), (5, "yard")):
            image(root / "images" / f"{name}.jpg", (WIDTH, HEIGHT))
            for label, region in (("car", box(2, 2, 8, 10)), ("big dog", box(3, 3, 6, 6))):
                mask(root / "masks" / f"task-{task}-annotation-{task + 4}-by-1-tag-{label}-0.png", region * 255)
        tasks = [
            {"id": 3, "data": {"image": "/data/upload/1/0a1b2c3d-street.jpg"}},
            {"id": 5, "data": {"image": "/data/local/?d=x/yard.jpg"}},
        ]
        text(root / "export.json", json.dumps(tasks))

    def pairs(self, root: Path) -> list:
        found = []
        for split in ("train", "val"):
            try:
                found += list(folder(split, root=root).pairs)
            except UserError:
                continue
        return sorted(found)

    def test_one_mask_for_each_label(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        pairs = self.pairs(tmp_path)
        assert [pair.name for pair in pairs] == ["street", "yard"]
        expected = np.where(box(3, 3, 6, 6), 1, np.where(box(2, 2, 8, 10), 2, 0))
        assert all(np.array_equal(np.array(Image.open(pair.labels)), expected) for pair in pairs)

    def test_images_of_one_name_are_told_apart_by_the_folders_of_the_export(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        (tmp_path / "images" / "street.jpg").unlink()
        image(tmp_path / "x" / "p #1.jpg", (WIDTH, HEIGHT))
        image(tmp_path / "images" / "p #1.jpg", (WIDTH, HEIGHT))
        tasks = [
            {"id": 3, "data": {"image": "/data/local-files/?d=photos/x/p%20%231.jpg"}},
            {"id": 5, "data": {"image": "/data/local-files/?d=photos/images/p%20%231.jpg"}},
        ]
        text(tmp_path / "export.json", json.dumps(tasks))
        assert [pair.name for pair in self.pairs(tmp_path)] == ["images/p #1", "x/p #1"]
        assert [Path(pair.image).parent.name for pair in self.pairs(tmp_path)] == ["images", "x"]
        mask(tmp_path / "masks" / "task-8-annotation-9-by-1-tag-car-0.png", box(2, 2, 8, 10) * 255)
        text(tmp_path / "export.json", json.dumps([*tasks, {"id": 8, "data": {"image": "/data/upload/1/0a1b2c3d-yard.jpg"}}]))
        assert [pair.name for pair in self.pairs(tmp_path)] == ["images/p #1", "x/p #1", "yard"]  # names of others stay
        tasks[0]["data"]["image"] = "/data/upload/1/0a1b2c3d-p%20%231.jpg"
        text(tmp_path / "export.json", json.dumps(tasks))
        with pytest.raises(UserError, match=r"as the image of task 3, and .*p #1.jpg and .*p #1.jpg are called so"):
            folder("train", root=tmp_path)

    def test_images_by_the_number_of_the_task(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        (tmp_path / "export.json").unlink()
        with pytest.raises(FileNotFoundError, match="no image for the tasks 3, 5: put Label Studio's JSON export there"):
            folder("train", root=tmp_path)
        (tmp_path / "images" / "street.jpg").rename(tmp_path / "images" / "3.jpg")
        (tmp_path / "images" / "yard.jpg").rename(tmp_path / "images" / "task-5.jpg")
        assert [pair.name for pair in self.pairs(tmp_path)] == ["3", "task-5"]

    def test_two_annotations_of_one_task(self, tmp_path: Path) -> None:
        self.fill(tmp_path)
        mask(tmp_path / "masks" / "task-3-annotation-9-by-2-tag-car-0.png", box(0, 0, 1, 1) * 255)
        with pytest.raises(UserError, match=r"the task 3 .* has several annotations: keep the masks of one"):
            folder("train", root=tmp_path)
