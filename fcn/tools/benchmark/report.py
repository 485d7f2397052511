"""The report of a benchmark: its tables on the screen and as Markdown, its rows as JSON, and a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcn.core.files import written
from fcn.tools.benchmark.rows import Row, Section, digits, percent, tables

OURS = ("unrolled", "dilated", "stream", "label map")  # the ways that the report is about
COLOR, OTHER = "#0f766e", "#64748b"


def write_report(sections: Sequence[Section], machine: str, settings: dict[str, Any], folder: Path) -> None:
    """Leave ``benchmark.json``, ``benchmark.md`` and ``benchmark.png`` in a folder."""
    with written(folder / "benchmark.json") as temporary:
        content = {"machine": machine, "settings": settings, "sections": [section.as_dict() for section in sections]}
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    with written(folder / "benchmark.md") as temporary:
        temporary.write_text("\n\n".join([machine, *(tables(section, markdown=True) for section in sections)]) + "\n")
    draw(sections, machine, folder / "benchmark.png")


def draw(sections: Sequence[Section], machine: str, path: Path) -> None:
    """A panel for each case: the seconds of each way on a logarithmic scale, and a line to them from those of the first. Without a time
    there is no picture."""
    from matplotlib.figure import Figure

    cases = [rows for section in sections for rows in section.cases() if any(row.seconds is not None for row in rows)]
    if not cases:
        return
    heights = [0.55 + 0.25 * len(rows) for rows in cases]
    figure = Figure(figsize=(8.5, sum(heights) + 0.5), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for rows, axes in zip(cases, panels, strict=True):
        panel(axes, [row for row in rows if row.seconds is not None])
        axes.set_title(rows[0].case, fontsize=9, loc="left", fontweight="bold")
    panels[-1].set_xlabel(f"seconds (logarithmic); {machine}", fontsize=8)
    with written(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")


def panel(axes: Any, rows: Sequence[Row]) -> None:
    seconds = [row.seconds or 0 for row in rows]
    first, low, high = seconds[0], min(seconds), max(seconds)
    axes.set_xscale("log")
    axes.set_xlim(low / (high / low) ** 0.05 / 1.1, high * (10 * high / low) ** 0.7)  # the right half is for words
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.axvline(first, color="#cbd5e1", linewidth=1, zorder=0)
    for place, (row, value) in enumerate(zip(rows, seconds, strict=True)):
        color = COLOR if row.way in OURS else OTHER
        axes.plot([first, value], [place, place], color=color, linewidth=1.5)
        axes.plot([value], [place], "o", color=color, markersize=5)
        words = [f"{digits(value)} s"]
        words += [] if place == 0 else [f"{digits(first / value)}x"]
        words += [] if row.memory is None else [f"{row.memory / 2**20:,.0f} MiB"]
        words += [] if row.equal is None else [f"{percent(row.equal)} equal labels"]
        axes.annotate(", ".join(words), (max(value, first), place), (7, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(rows)), [row.way for row in rows])
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(labelsize=8, length=0, axis="y")
    axes.tick_params(labelsize=7, axis="x", which="both")
    axes.minorticks_off()
