"""Every model that the project can build, with every up-sampler and backbone, streamed against whole."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.core.registry import list_parts
from fcn.inference.strategies import create_strategy
from fcn.models.segmenter import create_model
from tests.inference.stream.compare import differs, lively

CLASSES = 5
MODELS = [model for model in list_parts("model") if model != "smp"]
DOUBLING = {"fcn32s", "fcn16s", "fcn4s", "fcn2s"}  # the same class as fcn8s


class ScoresOnly(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x):
        return self.model.scores(x)


def built(model, backbone="resnet18", upsample="bilinear", **options):
    torch.manual_seed(0)
    return lively(create_model(model, backbone=backbone, upsample=upsample, num_classes=CLASSES, **options))


def picture(height, width, seed=0):
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def wrong_labels(model, image, **options):
    """How many labels differ from those of the whole image where the margin is above rounding."""
    with torch.inference_mode():
        logits = model(model.normalize(image[None]))[0]
        labels = create_strategy("stream", passes=99, **options)(model, image)
    first, second = logits.topk(2, 0).values
    return int(((labels.long() != logits.argmax(0)) & (first - second > 1e-6 * (logits.max() - logits.min()))).sum())


def backbone_of(model):
    return "mobilenet_v3_small" if model == "lraspp" else "resnet18"


@pytest.mark.parametrize(
    "model",
    [pytest.param(model, marks=pytest.mark.slow) if model in {*DOUBLING, "deeplabv3", "deeplabv3plus"} else model for model in MODELS],
)
def test_every_model(model):
    network = built(model, "compact" if model in {"fcn", "fcn8s", "unet"} else backbone_of(model))
    assert wrong_labels(network, picture(75, 99), band=16) == 0
    image = torch.randn(1, 3, 75, 99, dtype=torch.float64)
    assert differs(ScoresOnly(network).eval(), image, band=24, strips=2) < 1e-9


@pytest.mark.parametrize("upsample", [word for word in list_parts("upsample") if word != "bilinear"])
def test_every_upsampler(upsample):
    assert wrong_labels(built("fcn8s", "compact", upsample=upsample), picture(45, 67), band=16, strip=40) == 0


@pytest.mark.slow
@pytest.mark.parametrize("upsample", list_parts("upsample"))
@pytest.mark.parametrize("model", MODELS)
def test_every_model_with_every_upsampler(model, upsample):
    network = built(model, backbone_of(model), upsample)
    for size, options in (((75, 99), {"band": 16}), ((130, 61), {"band": 50, "strip": 30}), ((33, 20), {"band": 64})):
        assert wrong_labels(network, picture(*size), **options) == 0


@pytest.mark.slow
@pytest.mark.parametrize("backbone", list_parts("backbone"))
def test_every_backbone(backbone):
    network = built("fcn", backbone)
    assert wrong_labels(network, picture(101, 75), band=32, strip=40) == 0


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["Unet", "UnetPlusPlus", "Linknet", "FPN", "PSPNet", "DeepLabV3", "DeepLabV3Plus", "PAN", "UPerNet"])
def test_every_architecture_of_smp_without_attention(arch):
    network = built("smp", "resnet18", arch=arch)
    assert wrong_labels(network, picture(75, 99), band=16, strip=50) == 0


@pytest.mark.parametrize(("backbone", "passes"), [("tu-convnext_atto", 1), ("mobilenet_v3_small", 10)])
def test_backbones_with_norms_over_channels_and_with_gates(backbone, passes):
    network = built("fcn32s", backbone)
    assert wrong_labels(network, picture(75, 64), band=24) == 0
    with pytest.raises(ValueError, match="use strategy='windows'") if passes > 1 else pytest.raises(AssertionError):
        assert create_strategy("stream", passes=passes - 1 or 1)(network, picture(75, 64)) is None


WORDS = [("fcn8s", "transposed"), ("unet", "nearest"), ("deeplabv3plus", "bilinear"), ("unet", "carafe"), ("deeplabv3plus", "carafe")]
DRAWN = (st.integers(1, 140), st.integers(1, 140), st.integers(1, 150), st.one_of(st.none(), st.integers(1, 150)))


@settings(max_examples=5, deadline=None, derandomize=True)
@given(st.sampled_from(WORDS[:3]), *DRAWN)
def test_any_size_band_and_strip(words, height, width, band, strip):
    streams_right(words, height, width, band, strip)


@pytest.mark.slow
@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.sampled_from(WORDS), *DRAWN)
def test_many_sizes_bands_and_strips(words, height, width, band, strip):
    streams_right(words, height, width, band, strip)


def streams_right(words, height, width, band, strip):
    network = NETWORKS.setdefault(words, built(words[0], upsample=words[1]) if words not in NETWORKS else None)
    assert wrong_labels(network, picture(height, width), band=band, strip=strip) == 0


NETWORKS: dict[tuple[str, str], torch.nn.Module] = {}
