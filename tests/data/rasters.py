"""Small sets of images that are not RGB. Only the fourth channel of five tells field from water; the others are noise."""

from pathlib import Path

import numpy as np

from tests.data.folders import mask, text

SIZE = (48, 64)
NAMES = ("water", "field")


def labels(seed: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Blocks of 8 pixels, uint8 (H, W)."""
    blocks = np.random.default_rng(seed).integers(0, 2, (size[0] // 8, size[1] // 8), dtype=np.uint8)
    return blocks.repeat(8, 0).repeat(8, 1)


def bands(seed: int, channels: int = 5, dtype: str = "uint16", size: tuple[int, int] = SIZE) -> np.ndarray:
    """An image (H, W, C) of ``labels(seed)``. Values are a twentieth of what 16 bits hold; those of float32 lie around zero."""
    rng = np.random.default_rng(seed + 1000)
    values = rng.normal(1000, 100, (*size, channels))
    values[..., min(3, channels - 1)] += 600.0 * labels(seed, size)
    if dtype == "uint8":
        return (values / 8).clip(0, 255).astype(np.uint8)
    return values.astype(np.uint16) if dtype == "uint16" else ((values - 1300) / 1000).astype(np.float32)


def geotiff(path: Path, values: np.ndarray) -> None:
    """All bands in one file, with a place on earth: pixels of 10 m in UTM zone 32 N."""
    import tifffile

    path.parent.mkdir(parents=True, exist_ok=True)
    place = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 500000.0, 5400000.0, 0.0), True),
        (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32632), True),
    ]
    tifffile.imwrite(path, values, photometric="minisblack", planarconfig="contig", compression="zlib", extratags=place)


def array(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, values)


def folder(root: Path, *, count: int = 4, channels: int = 5, dtype: str = "uint16", suffix: str = ".tif") -> Path:
    """``images/train``, ``masks/train`` and so on, with ``classes.txt``."""
    for start, split in ((0, "train"), (100, "val")):
        for index in range(start, start + count):
            write = geotiff if suffix == ".tif" else array
            write(root / "images" / split / f"{index:03d}{suffix}", bands(index, channels, dtype))
            mask(root / "masks" / split / f"{index:03d}.png", labels(index))
    text(root / "classes.txt", "\n".join(NAMES))
    return root
