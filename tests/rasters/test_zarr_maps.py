"""Label maps as zarr."""

import numpy as np
import pytest

from fcn.rasters.zarr_maps import save_zarr
from tests.rasters.maps import LABELS, bands, label_map, utm

zarr = pytest.importorskip("zarr")


def test_zarr_finds_the_map_its_copies_and_what_they_mean(tmp_path):
    whole, place = label_map(1100, 530), utm()
    save_zarr(bands(whole), *whole.shape, tmp_path / "labels.zarr", label_set=LABELS, georeference=place)
    group = zarr.open_group(str(tmp_path / "labels.zarr"), mode="r")
    assert (group["0"][:] == whole).all()
    assert [group[name].shape for name in ("0", "1", "2")] == [(1100, 530), (550, 265), (275, 133)]
    assert group.attrs["classes"] == list(LABELS.names)
    assert (group.attrs["crs"], tuple(group.attrs["transform"]), group.attrs["void"]) == (place.crs, place.transform, 255)
    assert np.isin(group["1"][:], whole).all()
    assert [path.name for path in tmp_path.iterdir()] == ["labels.zarr"]


def test_what_fails_leaves_nothing(tmp_path):
    def broken():
        yield np.zeros((512, 20), np.uint8)
        raise RuntimeError("cut")

    with pytest.raises(RuntimeError):
        save_zarr(broken(), 1000, 20, tmp_path / "labels.zarr", label_set=LABELS)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "there.zarr").mkdir()
    (tmp_path / "there.zarr" / "x").touch()
    with pytest.raises(OSError, match="a folder of that name holds something already"):
        save_zarr([np.zeros((9, 9), np.uint8)], 9, 9, tmp_path / "there.zarr", label_set=LABELS)
