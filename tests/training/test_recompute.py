"""Gradient checkpointing against the plain step: same loss, gradients and statistics, less kept."""

import copy

import pytest
import torch
from torch import nn

from fcn.models.segmenter import Outputs, create_model
from fcn.training.recompute import Recomputing, blocks

NETWORKS = [
    ("fcn8s", "resnet18", {}),
    pytest.param("unet", "mobilenet_v2", {}, marks=pytest.mark.slow),
    ("deeplabv3", "compact", {"channels": 16, "aux": True, "output_stride": 8}),
    pytest.param("fcn8s", "vgg11_bn", {}, marks=pytest.mark.slow),
    pytest.param("fcn8s", "densenet121", {}, marks=pytest.mark.slow),
    pytest.param("fcn8s", "tf_efficientnet_lite0", {}, marks=pytest.mark.slow),
    pytest.param("deeplabv3plus", "mobilenet_v3_large", {}, marks=pytest.mark.slow),
    pytest.param("lraspp", "mobilenet_v3_small", {}, marks=pytest.mark.slow),
    pytest.param("smp", "resnet18", {"arch": "FPN"}, marks=pytest.mark.slow),
]


def step(model, images):
    """The loss of a step, and the bytes that its graph keeps."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    torch.manual_seed(3)  # dropout
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outputs = model(images)
    outputs = outputs if isinstance(outputs, Outputs) else (outputs,)
    loss = sum(each.square().mean() for each in outputs)
    loss.backward()
    return loss.item(), sum(kept.values())


@pytest.mark.parametrize(("name", "backbone", "options"), NETWORKS)
def test_loss_gradients_and_statistics_are_the_same_and_less_is_kept(name, backbone, options):
    torch.manual_seed(0)
    plain = create_model(name, backbone=backbone, num_classes=3, **options).train()
    model = copy.deepcopy(plain)
    images = torch.randn(2, 3, 64, 64)
    state = model.state_dict().keys()
    with Recomputing(model) as recomputing:
        assert len(recomputing.parts) > 1
        assert model.state_dict().keys() == state
        loss, kept = step(model, images)
    expected, everything = step(plain, images)
    assert loss == expected
    assert kept < 0.6 * everything
    for key, value in plain.state_dict().items():
        assert torch.equal(value, model.state_dict()[key]), key
    for (key, one), other in zip(plain.named_parameters(), model.parameters(), strict=True):
        assert (one.grad is None and other.grad is None) or torch.equal(one.grad, other.grad), key
    assert not any("forward" in vars(module) for module in model.modules())


class WritesToItsInput(nn.Sequential):
    def forward(self, x):
        return super().forward(x.mul_(2))


def test_a_part_that_writes_to_its_input_is_no_block():
    model = create_model("fcn8s", backbone="compact", num_classes=2)
    before = blocks(model)
    first = before[0]
    parent = next(module for module in model.modules() if first in module.children())
    name = next(name for name, child in parent.named_children() if child is first)
    setattr(parent, name, WritesToItsInput(first))
    assert not any(isinstance(block, WritesToItsInput) for block in blocks(model))
