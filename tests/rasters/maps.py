"""Label maps and places for tests of writers."""

import numpy as np

from fcn.core.labels import LabelSet
from fcn.rasters.raster import Georeference

LABELS = LabelSet(("ground", "road & <rail>", "water"))


def label_map(height, width, seed=0, cell=37):
    """Regions of about ``cell`` pixels a side with ragged edges, some of them void."""
    rng = np.random.default_rng(seed)
    coarse = rng.choice(np.array([0, 1, 2, 255], np.uint8), (height // cell + 2, width // cell + 2), p=[0.4, 0.3, 0.2, 0.1])
    y, x = (np.arange(side)[:, None] if axis == 0 else np.arange(side)[None] for axis, side in enumerate((height, width)))
    return coarse[(y + rng.integers(0, 9, (1, width))) // cell, (x + rng.integers(0, 9, (height, 1))) // cell]


def bands(whole, rows=512):
    return [whole[top : top + rows] for top in range(0, len(whole), rows)]


def utm():
    from rasterio.crs import CRS

    return Georeference(CRS.from_epsg(32633).to_wkt(), (10.0, 0.0, 500000.0, 0.0, -10.0, 4600000.0))
