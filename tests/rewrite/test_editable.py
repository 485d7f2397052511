"""Networks as graphs: the copy does what the original does, in both modes, under the same names."""

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from fcn.rewrite.editable import editable


class Block(nn.Module):
    """What a tracer may get wrong: a mode that is asked for, a result that is written in place and not named."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.paths = torchvision.ops.StochasticDepth(0.5, "batch")

    def forward(self, x):
        x = self.conv(x)
        x.mul_(2)
        y = F.dropout(x, 0.5, training=self.training)
        return self.paths(y) + x


def test_copies_under_the_same_names():
    network = torchvision.models.mobilenet_v3_small().eval()
    traced = editable(network)
    assert list(traced.state_dict()) == list(network.state_dict())
    x = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(traced(x), network(x), rtol=0, atol=0)
    nn.init.zeros_(traced.get_parameter("classifier.3.weight"))
    assert network.classifier[3].weight.abs().sum() > 0


def test_each_part_keeps_its_mode():
    network = torchvision.models.resnet18().train()
    network.layer1.eval()
    traced = editable(network)
    assert traced.training
    assert traced.get_submodule("bn1").training
    assert not traced.get_submodule("layer1.0.bn1").training
    assert network.training


def test_follows_its_mode():
    network = Block().eval()
    traced = editable(network)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(traced(x), network(x))
    network.train()
    traced.train()
    torch.manual_seed(0)
    expected = network(x)
    torch.manual_seed(0)
    torch.testing.assert_close(traced(x), expected)


@pytest.mark.parametrize("name", ["test_efficientnet", "test_resnet"])
def test_a_norm_of_timm_still_learns_its_statistics(name):
    network = timm.create_model(name, drop_path_rate=0.5).train()
    traced = editable(network)
    mean = next(key for key in network.state_dict() if key.endswith("running_mean"))
    before = network.state_dict()[mean].clone()
    x = torch.randn(4, 3, 64, 64)
    torch.manual_seed(0)
    expected = network(x)
    torch.manual_seed(0)
    torch.testing.assert_close(traced(x), expected)
    assert not torch.equal(traced.state_dict()[mean], before)
    torch.testing.assert_close(traced.state_dict()[mean], network.state_dict()[mean])


def test_what_is_written_in_place_is_read():
    multiplied = next(node for node in editable(Block()).graph.nodes if node.target == "mul_")
    assert {user.op for user in multiplied.users} == {"call_module", "call_function"}  # the dropout and the sum


def test_prints_its_layers_only():
    assert str(editable(nn.Sequential(nn.Conv2d(3, 4, 3)))) == "Sequential(\n  (0): Conv2d(3, 4, kernel_size=(3, 3), stride=(1, 1))\n)"


def test_refuses_to_follow_values():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(ValueError, match="Branching cannot be read as a graph, since its forward decides by what it is given"):
        editable(Branching())
