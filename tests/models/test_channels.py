"""Networks for images of any number of channels: their first convolutions, and their normalisation."""

import numpy as np
import pytest
import timm
import torch

import fcn
from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.models.backbones import create_backbone
from fcn.models.channels import drawn, readers, spread, with_channels

SLOW = ("mobilenet_v2", "alexnet", "convnext_tiny", "vgg11", "tf_efficientnet_lite0", "mit_b0", "tu-hrnet_w18_small")


@pytest.mark.parametrize("channels", [1, 2, 4, 5, 6, 13])
def test_learnt_weights_are_spread_as_timm_does_it(channels: int) -> None:
    weight = torch.randn(8, 3, 3, 3)
    assert torch.equal(spread(weight, channels), timm.models.adapt_input_conv(channels, weight))


def test_random_weights_keep_the_variance() -> None:
    weight = torch.randn(64, 3, 7, 7) * 0.1
    for channels in (1, 12):
        found = drawn(weight, channels)
        assert found.shape == (64, channels, 7, 7)
        assert float(found.square().sum((1, 2, 3)).mean()) == pytest.approx(float(weight.square().sum((1, 2, 3)).mean()), rel=0.1)


@pytest.mark.parametrize("name", ["compact", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
@pytest.mark.parametrize("channels", [1, 6])
def test_equal_channels_give_what_rgb_gave(name: str, channels: int) -> None:
    torch.manual_seed(0)
    rgb = create_backbone(name).eval()
    other = create_backbone(name).eval()
    other.load_state_dict(rgb.state_dict())
    with_channels(other, name, channels, pretrained=True)
    gray = torch.randn(1, 1, 64, 96)
    with torch.no_grad():
        for one, two in zip(rgb(gray.expand(-1, 3, -1, -1)), other(gray.expand(-1, channels, -1, -1)), strict=True):
            assert torch.allclose(one, two, atol=1e-4)
    assert len(readers(rgb)) == 1


def test_three_channels_leave_the_network_as_it_was() -> None:
    torch.manual_seed(0)
    one = fcn.create_model("fcn8s", backbone="compact", num_classes=2)
    torch.manual_seed(0)
    two = fcn.create_model("fcn8s", backbone="compact", num_classes=2, in_channels=3, dtype="uint8")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert two.images == RGB
    images = torch.randint(0, 256, (1, 3, 5, 7), dtype=torch.uint8)
    assert torch.equal(two.normalize(images), torch.addcmul(-two.mean / two.std, images, 1 / (255 * two.std)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_normalisation_is_by_the_measured_mean_and_deviation(dtype: str) -> None:
    kind = ImageKind(4, dtype, mean=(10, 20, 30, 40), std=(1, 2, 3, 4))  # type: ignore[arg-type]
    model = fcn.create_model("fcn8s", backbone="compact", num_classes=2, in_channels=4, dtype=dtype)
    model.take(kind)
    values = np.random.default_rng(0).integers(0, 200, (1, 4, 6, 7)).astype(dtype)
    expected = (values.astype(np.float64) - np.reshape(kind.mean, (4, 1, 1))) / np.reshape(kind.std, (4, 1, 1))
    assert model.normalize(torch.from_numpy(values)).numpy() == pytest.approx(expected, abs=2e-4)
    assert model.in_channels == 4


def test_a_float_that_is_not_finite_is_the_mean() -> None:
    model = fcn.create_model("fcn8s", backbone="compact", num_classes=2, in_channels=1, dtype="float32")
    image = torch.tensor([float("nan"), float("inf"), -float("inf")]).view(1, 1, 1, 3)
    assert model.normalize(image).flatten().tolist() == [0, 0, 0]


def test_a_checkpoint_keeps_the_kind(tmp_path) -> None:
    model = fcn.create_model("fcn8s", backbone="compact", classes=["a", "b"], in_channels=2, dtype="float32").eval()
    model.take(ImageKind(2, "float32", ((-1, 1), (0, 5)), (1, 0, 1), (0.1, 0.2), (3, 4)))
    fcn.save(model, tmp_path / "a.pt")
    again = fcn.load(tmp_path / "a.pt")
    assert again.images == model.images
    images = torch.randn(1, 2, 20, 30)
    assert torch.equal(again(again.normalize(images)), model(model.normalize(images)))


def test_a_network_of_rgb_starts_one_of_other_channels(tmp_path) -> None:
    rgb = fcn.create_model("fcn8s", backbone="compact", classes=["a", "b"]).eval()
    fcn.save(rgb, tmp_path / "rgb.pt")
    model = fcn.create_model(
        "fcn8s", backbone="compact", classes=["a", "b"], in_channels=6, dtype="uint16", weights=str(tmp_path / "rgb.pt")
    )
    gray = torch.randn(1, 1, 32, 32)
    with torch.no_grad():
        found = model.eval().backbone(gray.expand(-1, 6, -1, -1))
        assert all(torch.allclose(one, two, atol=1e-5) for one, two in zip(rgb.backbone(gray.expand(-1, 3, -1, -1)), found, strict=True))
    assert not model.images.measured


def test_one_of_other_channels_starts_its_like_with_its_normalisation(tmp_path) -> None:
    words = {"backbone": "compact", "classes": ["a", "b"], "in_channels": 4, "dtype": "uint16"}
    model = fcn.create_model("fcn8s", **words)
    model.take(ImageKind(4, "uint16", mean=(1, 2, 3, 4), std=(5, 6, 7, 8)))
    fcn.save(model, tmp_path / "a.pt")
    again = fcn.create_model("fcn8s", **words, weights=str(tmp_path / "a.pt"))
    assert again.images == model.images
    assert torch.equal(again.mean, model.mean)
    with pytest.raises(UserError, match=r"mean is \(4, 1, 1\) there and \(3, 1, 1\) here"):
        fcn.create_model("fcn8s", backbone="compact", classes=["a", "b"], weights=str(tmp_path / "a.pt"))


@pytest.mark.slow
def test_what_no_convolution_reads_takes_rgb_only() -> None:
    with pytest.raises(UserError, match="backbone=tu-tresnet_m reads RGB images only"):
        fcn.create_model("fcn8s", backbone="tu-tresnet_m", num_classes=2, in_channels=5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "arch", ["Unet", "UnetPlusPlus", "MAnet", "Linknet", "FPN", "PSPNet", "DeepLabV3Plus", "PAN", "UPerNet", "Segformer"]
)
def test_architectures_of_smp_take_other_channels(arch: str) -> None:
    model = fcn.create_model("smp", arch=arch, backbone="resnet18", num_classes=3, in_channels=5, dtype="float32").eval()
    with torch.no_grad():
        assert model(model.normalize(torch.rand(1, 5, 70, 90))).shape == (1, 3, 70, 90)
