"""One network, images of many sizes: the program of each size is right, and few exports make them."""

import pytest
import torch
from torch import nn

from fcn.inference.kept import unchanged
from fcn.inference.stream import prepare
from tests.graph.test_sizes import Branches, Plain
from tests.inference.stream.compare import differs, lively

SIZES = [(64, 70), (65, 70), (30, 40), (47, 81)]


@pytest.fixture
def exports(monkeypatch):
    """Counts them."""
    made, export = [], torch.export.export
    monkeypatch.setattr(torch.export, "export", lambda *given, **named: made.append(1) or export(*given, **named))
    return made


def wrong(network: nn.Module, size: tuple[int, int]) -> bool:
    return differs(network, torch.randn(1, 3, *size, dtype=torch.float64), band=7) > 1e-12


@pytest.mark.parametrize(("network", "many", "count"), [(Plain, True, 1), (Branches, False, 3)])
def test_each_size_has_its_own_result(network, many, count, exports):
    network = lively(network())
    with unchanged(network, many=many):
        assert not any(wrong(network, size) for size in SIZES)
    assert len(exports) == count


def test_a_decision_that_is_changed_shows_at_the_size_that_it_is_about():
    network = lively(Branches())
    assert not any(wrong(network, size) for size in ((64, 70), (65, 70)))
    network.limit = 60
    assert not wrong(network, (59, 70))


@pytest.mark.parametrize(("size", "limit"), [((30, 40), 20), ((50, 70), 60)])
def test_a_decision_that_is_changed_shows_at_a_size_that_was_met_before(size, limit, exports):
    """The network does the same as before at the size that came first."""
    network = lively(Branches())
    assert not any(wrong(network, each) for each in ((64, 70), size))
    before = prepare(network, *size)
    assert prepare(network, *size) is before
    count = len(exports)
    network.limit = limit
    assert not wrong(network, size)
    assert len(exports) > count


def test_folded_weights_are_those_of_every_size_until_they_change(exports):
    network = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()))
    assert not any(wrong(network, size) for size in SIZES)
    assert len(exports) == 2  # the first size alone, the second for all
    assert all([each.op for each in prepare(network, *size).program.instructions.values()][1:] == ["conv2d", "relu"] for size in SIZES)
    with torch.no_grad():
        network[1].weight *= 2
    assert not any(wrong(network, size) for size in SIZES[:2])
