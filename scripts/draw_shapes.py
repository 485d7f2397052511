"""Writes pictures of the built-in data set as PNG files, to try `fcn predict` on: python scripts/draw_shapes.py FOLDER [COUNT]"""

import sys
from pathlib import Path

from PIL import Image

from fcn.data.shapes import shapes


def main(folder: str, count: str = "6") -> None:
    split = shapes("test", count=int(count))
    Path(folder).mkdir(parents=True, exist_ok=True)
    for index, name in enumerate(split.names):
        image, _ = split[index]
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(Path(folder) / f"{name}.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
