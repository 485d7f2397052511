"""Frozen layers: their weights and statistics stay through a training step, and the features that they give."""

import pytest
import torch

from fcn.core.errors import UserError
from fcn.models.backbones import create_backbone
from fcn.models.backbones.freezing import freeze, frozen_share
from fcn.models.segmenter import create_model
from fcn.training.optim import create_optimizer


def stepped(network):
    """The tensors that one step of training changes."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.train()
    optimizer = torch.optim.SGD(
        [each for each in network.parameters() if each.requires_grad] or [torch.zeros(1, requires_grad=True)], lr=1.0
    )
    features = network(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    loss = sum((feature**2).mean() for feature in features)
    if loss.requires_grad:
        loss.backward()
    optimizer.step()
    return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}


@pytest.mark.parametrize(
    ("stages", "kept"),
    [
        pytest.param(1, ("conv1", "bn1"), marks=pytest.mark.slow),
        (3, ("conv1", "bn1", "layer1", "layer2")),
        pytest.param(True, ("conv1", "bn1", "layer1", "layer2", "layer3", "layer4"), marks=pytest.mark.slow),
    ],
)
def test_the_layers_of_the_first_features_stay(stages, kept):
    """ResNet-18: the first feature is the stem's, each other one that of a layer by its name."""
    network = create_backbone("resnet18", freeze=stages)
    changed = stepped(network)
    assert {name.split(".")[1] for name in changed} == {"conv1", "bn1", "layer1", "layer2", "layer3", "layer4"} - set(kept)
    freeze(network, False)
    assert len(stepped(network)) == len(network.state_dict())
    assert frozen_share(network) == 0


def test_frozen_norms_keep_weights_and_statistics():
    network = create_backbone("resnet18", freeze_norm=True)
    kinds = {name.split(".")[-2] for name in stepped(network)}
    assert {kind[:4] for kind in kinds} == {"conv", "0"}  # and the convolutions of the shortcuts


@pytest.mark.parametrize(
    ("name", "output_stride"),
    [
        ("compact", None),
        ("tf_efficientnet_lite0", None),
        *(pytest.param(name, 8, marks=pytest.mark.slow) for name in ("tf_efficientnet_lite0", "densenet121", "convnext_tiny")),
    ],
)
def test_a_frozen_backbone_gives_the_same_features_in_training(name, output_stride):
    network = create_backbone(name, freeze=True, output_stride=output_stride).train()
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        first = [feature.clone() for feature in network(images)]
        for training, feature in zip(first, network.eval()(images), strict=True):
            assert torch.equal(training, feature)


def test_the_optimizer_has_what_is_not_frozen(tmp_path):
    torch.save(create_backbone("resnet18").network.state_dict(), tmp_path / "resnet.pth")
    model = create_model("fcn8s", backbone="resnet18", num_classes=2, backbone_weights=str(tmp_path / "resnet.pth"), freeze=True)
    optimizer = create_optimizer("adamw", model, lr=0.1, head_lr_factor=2)
    assert {parameter for group in optimizer.param_groups for parameter in group["params"]} == set(model.decoder.parameters())
    assert {group["lr"] for group in optimizer.param_groups} == {0.2}
    assert model.spec.backbone_options == {}  # what is frozen is the training's, and not in a checkpoint


def test_what_cannot_be_frozen_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"freeze=9 is not allowed; this backbone has 5 stages: give 1 to 5, or True for all"):
        create_backbone("resnet18", freeze=9)
    with pytest.raises(UserError, match=r"freeze=True would keep random weights; give backbone_weights or weights"):
        create_model("fcn8s", num_classes=2, freeze=True)
    for value in (0, "all", 1.5):
        with pytest.raises(UserError, match=r"freeze=.* is not allowed; freeze is (a whole number, )?1 or more, or True, or False"):
            create_model("fcn8s", num_classes=2, freeze=value, backbone_weights="imagenet")
