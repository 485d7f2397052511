"""``auto``: what it takes for a memory, and what it does where that runs out all the same."""

import logging

import pytest
import torch

from fcn.core.errors import NotStreamable
from fcn.inference import strategies
from fcn.inference.memory import pass_bytes
from fcn.inference.strategies import create_strategy, largest_windows
from fcn.inference.stream import strategy
from fcn.inference.stream.run import Run
from fcn.models.segmenter import Segmenter, create_model
from tests.inference.stream.compare import lively

GIB = 2**30


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return lively(create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=11))


@pytest.fixture(scope="module")
def image():
    return torch.randint(0, 256, (3, 512, 200), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


@pytest.fixture(scope="module")
def labels(model, image):
    return create_strategy("whole")(model, image)


@pytest.fixture
def taken(monkeypatch):
    """The strategies that auto calls, in their order."""
    names = []
    for name in ("one_pass", "stream", "windows"):
        call = getattr(strategies, name)
        monkeypatch.setattr(strategies, name, lambda *a, _name=name, _call=call, **k: names.append(_name) or _call(*a, **k))
    return names


@pytest.fixture
def scarce(monkeypatch):
    """No memory for a pass over all of the image."""
    scores = Segmenter.scores

    def fails(self, images):
        if torch.is_inference_mode_enabled() and images.shape[-2] == 512:
            raise torch.OutOfMemoryError("out of memory")
        return scores(self, images)

    monkeypatch.setattr(Segmenter, "scores", fails)


@pytest.mark.parametrize(
    ("share", "expected"), [(None, ["one_pass"]), pytest.param(1.1, ["one_pass"], marks=pytest.mark.slow), (0.9, ["stream"])]
)
def test_one_pass_where_it_fits_and_else_bands(model, image, labels, taken, share, expected):
    memory = None if share is None else share * pass_bytes(model, 512, 200) / GIB
    assert torch.equal(create_strategy("auto", memory=memory)(model, image), labels)
    assert taken == expected


def test_a_large_image_is_streamed_where_that_takes_one_pass(model, image, labels, taken, monkeypatch):
    """Which is faster on a CPU; a network that needs statistics over the image first is run in one pass, as is one that is refused."""
    monkeypatch.setattr(strategies, "SMALL", image[0].numel())
    assert torch.equal(create_strategy("auto")(model, image), labels)
    assert taken == ["stream"]
    create_strategy("auto")(create_model("deeplabv3", backbone="resnet18", num_classes=3).eval(), image)
    assert taken == ["stream", "one_pass"]

    def refused(*given, **options):
        raise NotStreamable("not in bands")

    monkeypatch.setattr(strategies, "stream", refused)
    assert torch.equal(create_strategy("auto")(model, image), labels)
    assert taken == ["stream", "one_pass", "one_pass"]


@pytest.mark.parametrize(
    ("backbone", "expected"), [pytest.param("mobilenet_v2", "stream", marks=pytest.mark.slow), ("resnet18", "one_pass")]
)
def test_two_passes_are_faster_where_a_network_computes_little_for_each_byte(backbone, expected, image, taken, monkeypatch):
    monkeypatch.setattr(strategies, "SMALL", 1)
    monkeypatch.setattr(strategies, "LARGE", image[0].numel())
    network = create_model("deeplabv3plus", backbone=backbone, num_classes=3).eval()
    create_strategy("auto")(network, image[:, :, :64])
    create_strategy("auto")(network, image)
    assert taken == ["one_pass", expected]


@pytest.mark.slow
def test_views_share_the_memory(model, image, taken):
    """What is enough for one pass is not for two, and two views are as many."""
    memory = 1.5 * pass_bytes(model, 512, 200) / GIB
    found = create_strategy("auto", memory=memory, flip=True)(model, image)
    assert taken == ["stream", "stream"]
    assert (found == create_strategy("whole", flip=True)(model, image)).float().mean() > 0.9999


def test_windows_where_nothing_else_fits_and_a_warning_that_they_are_approximate(model, image, taken, caplog):
    with caplog.at_level(logging.WARNING):
        found = create_strategy("auto", memory=1e-4)(model, image)
    assert taken == ["stream", "windows"]
    assert "labels are approximate, by windows of 128 pixels a side that overlap (strategy='stream' needs" in caplog.text
    assert torch.equal(found, create_strategy("windows", size=128)(model, image))


@pytest.mark.slow
def test_passes_that_are_not_allowed_lead_to_windows(image, taken, caplog):
    model = create_model("deeplabv3", backbone="resnet18", num_classes=3).eval()
    memory = 0.9 * pass_bytes(model, 512, 200) / GIB
    with caplog.at_level(logging.WARNING):
        create_strategy("auto", memory=memory, passes=1)(model, image)
        create_strategy("auto", memory=memory, passes=2)(model, image)
    assert taken == ["stream", "windows", "stream"]
    assert caplog.text.count("labels are approximate") == 1
    assert "takes 2 passes over the image" in caplog.text


@pytest.mark.parametrize("memory", [None, 8])
def test_memory_that_runs_out_in_one_pass_leads_to_bands(model, image, labels, taken, scarce, caplog, memory):
    with caplog.at_level(logging.WARNING):
        found = create_strategy("auto", memory=memory)(model, image)
    assert taken == ["one_pass", "stream"]
    assert "memory ran out in one pass over 200x512 pixels" in caplog.text
    assert torch.equal(found, labels)


def test_memory_that_runs_out_in_bands_too_halves_them(model, image, labels, scarce, monkeypatch, caplog):
    compute = Run._compute

    def fails(self, operation, step, first, end, read):
        if first > 0 and end - first > 40:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        return compute(self, operation, step, first, end, read)

    monkeypatch.setattr(Run, "_compute", fails)
    monkeypatch.setitem(strategy.BAND, "cpu", 64 * 200)
    with caplog.at_level(logging.WARNING):
        found = create_strategy("auto")(model, image)
    assert "memory ran out with bands of 64 rows; going on with 32" in caplog.text
    assert torch.equal(found, labels)


def test_another_error_of_a_pass_is_raised(model, image, monkeypatch):
    def broken(self, images):
        raise RuntimeError("a bug")

    monkeypatch.setattr(Segmenter, "scores", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        create_strategy("auto")(model, image)


def test_a_network_that_refuses_the_image_is_heard(model, image, monkeypatch):
    def refuses(self, images):
        raise ValueError("sides of a multiple of 96 only")

    monkeypatch.setattr(Segmenter, "scores", refuses)
    with pytest.raises(ValueError, match="sides of a multiple of 96 only"):
        create_strategy("auto")(model, image)


@pytest.mark.parametrize("name", ["auto", "stream"])
@pytest.mark.parametrize(("option", "value"), [("memory", 0), ("memory", -1.0), ("passes", 0)])
def test_settings_out_of_range_are_no_reason_for_windows(model, image, name, option, value):
    with pytest.raises(ValueError, match=f"{option}={value} is not allowed; {option} is "):
        create_strategy(name, **{option: value})(model, image)


@pytest.mark.slow
def test_windows_are_as_large_as_the_memory_allows(model, monkeypatch):
    needed = pass_bytes(model, 256, 256)
    assert largest_windows(model, needed) == (256, 1)
    assert largest_windows(model, needed - 1) == (224, 1)
    assert largest_windows(model, pass_bytes(model, 512, 512) * 3) == (512, 3)
    assert largest_windows(model, 10**15) == (512, 8)
    assert largest_windows(model, 1) == (128, 1)

    monkeypatch.setattr(strategies, "pass_bytes", lambda *_: None)
    assert largest_windows(model, 1) == (512, 1)


def test_a_network_from_elsewhere_is_for_windows():
    with pytest.raises(ValueError, match="takes a network of this toolkit, and function is none; use strategy='windows'"):
        create_strategy("auto")(lambda x: x, torch.zeros(3, 20, 20, dtype=torch.uint8))
