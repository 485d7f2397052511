"""A program as one ONNX file, by torch's exporter."""

import io
import warnings
from collections.abc import Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.graph.trace import quiet
from fcn.models.onnx_model import INSTALL

IMAGES = "images"  # name of the input
LARGEST = 2**31 - 1  # bytes of a file of one piece


def need_onnx() -> None:
    """Raises UserError where a package that the export needs is missing."""
    for name in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(name)
        except ModuleNotFoundError as error:
            raise UserError(f"format=onnx needs {name}, which is not installed; install it with: {INSTALL}") from error


def write_onnx(program: ExportedProgram, path: Path, output: str, entries: Mapping[str, str]) -> None:
    """Write a program as an ONNX file of one piece.

    output: name of its output. entries: of its metadata.

    Raises UserError for a program that ONNX cannot hold.
    """
    import onnx

    try:
        with quiet(), redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[IMAGES], output_names=[output])
        assert found is not None
        proto = found.model_proto
    except Exception as error:  # whatever the exporter meets
        raise UserError(f"the model cannot be written as ONNX ({first_line(error)}); use format=torch, or another model") from error
    if proto.ByteSize() > LARGEST:
        raise UserError(f"the model takes {proto.ByteSize() / 2**30:.1f} GiB, and one ONNX file holds up to 2; use format=torch")
    name_sizes(proto.graph)
    onnx.helper.set_model_props(proto, dict(entries))
    proto.producer_name = "fcn-toolkit"
    onnx.save(proto, str(path))


def name_sizes(graph: Any) -> None:
    """Give the open sizes of the input and the output names for people. Those of inner maps go: they are formulas of the old names."""
    for value in (graph.input[0], graph.output[0]):
        sizes = value.type.tensor_type.shape.dim
        for place, name in ((0, "batch"), (-2, "height"), (-1, "width")):
            if not sizes[place].HasField("dim_value"):
                sizes[place].dim_param = name
    del graph.value_info[:]
