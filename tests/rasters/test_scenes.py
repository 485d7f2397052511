"""Scenes with label rasters: labelled as wholes, scored tile by tile, with the confusion of one pass; what does not fit is one sentence."""

import json
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.core.labels import VOID
from fcn.data.masks import Masks
from fcn.data.pairs import Pair
from fcn.rasters.scenes import Scenes
from fcn.training.metrics import confusion_matrix
from tests.inference.stream.compare import lively
from tests.two_processes import forked

rasterio = pytest.importorskip("rasterio")
zarr = pytest.importorskip("zarr")

warnings.filterwarnings("ignore", message="Dataset has no geotransform")

LABELS = fcn.LabelSet(("ground", "road", "water"))
PLACE = (0.5, 0.0, 500000.0, 0.0, -0.5, 4600000.0)


def save(path, pixels, crs="EPSG:32633", transform=PLACE, **settings):
    placed = {} if transform is None else {"transform": rasterio.Affine(*transform)}
    count, height, width = pixels.shape
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"tiled": True, "blockxsize": 64, "blockysize": 48, "crs": crs, **placed, **settings}
    with rasterio.open(path, "w", driver="GTiff", count=count, height=height, width=width, dtype=pixels.dtype, **settings) as file:
        file.write(pixels)


def scene(root, name, height, width, seed=0, labels=None, **settings):
    """An image and a label raster, some of it void; they are returned."""
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 256, (3, height, width), np.uint8)
    if labels is None:
        labels = rng.choice(np.array([0, 1, 2, VOID]), (height // 20 + 1, width // 20 + 1)).repeat(20, 0).repeat(20, 1)[:height, :width]
    save(root / "images" / f"{name}.tif", image, **settings)
    save(root / "masks" / f"{name}.tif", labels[None].astype(np.uint8))
    (root / "classes.txt").write_text("\n".join(LABELS.names))
    (root / "val.txt").write_text("\n".join(path.stem for path in sorted((root / "images").iterdir())))
    return image, labels.astype(np.uint8)


def split_of(root, **options):
    return fcn.create_split("scenes", "val", root=root, **options)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    spec = fcn.create_model("fcn8s", backbone="compact", upsample="bilinear", classes=LABELS.names)
    return lively(spec).float()


def test_the_tiles_are_the_scene(tmp_path):
    image, labels = scene(tmp_path, "a", 203, 117)
    split = split_of(tmp_path, tile=100)
    assert len(split) == 3 * 2
    assert split.names[3] == "a (row 68, column 59)"
    found, truth = np.zeros_like(image), np.zeros_like(labels)
    for index, (_, top, left, height, width) in enumerate(split.tiles):
        pixels, values = split[index]
        found[:, top : top + height, left : left + width], truth[top : top + height, left : left + width] = pixels, values
        assert torch.equal(split.truth(index), values)
    assert (found == image).all()
    assert (truth == labels).all()
    assert split_of(tmp_path).names == ["a"]


@pytest.mark.parametrize("strategy", [{"strategy": "whole"}, {"strategy": "stream", "band": 16, "strip": 40}, {}])
def test_the_confusion_is_that_of_one_pass(model, tmp_path, strategy):
    expected = torch.zeros(3, 3, dtype=torch.int64)
    for seed, (name, height, width) in enumerate((("a", 203, 117), ("b", 70, 131))):
        image, labels = scene(tmp_path, name, height, width, seed)
        predicted = fcn.predict(model, image.transpose(1, 2, 0), strategy="whole")
        expected += confusion_matrix(torch.from_numpy(labels), torch.from_numpy(predicted), 3)
    scores = fcn.evaluate(model, split_of(tmp_path, tile=64), workers=0, **strategy)
    assert (scores.confusion.sum(), scores.confusion.sum(1).tolist()) == (expected.sum(), expected.sum(1).tolist())
    assert (scores.confusion - expected).abs().sum() <= 1e-3 * expected.sum()


def test_pixels_without_data_are_not_scored(model, tmp_path):
    image, labels = scene(tmp_path, "a", 90, 70)
    image[:, 40:, 30:] = 0
    save(tmp_path / "images/a.tif", image, nodata=0)
    split = split_of(tmp_path, tile=50)
    labels[40:, 30:] = VOID
    assert fcn.evaluate(model, split, workers=0).confusion.sum() == (labels != VOID).sum()
    assert sum(int((split[index][1] != VOID).sum()) for index in range(len(split))) == (labels != VOID).sum()


def test_the_command_and_two_processes(model, tmp_path):
    data, words = tmp_path / "data", ["device=cpu", "workers=0", "calibration=true"]
    scene(data, "a", 203, 117)
    fcn.save(model, tmp_path / "net.pt")
    words = ["evaluate", f"checkpoint={tmp_path / 'net.pt'}", "data=scenes", f"data.root={data}", "data.tile=40", "split=val", *words]
    assert run([*words, f"output={tmp_path / 'one'}"]) == 0
    fine, told = forked(tmp_path, [*words, f"output={tmp_path / 'two'}"])
    assert fine, told
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("one", "two"))
    assert (one["protocol"]["scenes"], one["protocol"]["images"]) == (1, 18)
    assert sum(map(sum, one["confusion"])) == sum(map(sum, two["confusion"]))
    tables = [(tmp_path / name / "images.csv").read_text().splitlines() for name in ("one", "two")]
    assert [line.split(",0.")[0] for line in tables[0]] == [line.split(",0.")[0] for line in tables[1]]
    assert "1 scene, labelled as wholes and cut into 18 tiles" in (tmp_path / "one/report.html").read_text()


def test_a_training_takes_tiles_and_is_scored_by_scenes(tmp_path):
    scene(tmp_path / "data", "a", 90, 70)
    model = fcn.create_model("fcn8s", backbone="compact", classes=LABELS.names)
    split = split_of(tmp_path / "data", tile=50)
    found = fcn.train(model, split, split, epochs=1, batch_size=2, crop_size=32, output=tmp_path / "run", workers=0)
    assert 0 <= found.mean_iou <= 1


class TestLabelRasters:
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float32"])
    def test_types_of_values(self, tmp_path, dtype):
        _, labels = scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", labels[None].astype(dtype))
        assert (split_of(tmp_path).truth(0).numpy() == labels).all()

    def test_what_its_file_calls_no_data_is_void(self, tmp_path):
        _, labels = scene(tmp_path, "a", 60, 50)
        values = np.where(labels == VOID, -9999, labels.astype(np.int16))
        save(tmp_path / "masks/a.tif", values[None], nodata=-9999)
        assert (split_of(tmp_path).truth(0).numpy() == labels).all()

    def test_a_class_whose_value_is_no_data_is_told(self, tmp_path):
        _, labels = scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", labels[None], nodata=0)
        split = split_of(tmp_path)
        assert "the value 0 is no data: it is void, not ground" in split.notes[0]
        assert (split.truth(0).numpy() == np.where(labels == 0, VOID, labels)).all()

    def test_a_palette_and_colours(self, tmp_path):
        _, labels = scene(tmp_path, "a", 60, 50)
        Image.fromarray(labels).save(tmp_path / "masks/a.png")
        picture = Image.open(tmp_path / "masks/a.png").convert("P")
        picture.putpalette([value for index in range(256) for value in (index, 9, 9)])
        picture.save(tmp_path / "masks/a.png")
        (tmp_path / "masks/a.tif").unlink()
        assert (split_of(tmp_path).truth(0).numpy() == labels).all()
        (tmp_path / "masks/a.png").unlink()
        colors = np.array([[10, 20, 30], [200, 0, 0], [0, 0, 200]], np.uint8)
        labels[labels == VOID] = 0
        save(tmp_path / "masks/a.tif", colors[labels].transpose(2, 0, 1))
        (tmp_path / "classes.txt").write_text("ground #0a141e\nroad #c80000\nwater #0000c8\n")
        assert (split_of(tmp_path).truth(0).numpy() == labels).all()

    def test_more_classes_than_a_byte_holds(self, tmp_path):
        names = fcn.LabelSet(tuple(f"c{index}" for index in range(300)))
        save(tmp_path / "a.tif", np.full((3, 20, 30), 7, np.uint8))
        values = np.random.default_rng(0).integers(0, 300, (1, 20, 30)).astype(np.uint16)
        save(tmp_path / "b.tif", values)
        split = Scenes([Pair("a", str(tmp_path / "a.tif"), str(tmp_path / "b.tif"))], Masks(names))
        assert split[0][1].dtype == torch.int32
        assert (split[0][1].numpy() == values[0]).all()

    @pytest.mark.parametrize(
        ("values", "reason"),
        [
            (np.full((60, 50), 7, np.uint8), "holds the value 7"),
            (np.full((60, 50), -1, np.int16), "holds values from -1 to -1"),
            (np.full((60, 50), 0.5, np.float32), "holds fractions, as 0.5"),
        ],
    )
    def test_a_strange_value_is_one_sentence(self, tmp_path, values, reason):
        scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", values[None])
        with pytest.raises(fcn.UserError, match=reason):
            split_of(tmp_path).truth(0)

    def test_nothing_but_no_data(self, tmp_path):
        scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", np.full((1, 60, 50), -np.inf, np.float32), nodata=float("-inf"))
        split = split_of(tmp_path)
        assert (split.notes, int(split.truth(0).min())) == ((), VOID)

    def test_a_palette_of_the_classes_colours_at_other_values_is_read_by_colour(self, tmp_path):
        _, labels = scene(tmp_path, "a", 60, 50)
        (tmp_path / "classes.txt").write_text("ground #0a141e\nroad #c80000\nwater #0000c8\n")
        labels[labels == VOID] = 1
        save(tmp_path / "masks/a.tif", (2 - labels)[None])
        with rasterio.open(tmp_path / "masks/a.tif", "r+") as file:
            file.write_colormap(1, {0: (0, 0, 200), 1: (200, 0, 0), 2: (10, 20, 30)})
        split = split_of(tmp_path)
        assert (split.truth(0).numpy() == labels).all()
        assert torch.equal(split.truth(0), fcn.create_split("folder", "val", root=tmp_path).truth(0))

    def test_gray_values_three_times(self, tmp_path):
        _, labels = scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", np.repeat(labels[None], 3, 0))
        assert (split_of(tmp_path).truth(0).numpy() == labels).all()

    def test_binary_masks_of_0_and_255_are_taken_as_folder_takes_them(self, tmp_path):
        labels = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (60, 50))
        scene(tmp_path, "a", 60, 50, labels=labels)
        (tmp_path / "classes.txt").write_text("ground\nroad\n")
        split, other = split_of(tmp_path), fcn.create_split("folder", "val", root=tmp_path)
        assert "255 is taken for road" in split.notes[0]
        assert split.notes == other.notes
        assert torch.equal(split.truth(0), other.truth(0))
        save(tmp_path / "masks/a.tif", np.where(labels == 0, 1, labels)[None])
        assert split_of(tmp_path).notes == ()

    @pytest.mark.parametrize(
        ("settings", "reason"),
        [
            ({"compress": "jpeg", "blockxsize": 64, "blockysize": 64}, "compression that changes values"),
            ({"photometric": "MINISWHITE"}, "white as 0"),
        ],
    )
    def test_a_format_that_changes_values_is_refused(self, tmp_path, settings, reason):
        _, labels = scene(tmp_path, "a", 128, 128)
        save(tmp_path / "masks/a.tif", labels[None], **settings)
        with pytest.raises(fcn.UserError, match=reason):
            split_of(tmp_path)

    @pytest.mark.parametrize(("count", "dtype"), [(2, "uint8"), (3, "uint16"), (5, "uint8")])
    def test_bands_that_mean_nothing_are_refused(self, tmp_path, count, dtype):
        scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", np.zeros((count, 60, 50), dtype))
        with pytest.raises(fcn.UserError, match=f"has {count} bands; a label raster has one"):
            split_of(tmp_path)

    def test_a_zarr_by_a_list_of_two_paths(self, tmp_path):
        image, labels = scene(tmp_path, "a", 60, 50)
        zarr.open(tmp_path / "s.zarr", mode="w", shape=image.shape, chunks=(3, 40, 40), dtype="u1")[...] = image
        zarr.open(tmp_path / "t.zarr", mode="w", shape=labels.shape, chunks=(40, 40), dtype="u1")[...] = labels
        (tmp_path / "val.txt").write_text("s.zarr t.zarr\n")
        pixels, truth = split_of(tmp_path)[0]
        assert (pixels.numpy() == image).all()
        assert (truth.numpy() == labels).all()


class TestWhatDoesNotFit:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"crs": "EPSG:32632"}, r"is in WGS 84 / UTM zone 33N and .* in WGS 84 / UTM zone 32N: bring"),
            ({"transform": (0.5, 0.0, 500001.0, 0.0, -0.5, 4600000.0)}, r"does not lie where .* up to 2.0 pixels apart"),
            ({"transform": (0.51, 0.0, 500000.0, 0.0, -0.5, 4600000.0)}, r"does not lie where .* up to 1.0 pixels apart"),
        ],
    )
    def test_another_place_on_the_earth(self, tmp_path, change, reason):
        _, labels = scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", labels[None], **change)
        with pytest.raises(fcn.UserError, match=reason):
            split_of(tmp_path)

    @pytest.mark.parametrize(
        "change", [{"crs": None, "transform": None}, {"crs": "EPSG:32633", "transform": (0.5, 0, 500000.1, 0, -0.5, 4.6e6)}]
    )
    def test_a_place_that_is_near_or_unknown_is_taken(self, tmp_path, change):
        _, labels = scene(tmp_path, "a", 60, 50)
        save(tmp_path / "masks/a.tif", labels[None], **change)
        assert len(split_of(tmp_path)) == 1

    def test_another_size_and_another_kind_are_all_named(self, tmp_path):
        for name in "abc":
            scene(tmp_path, name, 60, 50)
        save(tmp_path / "masks/b.tif", np.zeros((1, 60, 51), np.uint8))
        save(tmp_path / "images/c.tif", np.zeros((4, 60, 50), np.uint16))
        with pytest.raises(fcn.UserError, match=r"b.tif has 50x60 pixels and .* has 51x60.*Also: .*c.tif has 4 channels of uint16"):
            split_of(tmp_path)

    def test_a_truncated_raster(self, tmp_path):
        scene(tmp_path, "a", 600, 500)
        path = tmp_path / "images/a.tif"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(fcn.UserError, match="is damaged or was cut off"):
            [split[index] for split in [split_of(tmp_path)] for index in range(len(split))]

    def test_drawn_annotations_are_for_folder(self, tmp_path):
        scene(tmp_path, "a", 60, 50)
        with pytest.raises(FileNotFoundError, match="there is no folder"):
            split_of(tmp_path / "nothing")


class TestMissingBlocks:
    def test_of_a_tiff(self, tmp_path):
        path = tmp_path / "a.tif"
        with rasterio.open(path, "w", driver="GTiff", count=3, height=128, width=128, dtype="uint8", tiled=True, blockxsize=64,
                           blockysize=64, SPARSE_OK=True) as file:  # fmt: skip
            file.write(np.ones((3, 64, 64), np.uint8), window=((0, 64), (0, 64)))
        with fcn.open_raster(path) as raster:
            (note,) = raster.notes()
        assert note.startswith(f"{path} does not hold 3 of its 4 blocks; they are read as one value, as 0. If they were lost")

    def test_of_a_zarr_and_of_none(self, tmp_path):
        array = zarr.open(tmp_path / "a.zarr", mode="w", shape=(3, 80, 80), chunks=(3, 40, 40), dtype="u1")
        array[:, :40] = 5
        with fcn.open_raster(tmp_path / "a.zarr") as raster:
            assert raster.missing_blocks() == (2, 4)
        array[...] = 5
        with fcn.open_raster(tmp_path / "a.zarr") as raster:
            assert raster.notes() == []
