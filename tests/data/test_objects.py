"""Connected regions against SciPy's labelling."""

import numpy as np
import pytest
import torch

from fcn.core.labels import VOID
from fcn.data.objects import region_sizes


@pytest.mark.parametrize("seed", range(40))
def test_regions_are_those_of_scipy(seed: int) -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    random = np.random.default_rng(seed)
    grid = random.integers(0, random.integers(1, 5), random.integers(1, 25, 2)).astype(np.uint8).repeat(1 + seed % 3, 0)
    grid[random.random(grid.shape) < 0.1 * (seed % 2)] = VOID
    found = region_sizes(torch.from_numpy(grid), 255)
    assert found.keys() == set(np.unique(grid).tolist()) - {VOID}
    for index, sizes in found.items():
        regions, _ = ndimage.label(grid == index, np.ones((3, 3)))
        assert sorted(sizes.tolist()) == sorted(np.bincount(regions.ravel())[1:].tolist())
