"""Test-time augmentation against its definition, written out on whole images."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fcn.inference import labelmap
from fcn.inference.augment import Mirrored, Resized, augmented
from fcn.inference.scores import Reader, Scores, label
from fcn.inference.strategies import create_strategy, whole
from fcn.inference.windows import windows
from fcn.models.segmenter import create_model


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    network = create_model("fcn8s", backbone="mobilenet_v3_small", upsample="bilinear", num_classes=5).eval()
    for score in network.decoder.scores:
        nn.init.normal_(score.weight)
    return network


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def probabilities(scores, height, width):
    reader = Reader(scores, height, width)
    return torch.cat([reader.values(first, last) for first, last in reader.bands()], 1)


@pytest.mark.parametrize("size", [(20, 33), (41, 66), (57, 91), (160, 200), (1, 1), (57, 200)])
def test_a_resized_image_is_torchs(size):
    image = picture(57, 91)
    resized = Resized(image, *size)
    expected = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0]
    pieces = torch.cat([resized[:, first : first + 7] for first in range(0, size[0], 7)], 1)
    assert pieces.dtype == torch.uint8
    assert pieces.shape == resized.shape
    assert (pieces - expected).abs().max() <= 0.51
    assert torch.equal(resized[:, :], pieces)


def test_a_constant_image_stays_constant():
    image = torch.full((3, 40, 50), 93, dtype=torch.uint8)
    for size in ((13, 17), (97, 60)):
        assert (Resized(image, *size)[:, :] == 93).all()


def test_one_scale_of_one_is_the_strategy_itself(model):
    image = picture(50, 70)
    scores = augmented(lambda view: whole(model, view), image, scales=[1.0])
    assert scores.cell == model.cell(50, 70)
    assert not scores.probabilities


@pytest.mark.parametrize("work", [2**19, 50])
def test_against_the_mean_written_out(model, work, monkeypatch):
    monkeypatch.setattr(labelmap, "WORK", work)
    image, scales = picture(50, 75), [0.5, 1.0, 1.3]
    total = 0
    with torch.no_grad():
        for scale in scales:
            size = round(50 * scale), round(75 * scale)
            view = image if scale == 1 else Resized(image, *size)[:, :]
            for turn in (False, True):
                logits = model.scores(model.normalize((view.flip(-1) if turn else view)[None]))
                factor = tuple(full * model.stride / seen for full, seen in zip((50, 75), size, strict=True))
                grid = F.interpolate(logits, scale_factor=factor, mode="bilinear", recompute_scale_factor=False)[..., :50, :75]
                total = total + (grid.softmax(1).flip(-1) if turn else grid.softmax(1))[0]
    scores = augmented(lambda view: whole(model, view), image, flip=True, scales=scales)
    assert scores.probabilities
    torch.testing.assert_close(probabilities(scores, 50, 75), total / 6, rtol=0, atol=1e-6)


def test_a_network_that_does_not_tell_left_from_right_gains_nothing_from_mirroring():
    """A width of whole cells and a symmetric kernel: its probabilities of both views are the same."""
    kernel = torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kernel = (kernel + kernel.flip(-1)) / 100

    def compute(view):
        return Scores((4, 4), iter([F.conv2d(view[:, :][None].double(), kernel, stride=4, padding=2)[0, :, :, :12]]))

    def symmetric(view):  # averaged over cells, so that the grid lies the same from both sides
        full = F.conv2d(view[:, :][None].double(), kernel, padding=2)
        return Scores((4, 4), iter([F.avg_pool2d(full, 4)[0]]))

    image = picture(40, 48)
    expected = probabilities(symmetric(image), 40, 48).softmax(0)
    torch.testing.assert_close(probabilities(augmented(symmetric, image, flip=True), 40, 48), expected)
    shifted = probabilities(augmented(compute, image, flip=True), 40, 48)
    assert not torch.allclose(shifted, probabilities(compute(image), 40, 48).softmax(0), atol=1e-3)  # a grid that does not


def test_a_constant_score_map_stays_constant():
    score = torch.tensor([0.3, 2.0, -1.0], dtype=torch.float64)

    def compute(view):
        return Scores((8, 8), iter([score[:, None, None].expand(3, -(-view.shape[1] // 8), -(-view.shape[2] // 8))]))

    mean = probabilities(augmented(compute, picture(37, 61), flip=True, scales=[0.4, 1, 1.7]), 37, 61)
    torch.testing.assert_close(mean, score.softmax(0)[:, None, None].expand(3, 37, 61))


def test_windows_and_whole_agree_where_one_window_is_the_image(model):
    image = picture(60, 90)
    options = {"flip": True, "scales": [0.5, 1.0]}
    ours = [
        probabilities(augmented(compute, image, **options), 60, 90)
        for compute in (lambda view: whole(model, view), lambda view: windows(model, view, size=100))
    ]
    inner = (slice(None), slice(8, 48), slice(8, 80))  # up-sampled twice or at once: the same but at the borders of the half-size view
    assert (ours[0] - ours[1])[inner].abs().mean() < 0.02


@pytest.mark.parametrize("name", ["whole", "windows"])
@pytest.mark.parametrize("size", [(1, 1), (2, 90), (37, 64)])
def test_every_strategy_takes_it_at_any_size(model, name, size):
    options = {"size": 32} if name == "windows" else {}
    sure = torch.zeros(size, dtype=torch.uint8)
    labels = create_strategy(name, flip=True, scales=[0.3, 1.5], **options)(model, picture(*size), confidence=sure)
    assert labels.shape == size
    assert sure.min() >= 255 // 5


def test_flipping_the_image_flips_the_labels_of_the_mirrored_average(model):
    image = picture(64, 96)
    strategy = create_strategy("whole", flip=True)
    ours, mirrored = strategy(model, image), strategy(model, Mirrored(image))
    assert (ours == mirrored.flip(-1)).float().mean() > 0.999


@pytest.mark.parametrize("scales", [[], [0], [-1.0], [17]])
def test_wrong_scales_are_refused(scales):
    with pytest.raises(ValueError, match=r"scales is a list, each above 0 and up to 16"):
        create_strategy("whole", scales=scales)


def test_labels_are_the_arg_max_of_the_mean(model):
    image = picture(40, 56)
    scores = augmented(lambda view: whole(model, view), image, flip=True)
    mean = probabilities(scores, 40, 56)
    labels = label(augmented(lambda view: whole(model, view), image, flip=True), 40, 56)
    assert torch.equal(labels.long(), mean.argmax(0))
