"""What each choice of ``fcn export int8=true`` costs on a real network: the table of docs/export.md.

    python scripts/int8_choices.py file=exported/model.onnx root=DIR [data=camvid] [calibrate=64]

The file is what ``fcn export`` wrote of a trained network. Each row is that file in int8 with one choice made differently: its mean IoU on
the validation split, the pixels whose labels stay equal, and the time and size beside the float file, all through onnxruntime.
"""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from torch import Tensor

import fcn
from fcn.data.split import spread
from fcn.tools.export.cost import int8_cost
from fcn.tools.export.int8 import CONV, float_nodes, write_int8
from fcn.tools.scripts import given_settings
from fcn.tools.tables import markdown_table

DEFAULTS = {"file": "", "root": "", "data": "camvid", "calibrate": "64"}


def choices(graph: Any) -> dict[str, dict[str, Any]]:
    """Settings of ``quantize_static`` by what is other than in ``fcn export``."""
    convolutions = [node for node in graph.node if node.op_type == CONV]
    stay = float_nodes(graph)
    depthwise = [node.name for node in convolutions if any(part.name == "group" and part.i > 1 for part in node.attribute)]
    return {
        "as `fcn export`": {},
        "weights of 8 bits": {"reduce_range": False},
        "no layer stays float": {"nodes_to_exclude": []},
        "depthwise convolutions float too": {"nodes_to_exclude": [*stay, *depthwise]},
        "convolutions alone": {"op_types_to_quantize": [CONV]},
        "one scale for all channels": {"per_channel": False},
    }


def main(words: list[str]) -> None:
    settings = given_settings(words, DEFAULTS)
    source, count = Path(settings["file"]), int(settings["calibrate"])
    training, validation = (fcn.create_split(settings["data"], split, root=settings["root"]) for split in ("train", "val"))
    places = spread(range(len(training)), count)

    def pictures() -> Iterator[Tensor]:
        for place in places:
            yield training[place][0][None]

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, other in choices(onnx.load(str(source)).graph).items():
            target = Path(folder) / "model.int8.onnx"
            write_int8(source, target, pictures(), **other)
            cost = int8_cost(source, target, validation, validation[0][0][None], None, len(places), least=0)
            shown = [f"{100 * cost.miou:.2f}", f"{-100 * cost.loss:+.2f}", f"{100 * cost.agreement:.2f} %", f"{cost.time:.2f}"]
            rows.append([name, *shown, f"{cost.bytes / 2**20:.1f}"])
            print(*rows[-1], sep="  ", flush=True)
    print(f"\nfloat: {100 * cost.miou_float:.2f}, {cost.bytes_float / 2**20:.1f} MiB\n")
    print(markdown_table(["int8", "mIoU", "to float", "equal labels", "time, float 1", "MiB"], rows))


if __name__ == "__main__":
    main(sys.argv[1:])
