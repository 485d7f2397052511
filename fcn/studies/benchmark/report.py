"""The report of a benchmark: its tables on the screen and as Markdown, its rows as JSON, and a plot."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcn.data.files import written
from fcn.studies.benchmark.rows import Section, tables

COLORS = {
    "windows": "#9aa5b1",
    "unrolled": "#0f766e",
    "dilated": "#0f766e",
    "shift": "#b45309",
    "interpolate": "#9aa5b1",
    "label": "#0f766e",
}
OTHER = "#475569"


def write_report(sections: Sequence[Section], machine: str, settings: dict[str, Any], folder: Path) -> None:
    """Leave ``benchmark.json``, ``benchmark.md`` and ``benchmark.png`` in a folder."""
    with written(folder / "benchmark.json") as temporary:
        content = {"machine": machine, "settings": settings, "sections": [section.as_dict() for section in sections]}
        temporary.write_text(json.dumps(content, indent=1) + "\n")
    with written(folder / "benchmark.md") as temporary:
        temporary.write_text("\n\n".join([machine, *(tables(section, markdown=True) for section in sections)]) + "\n")
    draw(sections, machine, folder / "benchmark.png")


def draw(sections: Sequence[Section], machine: str, path: Path) -> None:
    """A panel for each case: the seconds of each way, on a logarithmic scale, with how many times as fast as the first it is."""
    from matplotlib.figure import Figure

    cases = [rows for section in sections for rows in section.cases() if any(row.seconds is not None for row in rows)]
    heights = [1.1 + 0.32 * len(rows) for rows in cases]
    figure = Figure(figsize=(8, sum(heights) + 0.4), layout="constrained")
    panels = figure.subplots(len(cases), 1, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for rows, axes in zip(cases, panels, strict=True):
        shown = [row for row in rows if row.seconds is not None]
        seconds = [row.seconds for row in shown if row.seconds is not None]
        places = range(len(shown))
        colors = [next((color for word, color in COLORS.items() if row.way.startswith(word)), OTHER) for row in shown]
        axes.barh(places, seconds, color=colors, height=0.7)
        axes.set_yticks(places, [row.way for row in shown])
        axes.invert_yaxis()
        axes.set_xscale("log")
        axes.set_xlim(min(seconds) / 4, max(seconds) * 12)
        for place, (row, value) in enumerate(zip(shown, seconds, strict=True)):
            times = "" if place == 0 else f", {seconds[0] / value:.3g}x"
            memory = "" if row.memory is None else f", {row.memory / 2**20:,.0f} MiB"
            axes.text(value * 1.08, place, f"{value:.3g} s{times}{memory}", va="center", fontsize=8)
        axes.set_title(rows[0].case, fontsize=9, loc="left")
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(labelsize=8)
    panels[-1].set_xlabel(f"seconds (logarithmic); {machine}", fontsize=8)
    with written(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
