"""The undamaged files, each in a folder of its own with what it needs beside it, and how it is read. All are made here, none is large."""

import shutil
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from tests.faults import readers
from tests.faults.formats import PASSES

TRAIN = (
    "train",
    "model=fcn8s",
    "backbone=compact",
    "data=shapes",
    "data.train_count=8",
    "data.val_count=2",
    "epochs=2",
    "batch_size=2",
    "augment.crop_size=32",
    "optim.lr=0.01",
    "workers=0",
    "device=cpu",
    "precision=fp32",
)
SIZE = (40, 28)  # width, height


@dataclass(frozen=True)
class Subject:
    """kind: the row of the table. form: how it is stored, see ``unseen.py``. file: its name. count: how often it is damaged."""

    kind: str
    form: str
    file: str
    read: Callable[[Path], Any]
    count: int


def pictures(kind: str, read: Callable[[Path], Any], count: int, *names: str) -> dict[str, Subject]:
    forms = {"jpg": "jpeg", "tif": "tiff"}
    suffixes = {name: name.split("-")[-1] for name in names}
    return {name: Subject(kind, forms.get(suffix, suffix), f"picture.{suffix}", read, count) for name, suffix in suffixes.items()}


SUBJECTS: dict[str, Subject] = {
    **pictures("image", readers.image, 22, "baseline-jpg", "progressive-jpg", "gray-jpg", "cmyk-jpg"),
    **pictures("image", readers.image, 22, "rgb-png", "rgba-png", "palette-png", "gray-png", "16bit-png", "interlaced-png"),
    **pictures("image", readers.image, 22, "raw-tif", "lzw-tif", "deflate-tif", "rgb-bmp", "lossy-webp", "lossless-webp", "gif"),
    **pictures("label map", readers.label_map, 45, "mask-png", "graymask-png", "mask-tif", "mask-bmp"),
    "classes": Subject("list", "classes", "classes.txt", readers.classes, 70),
    "split": Subject("list", "split", "train.txt", readers.split_list, 50),
    "config": Subject("configuration", "yaml", "config.yaml", readers.configuration, 120),
    "best": Subject("checkpoint", "zip", "best.pt", readers.model, 100),
    "last": Subject("checkpoint", "zip", "last.pt", readers.checkpoint, 36),
    "state": Subject("checkpoint", "zip", "state.pth", readers.state_dict, 34),
    "safetensors": Subject("checkpoint", "safetensors", "state.safetensors", readers.state_dict, 36),
}


def photo() -> Image.Image:
    """Soft shapes and some noise, the same each time."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    planes = [128 + 100 * np.sin(x / 5 + turn) * np.cos(y / 7 - turn) + rng.normal(0, 6, x.shape) for turn in (0, 1, 2)]
    return Image.fromarray(np.stack(planes, 2).clip(0, 255).astype(np.uint8))


def mask() -> Image.Image:
    """Class indices 0 to 6 and void, in patches."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    values = ((x // 9 + 2 * (y // 8)) % 7).astype(np.uint8)
    values[:, 20] = 255
    return Image.fromarray(values)


def save_pictures(folder: Path) -> None:
    """All images and label maps."""
    rgb, values = photo(), mask()
    alpha = Image.fromarray(np.linspace(0, 255, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]).astype(np.uint8))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    indexed = values.copy()
    indexed.putpalette(bytes(range(256)) * 3)
    made: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        "baseline-jpg": (rgb, {"quality": 80}),
        "progressive-jpg": (rgb, {"quality": 80, "progressive": True}),
        "gray-jpg": (rgb.convert("L"), {}),
        "cmyk-jpg": (rgb.convert("CMYK"), {}),
        "rgb-png": (rgb, {}),
        "rgba-png": (rgba, {}),
        "palette-png": (rgb.quantize(32), {}),
        "gray-png": (rgb.convert("L"), {}),
        "16bit-png": (Image.fromarray(np.asarray(rgb.convert("L")).astype(np.uint16) * 257), {}),
        "raw-tif": (rgb, {"compression": "raw"}),
        "lzw-tif": (rgb, {"compression": "tiff_lzw"}),
        "deflate-tif": (rgb, {"compression": "tiff_adobe_deflate"}),
        "rgb-bmp": (rgb, {}),
        "lossy-webp": (rgb, {"quality": 80}),
        "lossless-webp": (rgb, {"lossless": True}),
        "gif": (rgb.quantize(32), {}),
        "mask-png": (indexed, {}),
        "graymask-png": (values, {}),
        "mask-tif": (values, {"compression": "raw"}),
        "mask-bmp": (values, {}),
    }
    for name, (picture, options) in made.items():
        path = folder / name / SUBJECTS[name].file
        path.parent.mkdir(parents=True)
        picture.save(path, **options)
    (folder / "interlaced-png").mkdir()
    (folder / "interlaced-png" / "picture.png").write_bytes(interlaced(np.asarray(rgb)))


def interlaced(pixels: np.ndarray) -> bytes:
    """An RGB picture as an interlaced PNG, which Pillow reads and does not write."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = [line for row, column, down, across in PASSES for line in pixels[row::down, column::across]]
    height, width, _ = pixels.shape
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)),
            chunk(b"IDAT", zlib.compress(b"".join(b"\0" + line.tobytes() for line in rows if len(line)))),
            chunk(b"IEND", b""),
        )
    )


def save_data(folder: Path) -> None:
    """A data folder of six images with label maps, ``classes.txt`` and two lists."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(6):
        photo().rotate(15 * number).save(folder / "images" / f"street{number}.png")
        mask().rotate(90 * (number % 2), expand=False).save(folder / "masks" / f"street{number}.png")
    (folder / "classes.txt").write_text("ground\nroad\nhouse #ff8000\n# all that grows\ntree\nriver\nlamp post\nsky # and clouds\n")
    (folder / "train.txt").write_text("street0\nstreet1\nstreet2\nstreet3\n")
    (folder / "val.txt").write_text("street4\nstreet5\n")


def save_subjects(folder: Path, run: Path) -> None:
    """Every subject at ``folder/NAME/FILE``. run: the folder of a finished training."""
    save_pictures(folder)
    for name in ("classes", "split"):
        save_data(folder / name)
    for name in ("config", "best", "last"):
        (folder / name).mkdir()
        shutil.copy(run / SUBJECTS[name].file, folder / name)
    for name in ("state", "safetensors"):
        (folder / name).mkdir()
    weights = readers.small_network().state_dict()
    torch.save(weights, folder / "state" / "state.pth")
    save_file(weights, folder / "safetensors" / "state.safetensors")
