"""What hangs on a network's modules beside their classes reaches its converted and dilated copies; reading a network changes nothing."""

import copy
from threading import Lock

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torch.optim.swa_utils import AveragedModel

import fcn
from fcn.graph.effective import effective_field
from fcn.inference.stream import prepare
from fcn.rewrite.convolutionalize import linear_to_conv
from fcn.tools.inspect.report import inspect_network

pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated", "ignore:.*spectral_norm.*is deprecated")


def classifier():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
    return nn.Sequential(*layers).double().eval()


def trunk():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.MaxPool2d(3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1), nn.AvgPool2d(3, 1, 1))
    return nn.Sequential(*layers).double().eval()


def doubling(layer):
    layer.register_forward_hook(lambda module, args, output: 2 * output)


def doubling_by_keywords(layer):
    layer.register_forward_hook(lambda module, args, kwargs, output: 2 * output, with_kwargs=True)


def doubling_before(layer):
    layer.register_forward_pre_hook(lambda module, args: (2 * args[0],))


def doubling_in_place(layer):
    def hook(module, args, output):
        output.mul_(2)

    layer.register_forward_hook(hook)


def forward_of_its_own(layer):
    forward = layer.forward
    layer.forward = lambda x: 2 * forward(x)


def stale(norm):
    """A weight that a hook or a parametrization computes, from numbers that changed after the last pass."""

    def add(layer):
        norm(layer)
        with torch.no_grad():
            next(layer.parameters()).mul_(3)  # the bias
            for name, parameter in layer.named_parameters():
                if name.endswith(("_g", "_orig", "original0", "original")):
                    parameter.mul_(2).add_(0.1)

    return add


ADDED = {
    "hook": doubling,
    "hook with keywords": doubling_by_keywords,
    "hook before": doubling_before,
    "hook in place": doubling_in_place,
    "forward": forward_of_its_own,
}
NORMS = {
    "weight norm by hook": stale(weight_norm),
    "spectral norm by hook": stale(spectral_norm),
    "pruning": stale(lambda layer: prune.l1_unstructured(layer, "weight", 0.5)),
    "weight norm": stale(parametrizations.weight_norm),
    "spectral norm": stale(parametrizations.spectral_norm),
}


@pytest.mark.parametrize("path", ["", "0", "2", "3", "4", "5"])
@pytest.mark.parametrize("add", ADDED.values(), ids=ADDED)
def test_a_classifier_converted_with_its_hooks(add, path):
    network = classifier()
    add(network.get_submodule(path))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = network(x)
    converted = fcn.convolutionalize(network, input_size=32)
    torch.testing.assert_close(converted(x).flatten(1), expected)
    assert converted(torch.randn(1, 3, 40, 36, dtype=torch.float64)).shape == (1, 5, 5, 3)


@pytest.mark.parametrize("path", ["", "0", "2", "3", "4"])
@pytest.mark.parametrize("add", ADDED.values(), ids=ADDED)
def test_a_network_dilated_with_its_hooks(add, path):
    network = trunk()
    add(network.get_submodule(path))
    x = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    torch.testing.assert_close(fcn.dilate(network, 2)(x)[..., ::4, ::4], network(x))


@pytest.mark.parametrize("add", NORMS.values(), ids=NORMS)
def test_computed_weights_are_those_of_now_and_stay_computed(add):
    network = classifier()
    for path in ("0", "5"):
        add(network.get_submodule(path))
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    network.eval()
    converted = fcn.convolutionalize(network, input_size=32)  # before any pass brings the weight up to date
    torch.testing.assert_close(converted(x).flatten(1), network(x))
    assert converted.state_dict().keys() == network.state_dict().keys()
    before = network(x)
    with torch.no_grad():
        for parameter in converted.parameters():
            parameter.mul_(1.5)
    assert torch.equal(network(x), before)


@pytest.mark.parametrize("add", NORMS.values(), ids=NORMS)
def test_computed_weights_are_dilated(add):
    network = trunk()
    for path in ("0", "3"):
        add(network.get_submodule(path))
    x = torch.randn(1, 3, 32, 48, dtype=torch.float64)
    network.eval()
    torch.testing.assert_close(fcn.dilate(network, 2)(x)[..., ::4, ::4], network(x))


def test_a_hook_that_moves_cells_is_dilated_and_seen():
    network = trunk()
    plain = fcn.receptive_field(network, 64).size
    network[3].register_forward_hook(lambda module, args, output: F.avg_pool2d(output, 3, 1, 1))
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(fcn.dilate(network, 2)(x)[..., 4:-4:4, 4:-4:4], network(x)[..., 1:-1, 1:-1])
    assert fcn.receptive_field(network, 64).size == tuple(size + 2 * 8 for size in plain)


def test_hooks_that_only_look_on_are_left_out_with_a_warning():
    network, seen = classifier(), []
    network[0].register_forward_hook(lambda module, args, output: seen.append(output.mean()))
    with pytest.warns(UserWarning, match="without hooks that return nothing and change nothing, of layer '0'"):
        converted = fcn.convolutionalize(network, input_size=32)
    count = len(seen)
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    converted(x)
    assert len(seen) == count


def refusing_to_see_nan(network):
    network[2].register_forward_hook(lambda module, args, output: output if output.isfinite().all() else None)


def gradient_hook(path):
    return lambda network: network.get_submodule(path).register_full_backward_hook(lambda module, before, after: None)


@pytest.mark.parametrize(
    ("add", "message"),
    [
        (refusing_to_see_nan, "layer '2' has a hook that decides by what it is given"),
        (gradient_hook(""), "the backward hooks of the network itself would be lost"),
        (gradient_hook("5"), r"layer '5' \(Linear\) does not slide: it has hooks, which a layer in its place would not"),
        (lambda network: forward_of_its_own(network[1]), "layer '1' has a forward of its own"),
        (lambda network: setattr(network, "lock", Lock()), "cannot be copied"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(add, message):
    network = classifier()
    add(network)
    with pytest.raises(ValueError, match=message):
        fcn.convolutionalize(network, input_size=32)


def test_a_linear_layer_with_hooks_is_not_taken_for_its_weight():
    with pytest.raises(ValueError, match="has hooks or a forward of its own"):
        linear_to_conv(weight_norm(nn.Linear(4, 2)))


class Optional(nn.Module):
    def __init__(self):
        super().__init__()
        self.network = classifier()

    def forward(self, x, features=False, *, mask=None):
        x = self.network[:3](x) if mask is None else mask * x
        return x if features else self.network[3:](x)


WRAPPED = [nn.DataParallel, torch.compile, AveragedModel, lambda network: nn.Sequential(torch.compile(network[:3]), *network[3:])]


@pytest.mark.parametrize("make", [lambda: Optional().eval(), *[lambda wrap=wrap: wrap(classifier()) for wrap in WRAPPED]])
def test_defaults_are_taken_and_wrappers_looked_through(make):
    network = make()
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    expected = classifier()(x)
    torch.testing.assert_close(fcn.convolutionalize(network, input_size=32)(x).flatten(1), expected)
    assert fcn.receptive_field(network, 32, pool_as_window=True).size == (37, 37)  # 3, 3 + 2 * 2, 7 + 15 * 2
    assert fcn.dilate(network, 1) is not network


READERS = {
    "receptive_field": lambda network: fcn.receptive_field(network, 32),
    "inspect": lambda network: inspect_network(network, 32),
    "effective_field": lambda network: effective_field(network, 32, samples=1),
    "dilate": lambda network: fcn.dilate(network, 1),
    "convolutionalize": lambda network: fcn.convolutionalize(network, input_size=32),
    "stream": lambda network: prepare(network, 32, 32),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
def test_reading_leaves_a_network_in_training_as_it_was(reader):
    network = classifier().train()
    parametrizations.spectral_norm(network[0])
    weight_norm(network[5])
    network = nn.Sequential(*network, nn.Unflatten(1, (5, 1, 1)), spectral_norm(nn.Conv2d(5, 5, 1).double()), nn.Flatten())
    prune.l1_unstructured(network[1], "weight", 0.5)
    network[1].bias.requires_grad_(False)
    network(torch.randn(4, 3, 32, 32, dtype=torch.float64)).sum().backward()  # weights are then computed tensors, which torch cannot copy
    network[2].eval()
    state, randoms = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    kept = [dict(vars(module)) for module in network.modules()]
    trainable = [parameter.requires_grad for parameter in network.parameters()]
    reader(network)
    assert torch.equal(torch.get_rng_state(), randoms)
    assert list(network.state_dict()) == list(state)
    assert all(torch.equal(value, state[name]) for name, value in network.state_dict().items())
    assert trainable == [parameter.requires_grad for parameter in network.parameters()]
    for module, before in zip(network.modules(), kept, strict=True):
        now = vars(module)
        assert now.keys() == before.keys()
        assert all(now[name] is before[name] for name in now)  # the modes and the weights that hooks computed among them
