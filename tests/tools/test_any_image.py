"""Images that are not RGB, from their files to label maps: ``fcn data``, ``train``, ``evaluate`` and ``predict``."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.core.images import ImageKind
from fcn.tools.parts import load_split
from tests.data import rasters

needs_tifffile = pytest.mark.skipif(find_spec("tifffile") is None, reason="needs tifffile")
SMALL = ["model=fcn8s", "backbone=compact", "augment.crop_size=32", "augment.scale=[1,1]", "batch_size=2", "workers=0", "device=cpu"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A set of five bands of 16 bits as GeoTIFF, and a run on it."""
    root = rasters.folder(tmp_path_factory.mktemp("set"), count=8)
    output = root / "run"
    words = [f"data.root={root}", "data.channels=5", "data.shown=[4,3,2]", f"output={output}", "optim.lr=0.004", "epochs=10"]
    assert run(["train", "data=folder", *words, *SMALL, "validate_every=10"]) == 0
    return root, output


@needs_tifffile
class TestFiveBands:
    def test_what_the_checkpoint_records(self, trained: tuple[Path, Path]) -> None:
        _, output = trained
        images = fcn.load(output / "best.pt").images
        pixels = np.concatenate([rasters.bands(index).reshape(-1, 5) for index in range(8)]).astype(float)
        assert (images.channels, images.dtype, images.shown) == (5, "uint16", (3, 2, 1))
        assert images.mean == pytest.approx(pixels.mean(0))
        assert images.std == pytest.approx(pixels.std(0))
        assert np.array(images.ranges) == pytest.approx(np.percentile(pixels, (0.5, 99.5), axis=0).T, rel=0.02)

    def test_it_learns_what_only_the_fourth_band_shows(self, trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
        root, output = trained
        assert run(["evaluate", f"checkpoint={output / 'best.pt'}", f"output={root / 'scores'}", "workers=0", "device=cpu"]) == 0
        assert json.loads((root / "scores" / "metrics.json").read_text())["miou"] > 0.6

    def test_the_stream_gives_the_labels_of_one_pass(self, trained: tuple[Path, Path]) -> None:
        import tifffile

        root, output = trained
        given = [f"checkpoint={output / 'best.pt'}", f"input={root / 'images' / 'val'}", f"output={root / 'labels'}", "device=cpu"]
        assert run(["predict", *given, "inference=whole"]) == 0
        assert len(list((root / "labels").glob("*_overlay.jpg"))) == 8
        whole = tifffile.imread(root / "labels" / "100_labels.tif")
        model = fcn.load(output / "best.pt")
        streamed = fcn.predict(model, root / "images" / "val" / "100.tif", strategy="stream", band=8)
        assert np.mean(streamed != whole) < 0.001

    @pytest.mark.slow
    def test_exact_windows_give_the_labels_of_one_pass(self, trained: tuple[Path, Path]) -> None:
        model = fcn.load(trained[1] / "best.pt")
        image = rasters.bands(7, size=(152, 400))
        exact = fcn.predict(model, image, strategy="windows", size=160, overlap="exact")
        assert np.mean(exact != fcn.predict(model, image, strategy="whole")) < 0.001

    def test_an_array_gives_what_its_file_gives(self, trained: tuple[Path, Path]) -> None:
        root, output = trained
        model = fcn.load(output / "best.pt")
        for options in ({}, {"flip": True, "scales": [0.75, 1]}):
            file = fcn.predict(model, root / "images" / "val" / "100.tif", **options)
            assert np.array_equal(file, fcn.predict(model, rasters.bands(100), **options))

    def test_images_of_another_kind_are_refused(
        self, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        _, output = trained
        model = fcn.load(output / "best.pt")
        with pytest.raises(fcn.UserError, match=r"shape \(4, 4, 5\) and type uint8, and the model takes images of 5 channels of uint16"):
            fcn.predict(model, np.zeros((4, 4, 5), np.uint8))
        with pytest.raises(TypeError, match=r"give an array \(height, width, 5\) of uint16"):
            fcn.predict(model, Image.new("RGB", (4, 4)))
        with pytest.raises(
            fcn.UserError, match="the model takes images of 5 channels of uint16, and the split has images of 3 channels of uint8"
        ):
            fcn.evaluate(model, named(fcn.create_split("shapes", "val", val_count=1), model.labels), verify="none")
        with pytest.raises(fcn.UserError, match="holds 4 channels"):
            fcn.predict(model, save(tmp_path / "a.npy", rasters.bands(0, 4)))

    def test_it_is_looked_at(self, trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        root, _ = trained
        assert run(["data", "data=folder", f"data.root={root}", "data.channels=5", f"output={tmp_path / 'look'}"]) == 0
        report = json.loads((tmp_path / "look" / "data.json").read_text())
        found = report["splits"]["train"]
        assert found["kinds"] == {"images of 5 channels of uint16": 8}
        assert report["shown"].startswith("pictures show the channels 1 from ")
        pixels = np.concatenate([rasters.bands(index).reshape(-1, 5) for index in range(8)])
        assert found["mean"] == pytest.approx(pixels.mean(0))
        assert found["range"] == list(map(list, zip(pixels.min(0).tolist(), pixels.max(0).tolist(), strict=True)))
        assert Image.open(tmp_path / "look" / "data.png").getextrema() != ((0, 0),) * 3


@pytest.mark.parametrize(("words", "message"), [(["channels=4"], "holds 5 channels"), (["shown=[1,2,3]"], "give data.channels with them")])
def test_words_that_do_not_fit_the_files(tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = rasters.folder(tmp_path, suffix=".npy")
    assert run(["data", "data=folder", f"data.root={root}", *(f"data.{word}" for word in words)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize(("channels", "dtype"), [(1, "float32"), (2, "uint8"), (3, "uint16"), (12, "float32")])
def test_every_kind_is_trained_and_used(tmp_path: Path, channels: int, dtype: str) -> None:
    root = rasters.folder(tmp_path, count=8, channels=channels, dtype=dtype, suffix=".npy")
    words = [f"data.root={root}", f"data.channels={channels}", f"output={tmp_path / 'run'}", "optim.lr=0.004", "epochs=20"]
    assert run(["train", "data=folder", *words, *SMALL]) == 0
    model = fcn.load(tmp_path / "run" / "best.pt")
    assert model.images.same_as(ImageKind(channels, dtype))  # type: ignore[arg-type]
    split = load_split({"name": "folder", "root": str(root), "channels": channels}, "val")
    assert fcn.evaluate(model, split, workers=0).mean_iou > 0.6


@pytest.mark.slow
def test_every_augmentation_trains_on_five_bands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = rasters.folder(tmp_path, suffix=".npy")
    words = ["train", "data=folder", f"data.root={root}", "data.channels=5", *SMALL, "epochs=1"]
    words += ["augment.rotation=20", "augment.focus=0.5", "augment.focus_classes=[field]", "augment.blur=1", "augment.noise=0.1"]
    words += ["augment.cutout=0.3", "loss.class_weights=auto"]
    assert run([*words, "augment.transforms=[RandomPerspective]", f"output={tmp_path / 'run'}"]) == 0
    assert fcn.load(tmp_path / "run" / "best.pt").images.channels == 5
    capsys.readouterr()
    assert run([*words, "augment.transforms=[RandomInvert]", f"output={tmp_path / 'other'}"]) == 1
    assert "'RandomInvert' in augment.transforms changes the values of images of 8 bits" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_network_of_ones_own_takes_sixteen_bits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(2, 3, 3, padding=1)
    model = fcn.wrap(network, mean=(0.1, 0.2), std=(0.3, 0.4), scale=1 / 65535, dtype="uint16", classes=["a", "b", "c"])
    image = rasters.bands(0, 2)
    values = torch.from_numpy(image.astype(np.float64) / 65535).permute(2, 0, 1).sub(torch.tensor([0.1, 0.2]).view(2, 1, 1))
    expected = network((values / torch.tensor([0.3, 0.4]).view(2, 1, 1)).float()[None])[0].argmax(0)
    assert np.array_equal(fcn.predict(model, image), expected.numpy())
    fcn.save(model, tmp_path / "a.pt")
    assert fcn.load(tmp_path / "a.pt", network=torch.nn.Conv2d(2, 3, 3, padding=1)).images == model.images


def named(split: Any, labels: fcn.LabelSet) -> Any:
    split.labels = labels
    return split


def save(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path
