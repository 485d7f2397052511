"""The strategy: what it chooses for a memory, what it does when that runs out, what it says."""

import copy
import json
import logging
from pathlib import Path

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor

import fcn
from fcn.cli.main import run
from fcn.data.sets import create_split
from fcn.inference.scores import Scores, Strips
from fcn.inference.strategies import create_strategy
from fcn.inference.stream import prepare, strategy, stream
from fcn.inference.stream.run import Run
from fcn.models.segmenter import create_model
from fcn.training.devices import create_accelerator
from fcn.training.evaluate import score_split
from tests.inference.stream.compare import lively

CAMVID = Path(__file__).parents[4] / "shared" / "data" / "camvid"


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return lively(create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=11)).float()


def picture(height, width):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def whole(model, image):
    return create_strategy("whole")(model, image)


def margin(model, image):
    with torch.inference_mode():
        logits = model(model.normalize(image[None]))[0]
    first, second = logits.topk(2, 0).values
    return (first - second) / (logits.max() - logits.min())


def test_less_memory_makes_lower_bands_then_strips_then_a_refusal(model):
    image = picture(40, 3000)
    labels = create_strategy("stream", memory=0.5)(model, image)
    lowest = min(prepare(model, 40, 3000).bytes(rows) for rows in (strategy.LOWEST, 8, 16, 32, 43)) / 2**30
    assert isinstance(stream(model, image, memory=lowest * 1.05), Scores)
    assert isinstance(stream(model, image, memory=lowest * 0.95), Strips)
    equal = create_strategy("stream", memory=lowest * 0.95)(model, image) == labels
    assert (equal | (margin(model, image) < 1e-4)).all()
    with pytest.raises(ValueError, match=r"needs 0.\d+ GiB for an image 3000 pixels wide and may take 0.00 GiB; give a larger"):
        create_strategy("stream", memory=1e-4)(model, image)


def test_views_share_the_memory_in_lower_bands_and_not_in_strips(model, monkeypatch):
    """The image, mirrored, and both at 1.3 times the size: equal to the same in one pass each, in less memory."""
    image, options, taken = picture(100, 600), {"flip": True, "scales": [1.0, 1.3]}, []
    fitting = strategy.fitting
    monkeypatch.setattr(strategy, "fitting", lambda *a: taken.append(fitting(*a)) or taken[-1])
    lowest = prepare(model, 130, 780).bytes(1) / 2**30
    assert isinstance(stream(model, picture(130, 780), memory=1.02 * lowest), Strips)
    taken.clear()
    labels = create_strategy("stream", memory=4 * 1.02 * lowest, **options)(model, image)
    expected = create_strategy("whole", **options)(model, image)
    assert [count for _, count in taken] == [1] * 4
    assert taken[2][0] < strategy.LOWEST
    assert (labels == expected).float().mean() > 0.9999
    with pytest.raises(ValueError, match=r"a part of the memory for each of 4 views; give a larger memory, leave out flip or"):
        create_strategy("stream", memory=3.9 * lowest, **options)(model, image)
    with pytest.raises(ValueError, match=r"strip=40 does not go with flip and scales"):
        create_strategy("stream", strip=40, flip=True)(model, image)


def test_the_price_of_strips_is_counted_and_told(caplog):
    """Of two layers of 3x3, the first is computed one column further on each side of a cut."""
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1))
    model = fcn.wrap(network, mean=0.5, std=0.25, classes=["a", "b", "c"]).eval()
    prepared = prepare(model, 20, 60)
    assert prepared.price_of([(0, 60)]) == 1
    assert prepared.price_of([(0, 30), (30, 60)]) == pytest.approx(1 + 2 / (2 * 60))
    assert prepared.price_of([(0, 20), (20, 40), (40, 60)]) == pytest.approx(1 + 4 / (2 * 60))
    with caplog.at_level(logging.INFO):
        create_strategy("stream", strip=20)(model, picture(20, 60))
    assert "3 strips of columns, which costs 6.7 % more multiply-adds" in caplog.text


def test_band_and_strip_keep_to_the_memory_that_is_given(model):
    image = picture(64, 100)
    stream(model, image, band=20, strip=30, memory=0.5)
    with pytest.raises(ValueError, match=r"needs 0.\d+ GiB for an image 100 pixels wide and may take 0.00 GiB; give a larger"):
        stream(model, image, band=20, strip=30, memory=1e-4)


@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_the_layout_is_that_of_the_weights(model, monkeypatch, order):
    network, image, seen, convolution = copy.deepcopy(model).to(memory_format=order), picture(64, 100), [], nn.functional.conv2d

    def noted(x, weight, *rest):
        if not isinstance(x, FakeTensor):  # which has no numbers, and only tells whether the network has changed
            seen.append((x.stride(1) == 1, weight.shape[-1] == 1 or weight.stride(1) == 1))
        return convolution(x, weight, *rest)

    expected = whole(network, image)
    prepare(network, 64, 100)
    monkeypatch.setattr("torch.nn.functional.conv2d", noted)
    labels = create_strategy("stream", band=20)(network, image)
    last = order == torch.channels_last
    assert len(seen) > 40
    assert all(x == last and kernel in (last, True) for x, kernel in seen)
    assert ((labels == expected) | (margin(network, image) < 1e-4)).all()


def test_confidence_in_strips(model):
    image = picture(64, 100)
    one, other = torch.zeros(64, 100, dtype=torch.uint8), torch.zeros(64, 100, dtype=torch.uint8)
    create_strategy("whole")(model, image, confidence=one)
    create_strategy("stream", strip=30, band=20)(model, image, confidence=other)
    assert (one.int() - other.int()).abs().max() <= 1


def test_the_estimate_of_a_run_grows_with_band_and_width(model):
    low, high = (prepare(model, 256, 2048).bytes(band) for band in (32, 64))
    assert low < high < 2.2 * low
    assert 1.6 * low < prepare(model, 256, 4096).bytes(32) <= 2 * low  # but for the weights that a convolution copies
    assert prepare(model, 512, 2048).bytes(32) == pytest.approx(low, rel=0.05)  # not with the height
    wide, halves = prepare(model, 256, 4096), [(0, 290), (222, 512)]
    assert 0.5 < wide.bytes(32, halves) / wide.bytes(32) < 0.75  # with half a field of 435 pixels beyond the cut


def test_when_memory_runs_out_it_goes_on_with_half_the_band(model, monkeypatch, caplog):
    """From the row where it was: no row is given twice, none is left out."""
    image, compute, calls = picture(200, 60), Run._compute, []

    def scarce(self, operation, step, first, end, read):
        calls.append(operation.name)
        if end - first > 24 and len(calls) > 70:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return compute(self, operation, step, first, end, read)

    monkeypatch.setattr(Run, "_compute", scarce)
    with caplog.at_level(logging.WARNING):
        labels = create_strategy("stream", band=64)(model, image)
    assert "memory ran out with bands of 64 rows; going on with 32" in caplog.text
    monkeypatch.undo()
    assert ((labels == whole(model, image)) | (margin(model, image) < 1e-4)).all()


def test_another_error_is_not_taken_for_a_lack_of_memory(model, monkeypatch):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Run, "_compute", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        create_strategy("stream")(model, picture(40, 40))


def test_autocast_computes_convolutions_in_its_type(model):
    image = picture(64, 80)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        labels = create_strategy("stream", band=20)(model, image)
        expected = whole(model, image)
    assert (labels == expected).float().mean() > 0.9
    float32 = create_strategy("stream", band=20)(model, image)  # the program of the other type is not taken
    assert ((float32 == whole(model, image)) | (margin(model, image) < 1e-4)).all()


@pytest.mark.parametrize("wrong", ["band=0", "passes=0", "memory=0"])
def test_settings_out_of_range(wrong, capsys):
    assert run(["evaluate", "checkpoint=none.pt", "inference=stream", f"inference.{wrong}"]) == 2
    assert f"inference.{wrong.replace('memory=0', 'memory=0.0')} is not allowed" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_scores_alike(tiny_run, tmp_path):
    """The same confusion matrix by bands as in one pass; labels may differ where two classes are as good as equal."""
    found = {}
    for words in (["whole"], ["stream", "inference.band=16"]):
        folder = tmp_path / words[0]
        assert (
            run(["evaluate", f"checkpoint={tiny_run}/best.pt", f"output={folder}", "device=cpu", *[f"inference={words[0]}"], *words[1:]])
            == 0
        )
        found[words[0]] = torch.tensor(json.loads((folder / "metrics.json").read_text())["confusion"])
    assert found["whole"].sum() == found["stream"].sum()
    assert (found["whole"] - found["stream"]).abs().sum() <= 2e-4 * found["whole"].sum()


@pytest.mark.skipif(not CAMVID.is_dir(), reason="needs CamVid in ../shared/data/camvid")
def test_photographs_are_scored_alike(model):
    """CamVid: the confusion matrices differ by no more than the pixels at which two classes are as good as equal."""
    split = create_split("camvid", "val", root=str(CAMVID))
    split.pairs, split.names = split.pairs[:3], split.names[:3]
    accelerator = create_accelerator("cpu", "fp32")
    one = score_split(model, split, create_strategy("whole"), accelerator, workers=0)
    other = score_split(model, split, create_strategy("stream", band=96), accelerator, workers=0)
    close = sum(int((margin(model, split[index][0]) < 1e-4).sum()) for index in range(len(split)))
    assert one.sum() == other.sum() > 0
    assert (one - other).abs().sum() <= 2 * close
    assert close < 1e-3 * one.sum()
