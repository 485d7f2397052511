"""Whole networks: any size, every combination of words, the paper's arithmetic."""

from dataclasses import asdict

import pytest
import torch
from torch.nn import functional as F

from fcn.core.registry import list_parts
from fcn.models.decoders.fcn import FCN
from fcn.models.decoders.levels import Levels
from fcn.models.segmenter import Outputs, assemble, create_model
from fcn.models.spec import ModelSpec
from fcn.models.upsample import create_upsampler

SIZES = ((1, 1), (7, 257), (97, 131))
DOUBLING = {"fcn32s", "fcn16s", "fcn4s", "fcn2s"}  # the same class as fcn8s


def quick(names, slow):
    return [pytest.param(name, marks=pytest.mark.slow) if name in slow else name for name in names]


@pytest.mark.parametrize("model", quick(list_parts("model"), DOUBLING | {"fcn", "deeplabv3"}))
def test_any_size_goes_through_forward_and_backward(model):
    network = create_model(model, backbone="mobilenet_v3_small" if model != "smp" else "tu-mobilenetv3_small_100", num_classes=4)
    for size in SIZES:
        logits = network(torch.randn(2, 3, *size))
        assert logits.shape == (2, 4, *size)
        network.zero_grad()
        logits.square().mean().backward()
        assert all(parameter.grad is not None for parameter in network.parameters() if parameter.requires_grad)
        with torch.no_grad():
            scores = network.scores(torch.randn(2, 3, *size))
        assert all(cells * network.stride >= side for cells, side in zip(scores.shape[2:], size, strict=True))


@pytest.mark.parametrize("upsample", list_parts("upsample"))
@pytest.mark.parametrize(
    "model", quick([name for name in list_parts("model") if name != "smp"], DOUBLING | {"fcn", "deeplabv3", "lraspp"})
)  # as deeplabv3plus, which has one step more
def test_every_upsampler_gives_logits_of_the_images_size(model, upsample):
    network = create_model(model, backbone="resnet18", upsample=upsample, num_classes=4).eval()
    with torch.no_grad():
        for size in ((1, 1), (33, 70)):
            assert network(torch.randn(1, 3, *size)).shape == (1, 4, *size)


@pytest.mark.parametrize("model", quick(list_parts("model"), DOUBLING | {"fcn", "deeplabv3", "unet", "lraspp", "smp"}))
def test_an_export_with_dynamic_sizes_equals_eager(model):
    network = create_model(model, backbone="resnet18", num_classes=3).eval()
    sizes = {2: torch.export.Dim("height", min=64, max=2048), 3: torch.export.Dim("width", min=64, max=2048)}
    program = torch.export.export(network, (torch.randn(2, 3, 96, 160),), dynamic_shapes=(sizes,)).module()
    with torch.no_grad():
        for size in ((97, 131), (65, 200)):
            image = torch.randn(2, 3, *size)
            torch.testing.assert_close(program(image), network(image), rtol=1e-4, atol=1e-5)


class TestAuxiliaryHead:
    def test_is_there_in_training_only(self):
        torch.manual_seed(0)
        network = create_model("deeplabv3", backbone="resnet18", num_classes=3, aux=True, aux_weight=0.3)
        image = torch.randn(2, 3, 65, 40)
        outputs = network(image)
        assert isinstance(outputs, Outputs)
        assert outputs.logits.shape == outputs.auxiliary.shape == (2, 3, 65, 40)
        assert network.aux_weight == 0.3
        network.eval()
        plain = create_model("deeplabv3", backbone="resnet18", num_classes=3).eval()
        plain.load_state_dict({name: value for name, value in network.state_dict().items() if not name.startswith("auxiliary.")})
        with torch.no_grad():
            torch.testing.assert_close(network(image), plain(image), rtol=0, atol=0)

    def test_stands_on_the_feature_that_is_asked_for(self):
        channels = {}
        for level in (-1, -3):
            network = create_model("fcn8s", backbone="resnet18", num_classes=3, aux=True, aux_level=level)
            channels[level] = network.auxiliary[0].in_channels
            assert network(torch.randn(2, 3, 33, 40)).auxiliary.shape == (2, 3, 33, 40)
        assert channels == {-1: 512, -3: 128}


def test_deeplab_trains_with_one_image_per_step():
    """The pooled branch has one value per channel then; the rest has a whole map."""
    for model in ("deeplabv3", "deeplabv3plus", "lraspp", "fcn"):
        network = create_model(model, backbone="resnet18", num_classes=3, aux=model != "lraspp")
        outputs = network(torch.randn(1, 3, 64, 64))
        logits = outputs.logits if isinstance(outputs, Outputs) else outputs
        logits.sum().backward()


def test_a_checkpoints_words_rebuild_the_model():
    options = {"aux": True, "rates": [2, 4], "separable": True, "image_pooling": False, "channels": 32}
    network = create_model("deeplabv3", backbone="resnet18", num_classes=3, output_stride=8, **options)
    again = assemble(ModelSpec(**asdict(network.spec)))
    assert again.spec == network.spec
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in network.state_dict().items()
    }
    assert again.backbone.strides[-1] == 8
    assert [branch[0].dilation for branch in again.decoder.classifier[0].convs] == [(1, 1), (2, 2), (4, 4)]


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
    decoder = FCN(Levels((8, 16, 32), (8, 16, 32), (None, None, None)), 5, create_upsampler("bilinear"), skip_stride=8, align=False)
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
    strides = {name: create_model("fcn16s", backbone="resnet18", upsample=name, num_classes=2).stride for name in list_parts("upsample")}
    assert strides == {"transposed": 1, "bilinear": 16, "pixelshuffle": 1, "nearest": 1, "carafe": 1}
    fixed = create_model("fcn16s", backbone="resnet18", upsample="transposed", num_classes=2, stride=16)
    assert fixed.stride == 16


def test_a_bilinear_last_step_is_the_same_function_inside_and_outside():
    torch.manual_seed(0)
    options = {"align": False}  # what is moved before and after an interpolation is not quite the same at the borders
    outside = create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=3, **options).eval()
    inside = create_model("fcn8s", backbone="resnet18", upsample="bilinear", num_classes=3, **options, stride=1).eval()
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
    with pytest.raises(ValueError, match=r"backbone=mit_b0 .*\(16 is the default of model=deeplabv3; give another output_stride"):
        create_model("deeplabv3", backbone="mit_b0", num_classes=2)
    with pytest.raises(ValueError, match="model=lraspp needs a feature of 8 pixels a cell; the backbone's have 2, 4, 4, 4, 4"):
        create_model("lraspp", backbone="resnet18", num_classes=2, output_stride=4)
    with pytest.raises(ValueError, match="there is no setting 'rates' of model=unet backbone=resnet18 upsample=bilinear; allowed: align"):
        create_model("unet", backbone="resnet18", num_classes=2, rates=[1])
    with pytest.raises(ValueError, match=r"channels=\[8\] does not fit a U-Net on 5 features; give 4 numbers"):
        create_model("unet", backbone="resnet18", num_classes=2, channels=[8])
    with pytest.raises(ValueError, match="aux_weight and aux_level belong to the auxiliary head, which is off; add aux=true"):
        create_model("unet", backbone="resnet18", num_classes=2, aux_weight=0.9)
    with pytest.raises(ValueError, match="aux_level=-9 is not allowed; backbone=resnet18 has the features"):
        create_model("unet", backbone="resnet18", num_classes=2, aux=True, aux_level=-9)
    with pytest.raises(ValueError, match="num_classes=1"):
        create_model("fcn8s", num_classes=1)
    with pytest.raises(ValueError, match=r"num_classes=65536 is not allowed; give 2 to 65535, background included"):
        create_model("fcn8s", num_classes=65536)
    with pytest.raises(ValueError, match="stride=16 does not fit scores of 8 pixels a cell; give a divisor of 8"):
        create_model("fcn8s", num_classes=2, stride=16)
    with pytest.raises(
        ValueError,
        match=r"an FCN-8s needs features at the strides 8, 16, 32; the backbone has 16, 32, which fit model=fcn32s, model=fcn16s$",
    ):
        FCN(Levels((8, 16), (16, 32), (None, None)), 2, create_upsampler("bilinear"), skip_stride=8)
