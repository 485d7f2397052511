"""``fcn.localize`` beside the classifier itself, window by window, and beside what can be computed by hand."""

import numpy as np
import pytest
import timm
import torch
from torch import nn
from torch.nn import functional as F

import fcn
from fcn.core.errors import UserError
from fcn.graph import read_graph
from fcn.inference import cells, strategies
from fcn.inference.memory import pass_through
from fcn.models.compact import compact
from fcn.models.trained_classifiers import described
from fcn.tools.localize.call import completed
from fcn.tools.localize.classmaps import ClassMaps, spread, taps
from fcn.tools.localize.localizer import Localizer
from tests.tools.localize.networks import WINDOW, brightness, padded, unpadded

PLAIN = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25), "input_size": WINDOW}


def photograph(height=50, width=61):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def normalized(image):
    return (torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255 - 0.5) / 0.25


def localizer(network, **options):
    return Localizer(completed(described(network), names=None, **PLAIN), **options)


@torch.no_grad()
@pytest.mark.parametrize("stride", [None, 2, 1])
def test_without_padding_every_cell_is_the_classifier_on_its_window(stride):
    network, image = unpadded(), photograph()
    maps = fcn.localize(network, image, dense="window", output_stride=stride, **PLAIN)
    step = stride or 4
    assert maps.probabilities.shape == (5, (50 - WINDOW) // step + 1, (61 - WINDOW) // step + 1)
    for row, column in ((0, 0), (2, 5), (-1, -1)):
        top, left = (int(centres[index] - (WINDOW - 1) / 2) for centres, index in ((maps.rows, row), (maps.columns, column)))
        window = normalized(image[top : top + WINDOW, left : left + WINDOW])
        np.testing.assert_allclose(maps.probabilities[:, row, column], network(window).softmax(1)[0].numpy(), atol=1e-6)
    assert (maps.agreement.against, maps.agreement.compared, maps.agreement.equal) == ("window", 16, 1)
    assert maps.agreement.difference < 1e-5


@torch.no_grad()
def test_sliding_windows_give_the_same_maps_without_padding_and_others_with_it():
    image = torch.from_numpy(photograph()).permute(2, 0, 1)
    found = localizer(unpadded(), dense="window", output_stride=2)(image, sliding=True)
    np.testing.assert_allclose(found.maps.probabilities, found.sliding.probabilities, atol=1e-6)
    assert found.windows == found.maps.agreement.compared == found.maps.winner.size
    assert (found.maps.agreement.equal, found.maps.agreement.against) == (1, "windows")
    assert min(found.seconds.unrolled, found.seconds.sliding) > 0
    other = localizer(padded(), dense="window")(image, sliding=True)
    wrong = (other.maps.winner != other.sliding.winner).mean()
    assert other.maps.agreement.equal == pytest.approx(1 - wrong)
    assert other.maps.agreement.difference > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("stride", [None, 2])
@pytest.mark.parametrize("size", [(50, 61), (17, 90)])
def test_the_mean_of_the_cells_is_the_classifiers_result(stride, size):
    maps = fcn.localize(padded(), photograph(*size), output_stride=stride, **PLAIN)
    step = stride or 4
    assert maps.probabilities.shape[1:] == (-(-size[0] // step), -(-size[1] // step))
    assert (maps.agreement.against, maps.agreement.equal, maps.agreement.part) == ("mean", 1, None)
    assert maps.agreement.difference < 1e-5
    assert "the same first class" in str(maps.agreement)


def test_a_head_that_is_not_linear_is_told_by_the_agreement():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))
    with pytest.warns(UserWarning, match="not linear in what is pooled"):
        maps = fcn.localize(network, photograph(), **PLAIN)
    assert maps.agreement.difference > 1e-3
    assert network.training  # as it was


def test_of_a_large_image_the_middle_is_compared(monkeypatch):
    monkeypatch.setattr("fcn.tools.localize.localizer.LARGEST", 32)
    maps = fcn.localize(padded(), photograph(), output_stride=2, **PLAIN)
    assert maps.agreement.part == (32, 32)
    assert maps.agreement.difference < 1e-5
    assert "on the middle 32x32 pixels" in str(maps.agreement)


def test_a_flattened_window_has_no_single_cells_and_its_maps_are_those_of_windows(caplog):
    network, image = unpadded(flat=True), photograph()
    maps = fcn.localize(network, image, **PLAIN)
    assert "the maps are those of dense=window" in caplog.text
    np.testing.assert_array_equal(maps.probabilities, fcn.localize(network, image, dense="window", **PLAIN).probabilities)
    assert maps.agreement.difference < 1e-5


@torch.no_grad()
def test_a_stream_gives_the_scores_of_one_pass(monkeypatch):
    network = fcn.convolutionalize(compact().eval(), dense="window", input_size=32)
    image = torch.from_numpy(photograph(150, 97)).permute(2, 0, 1)
    found = pass_through(read_graph(network, (64, 64)))
    read = lambda images: images.float() / 255  # noqa: E731
    expected = cells.scores_of_cells(network, image, read, found)
    torch.testing.assert_close(expected, network(read(image[None]))[0])
    for module, limit in ((cells, "SMALL"), (strategies, "SMALL_OF_MANY")):  # the network is a light one
        monkeypatch.setattr(module, limit, 0)
    monkeypatch.setattr(cells, "whole", None)  # nobody calls it
    torch.testing.assert_close(cells.scores_of_cells(network, image, read, found), expected, rtol=1e-4, atol=1e-5)


def test_heat_lies_where_its_cause_is():
    image = np.zeros((60, 80, 3), np.uint8)
    image[20:28, 40:52] = 255
    for scales in ([1.0], [0.5, 1.0, 2.0]):
        maps = fcn.localize(brightness(), image, scales=scales, **PLAIN)
        heat = maps.heat(1)
        assert heat.shape == (60, 80)
        rows, columns = np.nonzero(heat > 0.5)
        assert abs(rows.mean() - 23.5) < 1
        assert abs(columns.mean() - 45.5) < 1
        assert maps.winner[np.abs(maps.rows - 23.5).argmin(), np.abs(maps.columns - 45.5).argmin()] == 1
        np.testing.assert_allclose(maps.probabilities.sum(0), 1, atol=1e-5)
    assert maps.top(2) == [0, 1]
    assert maps.names == ("class 0", "class 1")


def test_cells_are_spread_as_torch_interpolates():
    values = np.random.default_rng(1).random((5, 7), dtype=np.float32)
    rows, columns = ((np.arange(count) + 0.5) * 8 - 0.5 for count in values.shape)
    for target in ((40, 56), (20, 28), (17, 90)):
        expected = F.interpolate(torch.from_numpy(values)[None, None], size=target, mode="bilinear", align_corners=False)[0, 0]
        np.testing.assert_allclose(spread(values, rows, columns, (40, 56), target), expected.numpy(), atol=1e-5)
    np.testing.assert_array_equal(taps(np.array([3.0]), np.array([0.0, 9.0])), [[1], [1]])


def test_winner_margin_and_names():
    probabilities = np.random.default_rng(2).dirichlet(np.ones(4), (3, 5)).transpose(2, 0, 1).astype(np.float32)
    maps = ClassMaps(probabilities, ("crane", "a, b", "Crane", "crane"), np.arange(3.0), np.arange(5.0), (3, 5), None)
    ordered = np.sort(probabilities, 0)
    np.testing.assert_allclose(maps.margin, ordered[-1] - ordered[-2])
    np.testing.assert_array_equal(maps.winner, probabilities.argmax(0))
    assert maps.top(4) == np.argsort(-probabilities.mean((1, 2))).tolist()
    assert [maps.index(name) for name in ("b", "Crane", "A, B", "2", 3)] == [1, 2, 1, 2, 3]
    with pytest.raises(fcn.UserError, match="'crane' is the name of the classes 0, 3; give a number"):
        maps.index("crane")
    with pytest.raises(fcn.UserError, match="there is no class 'crate'; did you mean"):
        maps.index("crate")
    with pytest.raises(fcn.UserError, match="there is no class 4; the classes are 0 to 3"):
        maps.index("4")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dense": "row"}, "dense=row is not known; allowed: pixel, window"),
        ({"scales": []}, "scales=.* is not allowed; scales is a list"),
        ({"scales": [0.0]}, "scales=.* is not allowed"),
        ({"output_stride": 3}, "output_stride=3 is not possible: the network has stride 4, and can have 1, 2, 4"),
        ({"mean": None}, "mean and std belong together; give both"),
        ({"mean": None, "std": None}, "Sequential does not say how its images are normalised; give mean and std"),
        ({"names": ["a", "b"]}, "2 names are given and the classifier has 5 classes"),
        ({"weights": "imagenet"}, "weights='imagenet' is for a classifier by name"),
        ({"dense": "window", "scales": [0.25]}, "the image has 15x12 pixels at the scale 0.25, and the classifier's window 24x24"),
    ],
)
def test_what_cannot_be_is_told(given, message):
    with pytest.raises(fcn.UserError, match=message):
        fcn.localize(padded(), photograph(), **PLAIN | given)


def test_other_things_than_classifiers_are_refused():
    with pytest.raises(TypeError, match="the classifier is an int; give a module, or a name"):
        fcn.localize(3, photograph())
    with pytest.raises(fcn.UserError, match="classifier='compact' starts with random weights, which see nothing"):
        fcn.localize("compact", photograph())
    with pytest.raises(fcn.NotConvertible, match="VisionTransformer"):
        fcn.localize(timm.create_model("test_vit"), photograph(160, 160))
    gray = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
    with pytest.raises(fcn.UserError, match="takes images of 1 channels, and photographs have 3"):
        fcn.localize(gray, photograph(), **PLAIN)


def test_maps_that_do_not_fit_into_memory_are_refused_before_anything_runs():
    image = torch.zeros(1, dtype=torch.uint8).expand(3, 2**20, 2**20)
    with pytest.raises(fcn.UserError, match=r"68,719,476,736 cells of 5 classes need 3840\.0 GiB .* give a larger output_stride"):
        localizer(padded())(image)


def test_names_that_are_numbers_are_names_first():
    maps = ClassMaps(np.zeros((12, 1, 1), np.float32), tuple(sorted(map(str, range(12)))), np.zeros(1), np.zeros(1), (1, 1), None)
    assert [maps.index(name) for name in ("10", "2", 10, np.int64(3))] == [2, 4, 10, 3]
    with pytest.raises(UserError, match="there is no class 12; the classes are 0 to 11"):
        maps.index("12")


@pytest.mark.parametrize(
    ("ending", "reason"), [(nn.Linear(8, 1), "gives one score"), (nn.Sequential(nn.Linear(8, 5), nn.Softmax(1)), "ends in a softmax")]
)
def test_scores_that_maps_cannot_be_made_of(ending, reason):
    network = padded()
    network[-1] = ending
    with pytest.raises(UserError, match=reason):
        fcn.localize(network.eval(), photograph(), **PLAIN)
