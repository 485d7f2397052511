"""Networks as users hand them over: wrapped, not readable, with tensors and functions hanging on their modules."""

import pytest
import torch
from torch import nn
from torch.ao.nn import quantized
from torch.nn.utils import parametrizations
from torch.optim.swa_utils import AveragedModel

from fcn.graph.networks import at_rest, copied, unwrapped, without_data
from fcn.graph.receptive_field import receptive_field


class Asking(nn.Module):
    def forward(self, image, mask):
        return image * mask


class Counting(nn.Module):
    """Changes all that a forward pass can change: a buffer in place and by another, an attribute, torch's random numbers."""

    def __init__(self):
        super().__init__()
        self.conv = parametrizations.spectral_norm(nn.Conv2d(3, 4, 3))
        self.norm = nn.BatchNorm2d(4)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("last", torch.zeros(1))
        self.kept = None

    def forward(self, x):
        self.calls += 1
        self.last = torch.rand(1)
        self.kept = self.norm(self.conv(x))
        return self.kept


def small():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))


def exported():
    return torch.export.export(small(), (torch.zeros(1, 3, 9, 9),))


@pytest.mark.parametrize("wrap", [nn.DataParallel, torch.compile, AveragedModel, lambda network: AveragedModel(nn.DataParallel(network))])
def test_wrappers_are_looked_through(wrap):
    wrapped = wrap(small())
    assert type(unwrapped(wrapped)) is nn.Sequential
    assert receptive_field(wrapped, 16)["2"].size == (5, 5)


def test_hooks_on_a_wrapper_are_not_lost():
    wrapped = nn.DataParallel(small())
    wrapped.register_forward_hook(lambda module, args, output: 2 * output)
    with pytest.raises(ValueError, match=r"hooks hang on the DataParallel and not on the network in it; register them on its \.module"):
        unwrapped(wrapped)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.jit.script(small()), "RecursiveScriptModule is compiled by torch.jit.script or torch.jit.trace"),
        (lambda: torch.jit.trace(small(), torch.zeros(1, 3, 9, 9)), "TopLevelTracedModule is compiled by torch.jit"),
        (lambda: nn.Sequential(torch.jit.script(nn.ReLU()), nn.ReLU()), "layer '0' of Sequential is compiled by torch.jit"),
        (lambda: nn.Sequential(nn.ReLU(), quantized.Linear(3, 4)), r"layer '1' of Sequential is quantised \(Linear\)"),
        (lambda: exported().module(), "comes from torch.export, and holds for the sizes and the mode of its export only"),
        (exported, "an exported program cannot be read; give the nn.Module that it was made from"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 3)), r"layer '0' of Sequential has no weights yet \(LazyConv2d\); run the network once"),
        (Asking, r"the forward\(image, mask\) of Asking cannot be called with an image alone"),
        (lambda: "resnet50", "'resnet50' is not a network"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_cause(make, message):
    with pytest.raises(ValueError, match=message):
        unwrapped(make())


def test_at_rest_undoes_what_a_run_does():
    network = Counting().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    last, randoms = network.last, torch.get_rng_state()
    with at_rest(network):
        assert not network.training
        network(torch.rand(1, 3, 8, 8))
        assert network.calls == 1
    network.conv.train()
    assert network.training
    assert network.kept is None
    assert network.last is last
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert torch.equal(torch.get_rng_state(), randoms)


def test_a_copy_takes_what_hangs_on_the_modules_with_it():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3))
    other, plain = network[1], network[0].forward
    network[0].forward = lambda x: plain(x) * other.weight.sum()
    network[0].register_forward_hook(lambda module, args, output: other(output))
    network[1].kept = [2 * network[1].weight]  # computed: torch's own copy refuses it
    copy = copied(network)
    x = torch.rand(1, 3, 9, 9)
    expected = network(x)
    assert torch.equal(copy[1].kept[0], network[1].kept[0])
    with torch.no_grad():
        network[0].weight.zero_()
        other.weight.zero_()
    assert torch.equal(copy(x), expected)  # it reads its own weights
    assert without_data(copy)(x.to("meta")).shape == expected.shape
