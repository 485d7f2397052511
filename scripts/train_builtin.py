"""Trains the network that comes with the package, ``checkpoint=builtin``, on the built-in pictures, and writes it in half precision.

python scripts/train_builtin.py [run=outputs/builtin] [folder=fcn/models/builtin] [epochs=10]
"""

import sys
from pathlib import Path

from fcn.cli.main import run as fcn
from fcn.models.pretrained_folder import write_folder
from fcn.tools.scripts import given_settings
from fcn.training.checkpoint import read_checkpoint

DEFAULTS = {"run": "outputs/builtin", "folder": "fcn/models/builtin", "epochs": "10"}


def main(words: list[str]) -> None:
    given = given_settings(words, DEFAULTS)
    status = fcn(["train", "model=fcn4s", "backbone=compact", "ema=0.99", f"epochs={given['epochs']}", f"output={given['run']}"])
    if status:
        raise SystemExit(status)
    state = read_checkpoint(Path(given["run"], "best.pt"))
    weights = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state["weights"].items()}
    write_folder({**state, "weights": weights}, given["folder"])
    size = sum(path.stat().st_size for path in Path(given["folder"]).iterdir())
    print(f"{given['folder']}: {size / 1e6:.2f} MB, mIoU {100 * state['miou']:.1f} on the validation split before rounding")


if __name__ == "__main__":
    main(sys.argv[1:])
