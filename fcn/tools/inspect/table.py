"""The report of ``inspect`` in words and figures: for people (a table, Markdown) and for programs (CSV, JSON).

For people, axes that agree are said once, and large numbers have units. ``2x1`` is two along the height and one along the width; ``0,1``
is a padding of none before and one after. For programs everything is exact, and every axis has its own column.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from fcn.graph.receptive_field import tiles_sentence
from fcn.tools.inspect.report import Report, Row
from fcn.tools.tables import csv_table, markdown_table, text_table

HEADER = ("layer", "operation", "kernel", "stride", "dil", "pad", "input", "output", "field", "jump", "parameters", "mult-adds")
WIDTH, SHORTEST_NAME = 140, 16  # columns
MOST_CAUSES = 6
AXIS_NAMES = {1: ("length",), 2: ("height", "width"), 3: ("depth", "height", "width")}
UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))
EXACT_BELOW = 100_000


def layer_table(report: Report) -> str:
    """For a terminal of 140 columns, with the totals and what is to be said of the output below; long names lose their beginning."""
    header, rows, total = cells(report)
    excess = max(map(len, text_table(header, rows, total, left=2).splitlines())) - WIDTH
    if excess > 0:
        longest = max(max(len(row[0]) for row in rows) - excess, SHORTEST_NAME)
        rows = [[row[0] if len(row[0]) <= longest else f"...{row[0][3 - longest :]}", *row[1:]] for row in rows]
    return "\n".join([text_table(header, rows, total, left=2), "", *notes(report)])


def layer_markdown(report: Report) -> str:
    header, rows, total = cells(report)
    return "\n".join([markdown_table(header, rows, total, left=2), "", *(f"{note}  " for note in notes(report))])


def layer_csv(report: Report) -> str:
    """One line per row, then those without one as ``(aside)`` where there are any, then ``total``."""
    lines = [_record(row) for row in report.rows]
    if report.aside:
        lines.append({"layer": "(aside)", "parameters": report.aside_parameters, "macs": report.aside_macs})
    lines.append({"layer": "total", "parameters": report.parameters, "macs": report.macs})
    flat = [_flat(line, _axis_names(report)) for line in lines]
    header = list(flat[0]) if report.rows else ["layer", "parameters", "macs"]
    return csv_table(header, [[line.get(name) for name in header] for line in flat])


def layer_json(report: Report) -> str:
    output = {
        "field": [field.size if field else None for field in report.output],
        "jump": [_number(field.stride) if field else None for field in report.output],
        "offset": [_number(field.offset) if field else None for field in report.output],
        "halo": [list(field.halo) if field else None for field in report.output],
        "global": report.causes,
        "global_ignored": report.ignored,
    }
    content = {
        "input_shape": list(report.input_shape),
        "axes": list(_axis_names(report)),
        "output": output,
        "total": {"parameters": report.parameters, "macs": report.macs},
        "aside": {"operations": report.aside, "parameters": report.aside_parameters, "macs": report.aside_macs},
    }
    lines = [f'"{key}": {json.dumps(value)}' for key, value in content.items()]
    rows = ",\n  ".join(json.dumps(_record(row)) for row in report.rows)
    return "{\n" + ",\n".join([*lines, f'"layers": [\n  {rows}\n]']) + "\n}"


FORMATS: dict[str, Callable[[Report], str]] = {"table": layer_table, "markdown": layer_markdown, "csv": layer_csv, "json": layer_json}
SUFFIXES = {"table": "txt", "markdown": "md", "csv": "csv", "json": "json"}


def notes(report: Report) -> list[str]:
    """What is said below a table: the output's field, and which layers are global."""
    fields = [field for field in report.output if field is not None]
    if len(fields) < len(report.output):
        found = ["output: sees the whole image"]
    else:
        size, jump, offset = (axes(getattr(field, name) for field in fields) for name in ("size", "stride", "offset"))
        halo = axes(pair(field.halo) for field in fields)
        bound = "at most " if any(field.bounded for field in fields) else ""
        found = [f"output: field {bound}{size} pixels, jump {jump}, first cell centred on pixel {offset}, halo {halo}"]
    if report.tiles is not None:
        found.append(tiles_sentence(report.tiles, report.sides))
    if report.causes:
        found.append("global, and left out here:" if report.ignored else "global (ignore_global=true goes on as if they were not there):")
        lines = [f"  {layer}: {reason}" for layer, reason in report.causes.items()]
        found += lines if len(lines) <= MOST_CAUSES else [*lines[: MOST_CAUSES - 1], f"  and {len(lines) - MOST_CAUSES + 1} more"]
    return found


def axes(values: Iterable[object]) -> str:
    """One value per axis: said once where they agree, else with ``x`` between; nothing where there is none."""
    shown = ["" if value is None else str(value) for value in values]
    return shown[0] if len(set(shown)) == 1 else "x".join(shown)


def pair(values: tuple[int, int] | None) -> str | None:
    """Before and after: said once where they agree."""
    return None if values is None else str(values[0]) if values[0] == values[1] else f"{values[0]},{values[1]}"


def counted(number: int) -> str:
    """A number of things: exact below 100,000, else three figures and a unit."""
    if number < EXACT_BELOW:
        return f"{number:,}"
    unit, letter = next((unit, letter) for unit, letter in UNITS if number >= 0.9995 * unit)
    share = number / unit
    return f"{share:.{0 if share >= 99.95 else 1 if share >= 9.995 else 2}f} {letter}"


def cells(report: Report) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, rows and total as text; columns in which nothing stands are left out."""
    rows = [_words(row) for row in report.rows]
    if report.aside:
        blank = [""] * (len(HEADER) - 4)
        rows.append(
            [f"({report.aside} other{'s' * (report.aside > 1)})", "", *blank, counted(report.aside_parameters), counted(report.aside_macs)]
        )
    total = ["total", *[""] * (len(HEADER) - 3), counted(report.parameters), counted(report.macs)]
    kept = [column for column in range(len(HEADER)) if column in (0, len(HEADER) - 2, len(HEADER) - 1) or any(row[column] for row in rows)]
    return [HEADER[column] for column in kept], [[row[column] for column in kept] for row in rows], [total[column] for column in kept]


def _words(row: Row) -> list[str]:
    field = "all" if None in row.field else axes(row.field)
    return [
        row.layer,
        row.operation,
        "all" if row.cause and row.operation.endswith("pool") else axes(row.kernel),
        axes(row.stride),
        axes(row.dilation),
        axes(pair(padding) for padding in row.padding),
        _shape(row.channels[0], row.inputs),
        _shape(row.channels[1], row.outputs),
        f"<={field}" if row.is_bound else field,
        axes(row.jump),
        counted(row.parameters) if row.parameters else "",
        counted(row.macs) if row.macs else "",
    ]


def _shape(channels: int, sizes: Sequence[int]) -> str:
    return "x".join(map(str, (channels, *sizes)))


def _axis_names(report: Report) -> tuple[str, ...]:
    return AXIS_NAMES[len(report.input_shape) - 2]


def _record(row: Row) -> dict[str, Any]:
    """A row in plain numbers: lists have one entry per axis, those of ``padding`` before and after."""
    return {
        "layer": row.layer,
        "operation": row.operation,
        "kernel": list(row.kernel),
        "stride": [_number(value) for value in row.stride],
        "dilation": list(row.dilation),
        "padding": [list(value) if value else [None, None] for value in row.padding],
        "in_channels": row.channels[0],
        "input": list(row.inputs),
        "out_channels": row.channels[1],
        "output": list(row.outputs),
        "field": list(row.field),
        "jump": [_number(value) for value in row.jump],
        "is_bound": row.is_bound,
        "parameters": row.parameters,
        "macs": row.macs,
        "global": row.cause,
    }


def _number(value: Fraction | None) -> int | float | None:
    return None if value is None else int(value) if value.denominator == 1 else float(value)


def _flat(record: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Lists as columns of their own, named after the axes."""
    flat: dict[str, Any] = {}
    for key, value in record.items():
        if not isinstance(value, list):
            flat[key] = str(value).lower() if isinstance(value, bool) else value
            continue
        for name, part in zip(names, value, strict=True):
            if isinstance(part, list):
                flat |= {f"{key}_{name}_before": part[0], f"{key}_{name}_after": part[1]}
            else:
                flat[f"{key}_{name}"] = part
    return flat
