"""Labels of rasters, read band by band: those of one pass over the image, at odd sizes, in bands, strips and parts."""

import numpy as np
import pytest
import torch
from PIL import Image

import fcn
from fcn.core.labels import VOID
from fcn.inference.blocks import label_blocks
from fcn.inference.stream.run import Run
from fcn.rasters.raster import Raster
from tests.inference.stream.compare import lively


class Array(Raster):
    """A raster in memory that notes what is read."""

    def __init__(self, pixels, block, nodata=None):
        self.name, self.pixels, self.block, self.nodata = "array", pixels, block, nodata
        self.channels, self.height, self.width = pixels.shape
        self.dtype, self.asked = str(pixels.dtype).removeprefix("torch."), []

    def read(self, top, left, height, width):
        self.asked.append((top, left, height, width))
        return self.pixels[:, top : top + height, left : left + width].clone()

    def close(self):
        pass


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return lively(fcn.create_model("fcn8s", backbone="compact", upsample="bilinear", num_classes=5)).float()


def noise(*shape):
    return torch.randint(1, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def put_together(blocks, height, width):
    """The label map of the blocks; each pixel is given once."""
    labels = np.full((height, width), 99, np.uint8)
    for block in blocks:
        goal = labels[block.top : block.top + block.labels.shape[0], block.left : block.left + block.labels.shape[1]]
        assert (goal == 99).all()
        goal[...] = block.labels
    return labels


SETTINGS = [{"band": 16}, {"band": 7, "strip": 40}, {}]


@pytest.mark.parametrize(("height", "width"), [(203, 117), (64, 1), (1, 90)])
@pytest.mark.parametrize("block", [(1, 1000), (32, 48), (1000, 1000)])
def test_labels_are_those_of_one_pass(model, height, width, block):
    image = noise(3, height, width)
    expected = fcn.predict(model, image.permute(1, 2, 0).numpy(), strategy="whole")
    raster = Array(image, (min(block[0], height), min(block[1], width)))
    for strategy in ("whole", "auto"):
        assert (fcn.predict(model, raster, strategy=strategy) == expected).all()
    for settings in SETTINGS:
        labels = put_together(label_blocks(model, raster, strategy="stream", **settings), height, width)
        assert (labels == expected).mean() > 0.9995, settings


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("rows", [(0, 1), (0, 60), (59, 140), (202, 203), (150, 203)])
def test_some_rows_alone_are_those_of_the_whole_run(model, settings, rows):
    image = noise(3, 203, 117)
    raster = Array(image, (8, 117))
    expected = put_together(label_blocks(model, raster, strategy="stream", **settings), 203, 117)
    first, end = rows
    labels = put_together(label_blocks(model, raster, strategy="stream", first_row=first, end_row=end, **settings), 203, 117)
    assert (labels[first:end] == expected[first:end]).mean() > 0.9995
    assert (labels[:first] == 99).all()
    assert (labels[end:] == 99).all()


@pytest.mark.parametrize("network", ["deeplabv3plus", "lraspp"])
def test_what_needs_all_of_the_image_is_gathered_from_all_of_it(network):
    torch.manual_seed(0)
    model = lively(fcn.create_model(network, backbone="mobilenet_v3_small" if network == "lraspp" else "resnet18", num_classes=5)).float()
    image = noise(3, 97, 75)
    expected = fcn.predict(model, image.permute(1, 2, 0).numpy(), strategy="whole")
    found = put_together(label_blocks(model, Array(image, (16, 16)), strategy="stream", first_row=30, end_row=60, band=16), 97, 75)
    assert (found[30:60] == expected[30:60]).mean() > 0.9995


def test_no_data_is_void_and_what_sees_none_is_not_computed(model, monkeypatch):
    image = noise(3, 1400, 90)
    image[:, :300] = image[:, 340:1100] = image[:, 1130:] = 0
    image[:, :, :20] = 0
    raster = Array(image, (16, 90), (0.0, 0.0, 0.0))
    missing = (image == 0).all(0)
    filled = torch.where(missing, (255 * model.mean).round().byte()[0], image)
    expected = fcn.predict(model, filled.permute(1, 2, 0).numpy(), strategy="whole")
    expected[missing.numpy()] = VOID
    assert (fcn.predict(model, raster, strategy="whole") == expected).all()
    rows, compute = [], Run._compute

    def noted(self, instruction, step, first, end, source):
        if not instruction.reads:
            rows.extend(range(first, end))
        compute(self, instruction, step, first, end, source)

    monkeypatch.setattr(Run, "_compute", noted)
    for settings in SETTINGS:
        rows.clear()
        labels = put_together(label_blocks(model, raster, strategy="stream", **settings), 1400, 90)
        assert (labels == expected).mean() > 0.9995
        strips = -(-90 // settings.get("strip", 90))
        assert len(rows) < 0.4 * 1400 * strips or "band" not in settings  # by default all of it is one band
        assert len(set(rows)) == len(rows) or strips > 1


def test_where_memory_runs_out_it_goes_on_from_the_same_row(model, monkeypatch):
    image, calls, compute = noise(3, 203, 117), [], Run._compute
    expected = put_together(label_blocks(model, Array(image, (8, 117)), strategy="stream", band=32), 203, 117)

    def failing(self, instruction, step, first, end, source):
        calls.append(first)
        if len(calls) == 90:
            raise MemoryError
        compute(self, instruction, step, first, end, source)

    monkeypatch.setattr(Run, "_compute", failing)
    labels = put_together(label_blocks(model, Array(image, (8, 117)), strategy="stream", band=32), 203, 117)
    assert len(calls) > 136
    assert (labels == expected).mean() > 0.9995


def test_confidence_and_views(model):
    image = noise(3, 70, 90)
    image[:, 30:40] = 0
    raster = Array(image, (16, 32), (0.0, 0.0, 0.0))
    labels, sure = fcn.predict(model, raster, strategy="stream", confidence=True, flip=True)
    blocks = list(label_blocks(model, raster, strategy="stream", confidence=True, flip=True, first_row=20, end_row=50))
    assert (labels[30:40] == VOID).all()
    assert (sure[30:40] == 0).all()
    assert (torch.cat([block.labels for block in blocks]).numpy() == labels[20:50]).all()
    assert (torch.cat([block.confidence for block in blocks]).numpy() == sure[20:50]).all()
    assert (blocks[0].top, blocks[0].left) == (20, 0)


def test_the_rows_that_are_kept_count_as_memory(model):
    raster = Array(noise(3, 600, 700), (600, 700))  # one block
    with pytest.raises(fcn.UserError, match=r"needs 0.0\d GiB for an image 700 pixels wide and may take 0.00 GiB"):
        fcn.predict(model, raster, strategy="stream", memory=0.002)


def test_another_kind_of_image_is_refused_with_what_to_do(model):
    with pytest.raises(fcn.UserError, match=r"array has 5 channels of uint8, and the model takes .*3 channels.*bands=\[1, 2, 3\]"):
        fcn.predict(model, Array(noise(5, 20, 20), (20, 20)))
    with pytest.raises(fcn.UserError, match=r"array has 1 channel of uint8, .*bands=\[1, 1, 1\]"):
        fcn.predict(model, Array(noise(1, 20, 20), (20, 20)))
    with pytest.raises(fcn.UserError, match=r"array has 3 channels of float32, .*save it as that type"):
        fcn.predict(model, Array(noise(3, 20, 20).float(), (20, 20)))
    with pytest.raises(fcn.UserError, match=r"rows 5 to 30 are asked for, and array has 20"):
        list(label_blocks(model, Array(noise(3, 20, 20), (20, 20)), first_row=5, end_row=30))


def test_the_image_itself_is_not_written_over(model, tmp_path):
    path = tmp_path / "own.png"
    Image.fromarray(noise(40, 30, 3).numpy()).save(path)
    before = path.read_bytes()
    with pytest.raises(fcn.UserError, match=r"out=.*own.png is the image itself"):
        fcn.predict(model, path, out=path)
    (tmp_path / "own.png").rename(tmp_path / "a_confidence.png")
    with pytest.raises(fcn.UserError, match="is the image itself"):
        fcn.predict(model, tmp_path / "a_confidence.png", out=tmp_path / "a.png", confidence=True)
    assert (tmp_path / "a_confidence.png").read_bytes() == before
