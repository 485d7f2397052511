"""The effective field: its mass, its place, its Gaussian shape, and its pictures."""

import numpy as np
import pytest
import torch
from torch import nn

from fcn.graph.effective import draw_fields, effective_field, effective_size, heat_map
from fcn.graph.receptive_field import receptive_field


def stack(depth: int) -> nn.Sequential:
    """3x3 convolutions with equal positive weights: the field is a power of a box, hence nearly Gaussian."""
    network = nn.Sequential(*(nn.Conv2d(1, 1, 3, padding=1, bias=False) for _ in range(depth)))
    for tensor in network.parameters():
        nn.init.constant_(tensor, 1 / 9)
    return network


def test_it_lies_inside_the_theoretical_field_and_sums_to_one() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3))
    field, fields = effective_field(network, (48, 40), samples=3), receptive_field(network, (48, 40))
    cell = tuple(size // 2 for size in fields.node.sizes)
    (top, bottom), (left, right) = fields.interval(cell)  # type: ignore[misc]
    assert field.shape == (48, 40)
    assert field.sum() == pytest.approx(1, abs=1e-5)
    assert field[top:bottom, left:right].sum() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("depth", [4, 9, 16])
def test_it_is_a_gaussian_whose_width_grows_with_the_root_of_depth(depth: int) -> None:
    """The variance of a box of 3 is 2 / 3 per layer (Luo et al. 2016, section 2)."""
    field = effective_field(stack(depth), 64, samples=1, cell=(32, 32)).double()
    position = torch.arange(64) - 32.0
    assert float((field.sum(1) * position**2).sum()) == pytest.approx(depth * 2 / 3, rel=1e-5)
    # counted in whole pixels on both sides, hence within two pixels
    assert effective_size(field)[0] == pytest.approx(2 * 2 * (depth * 2 / 3) ** 0.5, abs=2)


def test_layers_cells_images_and_modes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Dropout(0.5), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.train()
    corner = effective_field(network, [torch.ones(1, 3, 9, 9)], layer="0", cell=(0, 0))
    assert corner[:2, :2].sum() == pytest.approx(1, abs=1e-5)
    assert network[1].training
    assert all(tensor.grad is None for tensor in network.parameters())
    assert bool((effective_field(network, 9, samples=1) > 0).all())
    assert torch.equal(effective_field(network, 9, samples=2, seed=3), effective_field(network, 9, samples=2, seed=3))


def test_what_does_not_exist_is_refused() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3))
    with pytest.raises(ValueError, match="no layer 'head' in this network; layers at that depth are 0"):
        effective_field(network, 9, layer="head")
    with pytest.raises(ValueError, match=r"cell \(7, 0\) is outside the grid of 7 x 7 cells"):
        effective_field(network, 9, cell=(7, 0))
    with pytest.raises(ValueError, match="no inputs were given"):
        effective_field(network, [])


def test_pictures_show_the_field_where_it_is() -> None:
    field = torch.zeros(30, 40)
    field[10:20, 12:22] = 0.01
    colors = heat_map(field)
    assert (colors.shape, colors.dtype) == ((30, 40, 3), np.uint8)
    assert colors[15, 15].sum() > 2 * colors[0, 0].sum() + 100
    figure = draw_fields(np.full((30, 40, 3), 128, np.uint8), ((5, 25), (8, 28)), field, title="a cell")
    figure.canvas.draw()
    theoretical, effective = figure.axes[0].patches
    assert theoretical.get_bbox().bounds == (7.5, 4.5, 20, 20)  # type: ignore[attr-defined]
    assert effective.get_bbox().bounds == pytest.approx((11.5, 9.5, 10, 10), abs=1)  # type: ignore[attr-defined]
    with pytest.raises(ValueError, match="compute the field at the image's size"):
        draw_fields(np.zeros((10, 10, 3), np.uint8), ((0, 1), (0, 1)), field)
