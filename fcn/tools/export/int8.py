"""An ONNX file in int8: static, calibrated on pictures, weights with a scale for each channel, in QDQ form.

From the first convolution on, layers become int8, activations too: where one clips (ReLU6), the range is then the clipped one. Three parts
stay float: the normalisation, the convolutions that make the scores, and what is behind them. There scores are only up-sampled and added.
In int8, that would round them and save little time. docs/export.md has figures.

Activations are uint8 and weights int8. Weights take 7 of their 8 bits: without VNNI, processors of Intel and AMD add products of 8 bits in
16, and a file would give other labels there than where it was verified.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.graph.trace import quiet
from fcn.tools.export.onnx_file import IMAGES

CONV = "Conv"


def write_int8(source: Path, target: Path, images: Iterable[Tensor], **other: Any) -> None:
    """Write the int8 file of a float one, with its metadata.

    images: batches (N, C, H, W) of pictures, on which the range of each layer is measured. other: settings of onnxruntime's
    ``quantize_static`` in place of ours, for ``scripts/int8_choices.py``.

    Raises UserError for a model without layers that can become int8, and for one that onnxruntime cannot quantise.
    """
    import onnx
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    network = onnx.load(str(source))
    settings: dict[str, Any] = {
        "quant_format": QuantFormat.QDQ,
        "per_channel": True,
        "reduce_range": True,
        "activation_type": QuantType.QUInt8,
        "weight_type": QuantType.QInt8,
        "nodes_to_exclude": float_nodes(network.graph),
    }
    try:
        with quiet(), no_advice():
            quantize_static(str(source), str(target), calibration_reader(images), **(settings | other))
    except UserError:
        raise
    except Exception as error:  # whatever its rules meet
        raise UserError(f"the model cannot be written in int8 ({first_line(error)}); leave int8 out") from error
    made = onnx.load(str(target))
    if not any(node.op_type == "QuantizeLinear" for node in made.graph.node):
        raise UserError("the model has no convolution before the ones that make the scores, which stay float; leave int8 out")
    onnx.helper.set_model_props(made, {entry.key: entry.value for entry in network.metadata_props})
    made.producer_name = network.producer_name
    onnx.save(made, str(target))


def float_nodes(graph: Any) -> list[str]:
    """Names of the nodes that stay float: those before the first convolution, the convolutions that make the scores, those behind."""
    makers = {output: node for node in graph.node for output in node.output}

    def sources(node: Any) -> Iterator[Any]:
        return (makers[name] for name in node.input if name in makers)

    behind: dict[str, Any] = {}  # by name, from the output upwards to the nearest convolutions
    waiting = [makers[graph.output[0].name]]
    while waiting:
        node = waiting.pop()
        if node.name not in behind:
            behind[node.name] = node
            waiting += () if node.op_type == CONV else sources(node)
    first = next((node for node in graph.node if node.op_type == CONV), None)  # nodes are in the order of their computation
    before: dict[str, Any] = {}
    waiting = [] if first is None else list(sources(first))
    while waiting:
        node = waiting.pop()
        if node.name not in before:
            before[node.name] = node
            waiting += sources(node)
    return list(before | behind)


def calibration_reader(images: Iterable[Tensor]) -> Any:
    """The pictures in the form that onnxruntime reads them in."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, NDArray[np.float32]] | None:
            batch = next(self.left, None)
            return None if batch is None else {IMAGES: batch.float().numpy()}

    return Reader()


@contextmanager
def no_advice() -> Iterator[None]:
    """Without what onnxruntime says of its own work. It speaks through the root logger, and would set up logging for the whole program."""
    root, handler = logging.getLogger(), logging.NullHandler()

    def silent(record: logging.LogRecord) -> bool:
        return False  # of what is said to the root itself; what other loggers hand up does not pass here

    root.addHandler(handler)
    root.addFilter(silent)
    try:
        yield
    finally:
        root.removeFilter(silent)
        root.removeHandler(handler)
