"""The probe by itself: the traps that it must not fall into."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fcn.lessons.probe import Probe


def test_plain_gradients_under_report_and_the_probe_does_not() -> None:
    """ReLUs that are off, maxima elsewhere, weights that cancel."""
    network = nn.Sequential(nn.Conv1d(1, 2, 3), nn.ReLU(), nn.MaxPool1d(3, 1), nn.Conv1d(2, 1, 1))
    with torch.no_grad():
        network[0].weight.zero_()
        network[0].bias.fill_(-1.0)
    x = torch.zeros(1, 1, 12, requires_grad=True)
    (plain,) = torch.autograd.grad(network(x)[0, 0, 4], x)
    assert not plain.any()
    assert Probe(network, 12).interval((4,)) == ((4, 9),)


def test_exact_hits_of_the_bilinear_grid_are_not_over_reported() -> None:
    network = nn.Sequential(nn.Conv1d(1, 1, 1), nn.Upsample(scale_factor=3, mode="linear"))
    probe = Probe(network, 6)
    for method in ("gradient", "nan"):
        assert [probe.interval((cell,), method) for cell in (3, 4, 5)] == [((0, 2),), ((1, 2),), ((1, 3),)]  # type: ignore[arg-type]


def test_footprints_show_the_holes_of_dilation() -> None:
    probe = Probe(nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2)), 7)
    footprint = probe.footprint((1, 1))
    assert footprint.nonzero().tolist() == [[row, column] for row in (1, 3, 5) for column in (1, 3, 5)]


def test_a_cell_that_sees_nothing() -> None:
    assert Probe(nn.Sequential(nn.Conv2d(1, 1, 1, padding=1)), 5).interval((0, 3)) == (None, None)


def test_checkerboards_of_transposed_convolution_are_uneven_coverage() -> None:
    """Kernel 3, stride 2: cells see one and two inputs in turn; kernel 4 sees two everywhere (Odena et al. 2016)."""
    counts = {}
    for kernel in (3, 4):
        probe = Probe(nn.Sequential(nn.ConvTranspose1d(1, 1, kernel, 2, 1)), 12)
        counts[kernel] = [int(probe.footprint((cell,)).sum()) for cell in range(6, 12)]
    assert counts == {3: [1, 2, 1, 2, 1, 2], 4: [2] * 6}


def test_the_network_keeps_its_weights_and_mode() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    Probe(network, 8).footprint((1, 1))
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())
    assert network.training


def test_wrong_names_are_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="no layer or operation 'head'"):
        Probe(network, 8, layer="head")
    with pytest.raises(ValueError, match="no method 'count'; the methods are gradient and nan"):
        Probe(network, 8).footprint((0, 0), "count")  # type: ignore[arg-type]


def test_gates_and_products_are_dependences() -> None:
    class Product(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv1d(1, 1, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return x * F.avg_pool1d(self.conv(x), 3, 1, 1).sigmoid()

    assert Probe(Product(), 11).interval((5,)) == ((3, 8),)
