"""The square of a mask where most happens."""

import pytest
import torch
from torch.nn import functional as F

from fcn.tools.crops import busiest


@pytest.mark.parametrize(
    ("places", "side", "expected"),
    [
        ([(2, 5), (4, 7)], 3, (2, 5, 2 / 9)),
        ([(2, 5), (4, 7), (0, 0), (0, 1), (1, 0)], 3, (0, 0, 3 / 9)),
        ([(5, 8)], 3, (3, 6, 1 / 9)),
        ([(1, 1), (4, 6)], 1, (1, 1, 1)),
        ([], 3, (0, 0, 0)),
        ([(3, 4)], 6, (0, 0, 1 / 36)),
    ],
)
def test_the_busiest_square_is_the_first_of_the_fullest(places, side, expected):
    mask = torch.zeros(6, 9, dtype=torch.bool)
    for place in places:
        mask[place] = True
    assert busiest(mask, side) == pytest.approx(expected)


def test_the_busiest_square_has_the_largest_mean_of_all():
    mask = torch.rand(40, 57, generator=torch.Generator().manual_seed(0)) < 0.3
    for side in (1, 7, 40):
        means = F.avg_pool2d(mask[None, None].double(), side, stride=1)[0, 0]
        top, left, share = busiest(mask, side)
        assert share == pytest.approx(means.max().item())
        assert means[top, left] == means.max()
