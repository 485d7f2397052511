"""The report for people and for programs: units and exact numbers, one value where axes agree, nothing wider than a terminal."""

import csv
import io
import json

import pytest
import torch
from torch import nn

from fcn.lessons.notation import parse_words
from fcn.models.compact import Compact
from fcn.tools.inspect.report import Report, inspect_layers, inspect_network
from fcn.tools.inspect.table import counted, layer_csv, layer_json, layer_markdown, layer_table


def of(text: str, size: tuple[int, int] = (224, 224)) -> Report:
    return inspect_layers(parse_words(text), size)


def cells(text: str, line: int) -> dict[str, str]:
    """One row of a Markdown table by the names of its columns."""
    rows = [[cell.strip() for cell in each.strip("|").split("|")] for each in text.splitlines()]
    return dict(zip(rows[0], rows[2 + line], strict=True))


@pytest.mark.parametrize(
    ("number", "words"),
    [(0, "0"), (760, "760"), (99_999, "99,999"), (100_000, "100 k"), (287_402, "287 k"), (999_499, "999 k"), (999_500, "1.00 M"),
     (9_994_999, "9.99 M"), (25_557_032, "25.6 M"), (4_089_184_256, "4.09 G"), (10**15, "1000 T")],
)  # fmt: skip
def test_large_numbers_have_units(number: int, words: str) -> None:
    assert counted(number) == words


def test_axes_are_told_apart_only_where_they_differ() -> None:
    text = layer_markdown(of("conv3 s2 p1, conv1x5 same, conv4 same, tconv4 s2 p1", (64, 48)))
    assert cells(text, 0) == {
        "layer": "conv3 s2 p1",
        "operation": "conv",
        "kernel": "3",
        "stride": "2",
        "dil": "1",
        "pad": "1",
        "input": "3x64x48",
        "output": "3x32x24",
        "field": "3",
        "jump": "2",
        "parameters": "84",
        "mult-adds": "62,208",
    }
    assert [cells(text, 1)[key] for key in ("kernel", "pad", "field")] == ["1x5", "0x2", "3x11"]
    assert cells(text, 2)["pad"] == "1,2"
    assert cells(text, 3)["stride"] == "1/2"


def test_columns_without_anything_are_left_out() -> None:
    assert "dil" not in layer_table(of("nearest2, bilinear2")).splitlines()[0]
    assert "dil" in layer_table(of("conv3")).splitlines()[0]


def test_the_output_is_described_below() -> None:
    last = layer_table(of("conv3 s2 p1, pool2 s2, conv3 d2")).splitlines()[-1]
    assert last == "output: field 21 pixels, jump 4, first cell centred on pixel 9, halo 1,16"
    report, _ = inspect_network(Compact(), 32)
    assert layer_table(report).splitlines()[-3:] == [
        "output: sees the whole image",
        "global (ignore_global=true goes on as if they were not there):",
        "  pool: pools all 4 x 4 cells to 1 x 1",
    ]
    ignoring, _ = inspect_network(Compact(), 32, ignore_global=True)
    assert "output: field 69 pixels, jump 8" in layer_table(ignoring)
    assert "global, and left out here:" in layer_table(ignoring)


def test_many_causes_are_counted() -> None:
    class Gates(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.gates = nn.ModuleList(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1)) for _ in range(9))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for gate in self.gates:
                x = x * gate(x)
            return x

    report, _ = inspect_network(Gates(), 16)
    lines = layer_table(report).splitlines()
    assert lines[-1] == "  and 4 more"
    assert len(report.causes) == 9
    assert len(json.loads(layer_json(report))["output"]["global"]) == 9


def test_csv_and_json_are_exact_and_agree() -> None:
    network = Compact()
    report, _ = inspect_network(network, 32)
    lines = list(csv.DictReader(io.StringIO(layer_csv(report))))
    content = json.loads(layer_json(report))
    total, aside, rows = lines[-1], lines[-2], lines[:-2]
    parameters = sum(tensor.numel() for tensor in network.parameters())
    assert int(total["parameters"]) == content["total"]["parameters"] == parameters
    assert sum(int(line["parameters"]) for line in [*rows, aside]) == parameters
    assert int(total["macs"]) == content["total"]["macs"] == report.macs
    assert (total["layer"], aside["layer"]) == ("total", "(aside)")
    for line, row in zip(rows, content["layers"], strict=True):
        assert line["layer"] == row["layer"]
        assert [line["field_height"], line["field_width"]] == ["" if size is None else str(size) for size in row["field"]]
        assert line["padding_width_after"] == ("" if row["padding"][1][1] is None else str(row["padding"][1][1]))
        assert int(line["macs"]) == row["macs"]
    assert content["output"]["global"] == {"pool": "pools all 4 x 4 cells to 1 x 1"}
    assert content["input_shape"] == [1, 3, 32, 32]


def test_halves_and_thirds_are_numbers_for_programs() -> None:
    rows = json.loads(layer_json(of("nearest2, bilinear3")))["layers"]
    assert [row["jump"] for row in rows] == [[0.5, 0.5], [pytest.approx(1 / 6)] * 2]


def test_sequences_have_one_axis() -> None:
    report, _ = inspect_network(nn.Sequential(nn.Conv1d(4, 4, 3, dilation=2), nn.ReLU()), 50)
    header = layer_csv(report).splitlines()[0].split(",")
    assert "kernel_length" in header
    assert "kernel_height" not in header
    assert "4x50" in layer_table(report)
