import pytest
import torch
from scipy import ndimage

from fcn.core.labels import VOID
from fcn.training.boundary import band, band_confusion, boundary_counts, boundary_width


@pytest.fixture
def maps():
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randint(0, 4, (2, 1, 6, 8), generator=generator).float()
    fine = torch.nn.functional.interpolate(coarse, scale_factor=9.0)[:, 0].to(torch.uint8)
    truth, prediction = fine[0], fine[1].roll(2, 0)
    prediction[:20] = truth[:20]
    truth[30:34, 10:40] = VOID
    return truth, prediction


@pytest.mark.parametrize("width", [1, 2, 5])
def test_boundary_counts_equal_erosion(maps, width):
    """The paper's definition class by class: a mask less its erosion, the outside counted as not belonging to it."""
    truth, prediction = maps
    counted = boundary_counts(truth, prediction, 4, width)
    prediction = torch.where(truth == VOID, truth, prediction)
    square = torch.ones(3, 3).numpy()
    for index in range(4):
        rings = []
        for labels in (truth, prediction):
            mask = (labels == index).numpy()
            rings.append(mask & ~ndimage.binary_erosion(mask, square, iterations=width, border_value=0))
        assert counted[:, index].tolist() == [(rings[0] & rings[1]).sum(), (rings[0] | rings[1]).sum()]


def test_a_right_map_scores_one_and_a_moved_edge_less(maps):
    truth, _ = maps
    both, either = boundary_counts(truth, truth, 4, 3)
    assert torch.equal(both, either)
    both, either = boundary_counts(truth, truth.roll(1, 1), 4, 3)
    assert (both < either).all()


def test_band_confusion_leaves_out_what_is_far_from_edges(maps):
    truth, prediction = maps
    inside = band(truth, 2)
    assert band_confusion(truth, prediction, 4, 2).sum() == (inside & (truth != VOID)).sum()
    assert band_confusion(torch.ones(9, 9, dtype=torch.uint8), torch.zeros(9, 9, dtype=torch.uint8), 4, 2).sum() == 0
    square = torch.zeros(20, 20, dtype=torch.uint8)
    square[8:12, 8:12] = 1
    assert band(square, 1).sum() == 6 * 6 - 2 * 2


def test_width_is_a_share_of_the_diagonal():
    assert boundary_width(300, 400) == 10
    assert boundary_width(3, 4) == 1
