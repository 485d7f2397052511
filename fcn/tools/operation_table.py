"""The table of ``docs/operations.md``: aten's operations, and what is known of each, from the entries of ``fcn.graph.ops``."""

from functools import partial
from typing import Any

from fcn.graph.ops import TABLE, Operation, pointwise
from fcn.graph.ops.statistics import LogSum, Moments
from fcn.tools.tables import markdown_table

HEADER = ("operation", "block of cells", "statistic", "multiply-adds", "a number depends on", "linear", "may alias")

NAMES = {Moments: "mean and variance", LogSum: "sum of exponentials"}


def operation_table() -> str:
    """Markdown, one part for each file of ``fcn/graph/ops``, one line for the operations that share an entry."""
    entries: dict[Operation, list[str]] = {pointwise.NUMBER: ["what torch tags as pointwise"]}
    for name, entry in TABLE.items():
        entries.setdefault(entry, []).append(f"`{name}`")
    families: dict[str, list[tuple[str, ...]]] = {}
    for entry, names in entries.items():
        families.setdefault(str(entry.maps and entry.maps.__module__.rpartition(".")[2]), []).append((", ".join(names), *_facets(entry)))
    return "\n\n".join(f"### {family}\n{markdown_table(HEADER, rows, left=len(HEADER))}" for family, rows in sorted(families.items()))


def _facets(entry: Operation) -> tuple[str, ...]:
    block = "its source" if entry.cuts else "yes" if entry.block else ""
    return (
        block
        + (", of both results" if entry.second else "")
        + (", or its source" if entry.moves else "")
        + (", or folded" if entry.affine else ""),
        _statistic(entry.gather),
        "yes" if entry.macs else "",
        {"number": "the numbers in its place", "cell": "its cell", "grid": "other cells"}[entry.scope],
        entry.linear and f"in {entry.linear}",
        "yes" if entry.alias else "",
    )


def _statistic(gather: Any) -> str:
    if gather is None:
        return ""
    if isinstance(gather, partial):
        return str(gather.keywords.get("how") or ("deviation" if gather.keywords["root"] else "variance"))
    return NAMES[gather]
