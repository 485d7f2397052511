"""What is kept of a network is used for as long as the network does the same, whatever it is that changes."""

import types

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import prune

import fcn
from fcn.inference import kept
from fcn.inference.kept import digest, unchanged
from fcn.inference.memory import pass_bytes
from fcn.inference.stream import prepare
from tests.inference.stream.compare import differs, lively

SLOPE = 0.25  # that a network reads from its module


class Block(nn.Module):
    """A value that depends on much more than on modules, parameters and buffers."""

    share = 0.5  # of the class

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.act, self.drop = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout()
        self.scale, self.table, self.function = 2.0, [1.0, 2.0, 3.0, 4.0], torch.tanh
        self.loose = torch.tensor([1.0, 2, 3, 4], dtype=torch.float64).view(-1, 1, 1)  # no module has registered it
        self.last = nn.Conv2d(4, 4, 1)
        self.register_buffer("shift", torch.ones(4, 1, 1, dtype=torch.float64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.norm(self.conv(x)))) * self.scale + self.loose * self.share + self.shift
        x = x * torch.tensor(self.table, dtype=x.dtype).view(-1, 1, 1)
        return self.last(F.leaky_relu(self.function(x), SLOPE))


def times_seven(self, x):
    return self._conv_forward(7 * x, self.weight, self.bias)


def set_slope(network, monkeypatch):
    monkeypatch.setitem(globals(), "SLOPE", 0.5)


CHANGES = {
    "another activation": lambda network, _: setattr(network, "act", nn.GELU()),
    "a stride": lambda network, _: setattr(network.conv, "stride", (2, 2)),
    "a padding mode": lambda network, _: (
        setattr(network.conv, "padding_mode", "replicate"),
        setattr(network.conv, "_reversed_padding_repeated_twice", (1, 1, 1, 1)),
    ),
    "another layer": lambda network, _: setattr(network, "last", nn.Conv2d(4, 4, 3).double()),
    "a setting": lambda network, _: setattr(network.norm, "eps", 1.0),
    "a hook": lambda network, _: network.norm.register_forward_hook(lambda module, inputs, output: 3 * output),
    "a hook before": lambda network, _: network.norm.register_forward_pre_hook(lambda module, inputs: (5 * inputs[0],)),
    "a replaced forward": lambda network, _: setattr(network.conv, "forward", types.MethodType(times_seven, network.conv)),
    "the forward of its class": lambda _, patch: patch.setattr(Block, "forward", lambda self, x: self.last(self.conv(x))),
    "a number": lambda network, _: setattr(network, "scale", 3.0),
    "a number that is equal but whole": lambda network, _: setattr(network, "scale", 2),
    "a list": lambda network, _: network.table.reverse(),
    "a function": lambda network, _: setattr(network, "function", torch.sin),
    "a number of its class": lambda _, patch: patch.setattr(Block, "share", 0.75),
    "a number of its module": set_slope,
    "a loose tensor": lambda network, _: setattr(network, "loose", network.loose + 1),
    "what a loose tensor holds": lambda network, _: network.loose.mul_(2),
    "what a buffer holds": lambda network, _: network.shift.mul_(2),
    "channels that change places": lambda network, _: network.last.weight.data.copy_(network.last.weight.data.flip(0)),
    "signs": lambda network, _: network.last.weight.data.neg_(),
    "no hook any more": lambda network, _: network.act._forward_hooks.clear(),
}


LIKE_OTHERS = ("a padding mode", "a hook before", "a function", "channels that change places", "signs")


@pytest.mark.parametrize("change", [pytest.param(name, marks=pytest.mark.slow) if name in LIKE_OTHERS else name for name in CHANGES])
def test_a_program_is_that_of_the_network_as_it_is_now(change, monkeypatch):
    torch.manual_seed(0)
    network = lively(Block())
    network.act.register_forward_hook(lambda module, inputs, output: output + 1)
    image = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    assert differs(network, image, band=4) < 1e-12
    first = prepare(network, 12, 12)
    assert prepare(network, 12, 12) is first
    with torch.no_grad():
        CHANGES[change](network, monkeypatch)
    assert prepare(network, 12, 12) is not first
    assert differs(network, image, band=4) < 1e-12


@pytest.mark.parametrize("change", [lambda network: setattr(network, "name", "x"), lambda network: network.train(), lambda network: None])
def test_what_does_not_matter_is_no_reason_to_begin_anew(change):
    network = lively(Block())
    first = prepare(network, 12, 12)
    change(network)
    assert prepare(network, 12, 12) is first


def test_a_type_or_a_weight_that_is_moved():
    network = lively(Block())
    first = prepare(network, 12, 12)
    network.last.weight.data = network.last.weight.data.clone()  # the old memory may be written to by others
    second = prepare(network, 12, 12)
    assert second is not first
    network.loose = network.loose.float()
    network.float()
    assert prepare(network, 12, 12).program.like.dtype == torch.float32


def test_labels_of_a_model_whose_activations_are_replaced():
    torch.manual_seed(0)
    model = lively(fcn.create_model("fcn8s", backbone="compact", num_classes=4))
    image = torch.randint(0, 256, (40, 50, 3), dtype=torch.uint8).numpy()
    before = fcn.predict(model, image, strategy="stream")
    assert (before == fcn.predict(model, image, strategy="whole")).mean() > 0.999
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.ReLU):
                setattr(module, name, nn.Sigmoid())
    after = fcn.predict(model, image, strategy="whole")
    assert (before != after).mean() > 0.1
    assert (fcn.predict(model, image, strategy="stream") == after).mean() > 0.999


def test_the_memory_that_a_pass_takes_is_that_of_the_network_as_it_is_now():
    model = fcn.create_model("fcn8s", backbone="compact", num_classes=4).eval()
    before = pass_bytes(model, 512, 512)
    assert pass_bytes(model, 512, 512) == before
    hook = model.backbone.register_forward_pre_hook(lambda module, inputs: (inputs[0].repeat(1, 50, 1, 1)[:, :3],))
    assert pass_bytes(model, 512, 512) > 2 * before
    hook.remove()
    assert pass_bytes(model, 512, 512) == before


def test_a_run_over_many_images_looks_at_the_network_once(monkeypatch):
    looks = []
    recording = kept.recording
    monkeypatch.setattr(kept, "recording", lambda *given: looks.append(1) or recording(*given))
    network = lively(Block())
    first = prepare(network, 12, 12)
    assert len(looks) == 1
    with unchanged(network):
        assert all(prepare(network, 12, 12) is first for _ in range(5))
        assert len(looks) == 2
        with unchanged(network):
            prepare(network, 12, 12)
        assert prepare(network, 12, 12) is first
        assert len(looks) == 2
    network.scale = 3.0
    assert prepare(network, 12, 12) is not first


def test_a_network_with_computed_weights_is_looked_at_like_any_other():
    """Weights that a hook computed cannot be copied by ``copy.deepcopy``."""
    network = lively(Block())
    prune.l1_unstructured(network.conv, "weight", 0.5)
    assert not network.conv.weight.is_leaf
    first = prepare(network, 12, 12)
    assert prepare(network, 12, 12) is first
    with torch.no_grad():
        network.conv.weight_orig *= 2
    assert prepare(network, 12, 12) is not first


def test_a_digest_tells_places_signs_and_single_bits_apart():
    x = torch.randn(70_001, generator=torch.Generator().manual_seed(0))
    seen = [digest([x])]
    for change in (
        lambda y: y.neg_(),
        lambda y: y[3:69_000:68_997].neg_(),
        lambda y: y[[5, 6]].clone(),  # changes nothing
        lambda y: y.copy_(y.flip(0)),
        lambda y: y.copy_(y.roll(128)),
        lambda y: y.view(torch.int32)[70_000:].bitwise_xor_(1),
        lambda y: y.view(torch.uint8)[:1].bitwise_xor_(128),
    ):
        y = x.clone()
        change(y)
        seen.append(digest([y]))
    assert all(torch.equal(a, b) == (i == j or {i, j} == {0, 3}) for i, a in enumerate(seen) for j, b in enumerate(seen))
    assert torch.equal(digest([x.clone()]), seen[0])
