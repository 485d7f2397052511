"""What becomes of a graph: what is folded, what is refused and how, what a pass costs."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from fcn.core.errors import NotStreamable
from fcn.graph.ops import TABLE, Operation, pointwise
from fcn.graph.ops.itself import bound
from fcn.inference.memory import pass_bytes
from fcn.inference.stream import prepare
from fcn.inference.stream.plan import schedule
from fcn.models.segmenter import create_model
from tests.inference.stream.compare import differs, lively


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        x = self.conv(x)
        tokens = x.flatten(2).transpose(1, 2)
        return self.attention(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)


class Sorted(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.first(x).cumsum(2)


class Overwritten(nn.Module):
    """A view is taken, the whole is written over, and the view is read."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3)

    def forward(self, x):
        x = self.first(x)
        half = x[:, :2]
        x.relu_()
        return half + 1


class Random(Sorted):
    def forward(self, x):
        return nn.functional.dropout(self.first(x), training=True)


class Noisy(Sorted):
    def forward(self, x):
        x = self.first(x)
        return x + torch.rand_like(x)


class Branching(Sorted):
    def forward(self, x):
        x = self.first(x)
        return x if x.mean() > 0 else -x


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Tokens, r"'softmax' in layer 'attention' in bands of rows: attention compares cells with all cells|'[\w]+' in layer 'attention'"),
        (
            Sorted,
            r"'cumsum' in layer 'cumsum' .*: cumsum over all of the image, and the table .* which statistic of the whole image it needs",
        ),
        (Random, "'dropout' in layer 'dropout' in bands of rows: it is random"),
        (Noisy, "'add' in layer 'add' in bands of rows: its argument 'rand_like' is not known before it runs"),
        (Branching, "strategy='stream' is not possible: torch.export cannot read the network: Branching, .* use strategy='windows'"),
        (Overwritten, "'relu' in layer 'relu_' in bands of rows: it writes over a tensor of which a view is read later"),
    ],
)
def test_what_has_no_rule_is_refused_by_name(network, words):
    with pytest.raises(ValueError, match=words):
        prepare(network().eval(), 20, 20)


def test_a_bug_in_an_entry_is_no_refusal_that_auto_would_answer_by_windows(monkeypatch):
    monkeypatch.setitem(TABLE, "conv2d", replace(TABLE["conv2d"], block=lambda call: {}["key"]))
    with pytest.raises(KeyError, match="key"):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), 20, 20)


def test_a_missing_facet_is_refused_by_name(monkeypatch):
    monkeypatch.setitem(TABLE, "conv2d", replace(TABLE["conv2d"], block=None))
    with pytest.raises(
        ValueError, match=r"'conv2d' in layer '0' .* the table of operations does not say how a block of its cells is computed"
    ):
        prepare(nn.Sequential(nn.Conv2d(3, 4, 3)).eval(), 20, 20)


@torch.library.custom_op("fcn_tests::halved", mutates_args=())
def halved(x: torch.Tensor) -> torch.Tensor:
    return x / 2


halved.register_fake(torch.empty_like)


class Halved(Sorted):
    def forward(self, x):
        return self.first(halved(self.first(x)[:, :3]))


def test_an_operation_of_ones_own_is_taught_by_one_entry(monkeypatch):
    network = lively(Halved())
    with pytest.raises(NotStreamable, match=r"'fcn_tests::halved' .* does not say which cells it reads") as refused:
        prepare(network, 20, 20)
    assert refused.value.operation == "fcn_tests::halved"
    monkeypatch.setitem(TABLE, "fcn_tests::halved", Operation(maps=pointwise.pointwise, block=bound))
    assert differs(network, torch.randn(1, 3, 20, 20, dtype=torch.float64), band=3) < 1e-12


@pytest.mark.parametrize("size", [1, (3, 5)])
def test_a_pooled_output_is_one_band(size):
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(size)))
    prepared = prepare(network, 20, 20)
    assert prepared.bytes(4) > 0
    for band, strips in ((1, 1), (7, 3), (30, 2)):
        assert differs(network, torch.randn(1, 3, 20, 20, dtype=torch.float64), band=band, strips=strips) < 1e-12


def test_batch_norm_is_folded_into_the_convolution_before_it():
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.BatchNorm2d(4)))
    instructions = prepare(network, 9, 9).program.instructions.values()
    assert [instruction.op for instruction in instructions] == ["input", "conv2d", "relu", "batch_norm"]


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="needs an Apple GPU, which has no float64")
def test_batch_norm_is_folded_where_there_is_no_float64():
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())).float().to("mps")
    assert prepare(network, 9, 9).program.like.device.type == "mps"


def test_a_convolution_read_twice_is_not_folded():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

        def forward(self, x):
            x = self.conv(x)
            return self.norm(x) - x

    assert differs(lively(Twice()), torch.randn(1, 3, 12, 12, dtype=torch.float64), band=5) < 1e-12


def test_every_row_of_every_layer_is_computed_once():
    model = create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=3).eval()
    program = prepare(model, 203, 64).program
    instructions = list(program.instructions.values())
    for band in (1, 16, 300):
        plan = schedule(instructions, [program.output], height=203, band=band)
        for instruction in instructions:
            done = plan.done[instruction.name]
            assert (done[1:] >= done[:-1]).all()
            assert instruction.sizes[0] - 2 <= done[-1] <= instruction.sizes[0]  # a stride may leave the last rows out


def test_statistics_take_passes_and_cost_what_leads_up_to_them():
    plain = prepare(create_model("deeplabv3", backbone="resnet18", num_classes=3).eval(), 64, 64)
    assert plain.passes == 2
    assert 1.5 < plain.price < 2
    gates = prepare(create_model("lraspp", backbone="mobilenet_v3_large", num_classes=3).eval(), 64, 64)
    assert gates.passes == 10
    assert gates.price < 10


def fused_step(network):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, fused=True)
    for parameter in network.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()


WRITES = {
    "in place": lambda network: network[1].bias.add_(1),
    "a fused step": fused_step,
    "one weight's data": lambda network: network[0].weight.data.view(-1)[5].add_(1e-3),
    "a kernel turned": lambda network: network[0].weight.data.copy_(network[0].weight.data.flip(-1)),
    "statistics": lambda network: network[1].running_mean.data.add_(1),
    "another tensor": lambda network: setattr(network[0].weight, "data", 2 * network[0].weight.data),
    "a state dict": lambda network: network.load_state_dict({key: value + 1 for key, value in network.state_dict().items()}),
    "a state dict's tensors": lambda network: network.load_state_dict({k: v + 1 for k, v in network.state_dict().items()}, assign=True),
}


@pytest.mark.parametrize("write", WRITES)
def test_a_program_is_kept_until_a_weight_changes(write):
    network = lively(nn.Sequential(nn.Conv2d(3, 2, 3), nn.BatchNorm2d(2)))
    image = torch.randn(1, 3, 12, 12, dtype=torch.float64)
    first = prepare(network, 12, 12)
    assert prepare(network, 12, 12) is first
    with torch.no_grad():
        WRITES[write](network)
    assert differs(network, image, band=4) < 1e-12
    assert prepare(network, 12, 12) is not first


def test_weights_that_share_memory_with_others():
    memory = torch.randn(1000)
    network = nn.Conv2d(3, 2, 3).eval()
    network.weight.data = memory[7:61].view(2, 3, 3, 3)
    first = prepare(network, 12, 12)
    assert prepare(network, 12, 12) is first
    memory[60] += 1
    assert prepare(network, 12, 12) is not first


def test_threads_may_share_a_model():
    """Some read its graph, each at a size of its own, while others run it."""
    model = create_model("fcn8s", backbone="resnet18", num_classes=3).eval()
    image = torch.zeros(1, 3, 64, 64)

    def run(index):
        if index % 2:
            return prepare(model, 64, 64 + index).passes, pass_bytes(model, 64, 64) is not None
        with torch.inference_mode():
            return [model.scores(image).isfinite().all() for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        assert all(map(all, pool.map(run, range(8))))


class Copied(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        x = self.conv(images)
        return x + x.clone().relu_()


def test_what_is_written_into_a_copy_leaves_its_source():
    torch.manual_seed(0)
    assert differs(lively(Copied()), torch.randn(1, 3, 21, 10, dtype=torch.float64), band=4) < 1e-12


class Remembering(nn.Module):
    """A network that keeps something between runs: what is done with it is ``keep(self, scores)``."""

    def __init__(self, keep):
        super().__init__()
        self.first, self.keep = nn.Conv2d(3, 4, 3), keep
        self.register_buffer("mean", torch.zeros(1, 4, 1, 1, dtype=torch.float64))
        self.tensor = torch.zeros((), dtype=torch.float64)

    def forward(self, x):
        return self.keep(self, self.first(x))


def counted(network, x):
    network.mean += 1
    return x


def assigned(network, x):
    network.mean = 0.9 * network.mean + x.mean((2, 3), keepdim=True)
    return x - network.mean


def copied(network, x):
    network.mean.copy_(0.9 * network.mean + x.mean((2, 3), keepdim=True))
    return x - network.mean


def replaced(network, x):
    network.tensor = network.tensor + 1
    return x * network.tensor


def kept(network, x):
    network.mean = x.mean((2, 3), keepdim=True)
    return x - network.mean


@pytest.mark.parametrize("keep", [lambda network, x: x + counted(network, network.mean), assigned, copied, replaced])
def test_a_result_that_depends_on_earlier_runs_is_refused_by_name(keep):
    network = lively(nn.Sequential(Remembering(keep)))
    with pytest.raises(
        NotStreamable, match=r"every run changes its buffer '0\.(mean|tensor)', and the result depends on it; change"
    ) as refused:
        differs(network, torch.rand(1, 3, 16, 12, dtype=torch.float64), band=8)
    assert refused.value.layer == "0"


@pytest.mark.parametrize("keep", [counted, kept])
def test_what_is_kept_and_not_read_again_changes_nothing(keep):
    assert differs(lively(Remembering(keep)), torch.rand(1, 3, 16, 12, dtype=torch.float64), band=8) < 1e-12
