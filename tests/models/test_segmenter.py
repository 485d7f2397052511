"""Whole networks: any size, every combination of words, the paper's arithmetic."""

import pytest
import torch
from torch.nn import functional as F

from fcn.models.decoders import DECODERS, FCN
from fcn.models.segmenter import create_model
from fcn.models.upsample import UPSAMPLERS, create_upsampler

SIZES = ((1, 1), (7, 33), (64, 97))


@pytest.mark.parametrize("backbone", ["resnet18", "mobilenet_v3_small"])
@pytest.mark.parametrize("upsample", UPSAMPLERS)
@pytest.mark.parametrize("model", DECODERS)
def test_any_size_gives_logits_of_that_size(model, upsample, backbone):
    network = create_model(model, backbone=backbone, upsample=upsample, num_classes=4).eval()
    with torch.no_grad():
        for size in SIZES:
            assert network(torch.randn(1, 3, *size)).shape == (1, 4, *size)
            scores = network.scores(torch.randn(1, 3, *size))
            assert all(cells * network.stride >= side for cells, side in zip(scores.shape[2:], size, strict=True))


def test_every_parameter_of_the_decoder_learns_after_the_zero_start():
    network = create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=3)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    for _ in range(2):  # scores start at zero, so that only they change in the first step
        optimizer.zero_grad()
        F.cross_entropy(network(torch.randn(2, 3, 64, 64)), torch.randint(3, (2, 64, 64))).backward()
        optimizer.step()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.decoder.parameters())


def test_fcn8s_adds_the_scores_of_three_depths():
    """Against the paper's sum written out, with bilinear up-sampling."""
    torch.manual_seed(0)
    decoder = FCN((8, 16, 32), (8, 16, 32), 5, create_upsampler("bilinear"), skip_stride=8)
    for score in decoder.scores:
        torch.nn.init.normal_(score.weight)
    f8, f16, f32 = (torch.randn(1, c, s, s) for c, s in ((8, 9), (16, 5), (32, 3)))  # odd sizes: crops from the top left

    def double(x):
        return F.interpolate(x, scale_factor=2.0, mode="bilinear")

    s32, s16, s8 = (score(feature) for score, feature in zip(decoder.scores, (f32, f16, f8), strict=True))
    expected = double(double(s32)[..., :5, :5] + s16)[..., :9, :9] + s8
    torch.testing.assert_close(decoder([f8, f16, f32]), expected)
    assert decoder.stride == 8


def test_the_upsampler_takes_the_scores_to_the_image_unless_it_has_no_weights():
    strides = {name: create_model("fcn16s", backbone="resnet18", upsample=name, num_classes=2).stride for name in UPSAMPLERS}
    assert strides == {"transposed": 1, "bilinear": 16, "pixelshuffle": 1, "nearest": 1}
    fixed = create_model("fcn16s", backbone="resnet18", upsample="transposed", num_classes=2, model_options={"stride": 16})
    assert fixed.stride == 16


def test_a_bilinear_last_step_is_the_same_function_inside_and_outside():
    torch.manual_seed(0)
    outside = create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=3).eval()
    inside = create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=3, model_options={"stride": 1}).eval()
    for score in outside.decoder.scores:
        torch.nn.init.normal_(score.weight)
    inside.load_state_dict(outside.state_dict())
    image = torch.randn(1, 3, 37, 50)
    with torch.no_grad():
        torch.testing.assert_close(inside(image), outside(image))


def test_a_cell_lies_over_the_same_pixels_whatever_the_size():
    """Cropping the image at the right and the bottom, far away, changes nothing at the top left."""
    torch.manual_seed(0)
    network = create_model("fcn32s", backbone="resnet18", upsample="transposed", num_classes=3).eval()
    torch.nn.init.normal_(network.decoder.scores[0].weight)
    image = torch.randn(1, 3, 800, 40)
    with torch.no_grad():
        torch.testing.assert_close(network(image)[:, :, :64], network(image[:, :, :737])[:, :, :64], rtol=1e-4, atol=1e-4)


def test_normalization_is_the_backbones():
    network = create_model("fcn32s", backbone="resnet18", num_classes=2)
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = (torch.tensor([0, 128 / 255, 1]) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(network.normalize(image).flatten(), expected)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="model=fcn4 is not known; did you mean"):
        create_model("fcn4", num_classes=2)
    with pytest.raises(ValueError, match="num_classes=1"):
        create_model("fcn8s", num_classes=1)
    with pytest.raises(ValueError, match="stride=3 does not fit an FCN-8s; give a divisor of 8"):
        create_model("fcn8s", num_classes=2, model_options={"stride": 3})
    with pytest.raises(ValueError, match="an FCN-8s needs features at the strides 8, 16, 32; the backbone has 16, 32"):
        FCN((8, 16), (16, 32), 2, create_upsampler("bilinear"), skip_stride=8)
