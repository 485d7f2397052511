"""Backbones: one contract for torchvision's classifiers and for the encoders of smp and timm."""

import pytest
import torch
import torchvision

from fcn.models.backbones import BACKBONES, create_backbone

QUICK = ("compact", "resnet18", "mobilenet_v3_small", "mobilenet_v2", "vgg11", "efficientnet-b0", "regnety_002", "tu-resnet10t")


@pytest.mark.parametrize("name", QUICK)
def test_features_have_the_declared_channels_and_strides(name):
    options = {"classifier": False} if name == "vgg11" else {}
    backbone = create_backbone(name, **options).eval()
    assert backbone.strides == tuple(sorted(backbone.strides))
    for height, width in ((1, 1), (33, 70)):
        size = [-(-side // backbone.divisor) * backbone.divisor for side in (height, width)]
        with torch.no_grad():
            features = backbone(torch.randn(1, 3, *size))
        assert tuple(feature.shape[1] for feature in features) == backbone.channels
        for feature, stride in zip(features, backbone.strides, strict=True):
            assert tuple(feature.shape[2:]) == tuple(-(-side // stride) for side in size)


def test_names_are_torchvisions():
    assert set(BACKBONES) - {"compact"} <= set(torchvision.models.list_models())


def test_building_leaves_the_batch_statistics_alone():
    for name in ("resnet18", "mobilenet_v2", "efficientnet-b0"):
        state = create_backbone(name).state_dict()
        assert all(value == 0 for key, value in state.items() if key.endswith("num_batches_tracked"))


def test_features_are_the_classifiers(tmp_path):
    torch.manual_seed(0)
    classifier = torchvision.models.resnet18().eval()
    torch.save(classifier.state_dict(), tmp_path / "resnet18.pth")
    backbone = create_backbone("resnet18", weights=str(tmp_path / "resnet18.pth")).eval()
    image = torch.randn(1, 3, 97, 64)
    with torch.no_grad():
        expected = classifier.fc(backbone(image)[-1].mean((2, 3)))
        torch.testing.assert_close(classifier(image), expected)


def test_vgg_ends_each_stage_with_a_pool():
    backbone = create_backbone("vgg11", classifier=False)
    assert backbone.channels == (64, 128, 256, 512, 512)
    assert backbone.strides == (2, 4, 8, 16, 32)


def test_wrong_words_and_weights_are_answered(tmp_path):
    with pytest.raises(ValueError, match=r"backbone=resnet19 is not known; did you mean .*resnet18"):
        create_backbone("resnet19")
    with pytest.raises(ValueError, match="backbone=resnet18 has no option 'classifier'; it takes taps"):
        create_backbone("resnet18", classifier=True)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        create_backbone("resnet18", weights=str(tmp_path / "none.pth"))
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "resnet34.pth")
    with pytest.raises(ValueError, match="belong to another network: it has"):
        create_backbone("resnet18", weights=str(tmp_path / "resnet34.pth"))
    (tmp_path / "broken.pth").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read as a state dict"):
        create_backbone("resnet18", weights=str(tmp_path / "broken.pth"))
