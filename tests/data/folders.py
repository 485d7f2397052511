"""Small folders as tools export them, and the check that what was painted is what is read."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from fcn.data.split import Split

MAP = np.array([[0, 0, 1, 1], [0, 2, 2, 1], [0, 2, 2, 255]], np.uint8)  # class indices and void, which every format below must give back


def image(path: Path, size: tuple[int, int] = (4, 3)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "gray").save(path)


def mask(path: Path, values: np.ndarray = MAP, palette: list[int] | None = None) -> None:
    """``values``: indices (H, W), or colours (H, W, 3) or (H, W, 4)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(values.astype(np.uint8))
    if palette:
        picture = picture.convert("P") if picture.mode != "L" else picture
        picture.putpalette(palette)
    picture.save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


def painted(colors: dict[int, tuple[int, ...]], values: np.ndarray = MAP) -> np.ndarray:
    """The map in colours."""
    return np.array([[colors[value] for value in row] for row in values.tolist()], np.uint8)


def check(split: Split, names: str, values: np.ndarray = MAP) -> None:
    assert list(split.names) == names.split()
    for index in range(len(split)):
        picture, labels = split[index]
        assert picture.shape == (3, *values.shape)
        assert torch.equal(labels, torch.from_numpy(values)), split.names[index]
        assert torch.equal(labels, split.truth(index))
