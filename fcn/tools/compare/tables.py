"""The tables of a comparison, as text in cells, for the Markdown file and the page alike."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fcn.tools.compare.cells import QUALITY
from fcn.tools.tables import Table


def tables(report: Mapping[str, Any]) -> list[Table]:
    """All tables of a report, as ``report.py`` builds it."""
    made = [quality_table(report), grid_table(report), difference_table(report), checkerboard_table(report), cost_table(report)]
    made += [class_table(report)]
    return [table for table in made if table.rows]


def heading(report: Mapping[str, Any]) -> str:
    """What the variants' names stand for."""
    return ", ".join(report["compared"])


def grid_table(report: Mapping[str, Any]) -> Table:
    """The mean mIoU of each combination of two settings; no rows where it is not two that are compared."""
    if len(report["compared"]) != 2:
        return Table("mIoU as a grid", [], [])
    (down, rows), (across, columns) = report["compared"].items()
    places = {(choice[down], choice[across]): name for name, choice in report["variants"].items()}

    def cell(row: str, column: str) -> str:
        found = report["summary"].get(places[row, column])
        return "-" if found is None else with_spread(found["miou"])

    made = [[row, *(cell(row, column) for column in columns)] for row in rows]
    return Table("mIoU as a grid", [f"{down}, {across}", *columns], made, f"Per cent. Rows: {down}; columns: {across}.")


def shown_qualities(report: Mapping[str, Any]) -> list[str]:
    """The scores that at least one method has."""
    return [key for key in QUALITY if any(row[key]["mean"] is not None for row in report["summary"].values())]


def quality_table(report: Mapping[str, Any]) -> Table:
    keys = shown_qualities(report)
    rows = [[method, *(with_spread(row[key]) for key in keys), seeds(row["seeds"])] for method, row in report["summary"].items()]
    thin = f"; thin IoU: of {', '.join(report['settings']['thin'])}" if "thin_iou" in keys else ""
    note = (
        f"Per cent, mean ± standard deviation over the seeds, after the last step, on the split {report['split']}, each image at its own "
        f"size. Boundary IoU: Cheng et al. 2021, band of 2 % of the diagonal; band IoU: mIoU of the pixels within 1 % of the diagonal of "
        f"an edge of the truth{thin}."
    )
    return Table("Quality", [heading(report), *(QUALITY[key] for key in keys), "seeds"], rows, note)


def difference_table(report: Mapping[str, Any]) -> Table:
    baseline, keys = report["baseline"], shown_qualities(report)
    rows = []
    for method, row in report["summary"].items():
        if method != baseline:
            found = [row[f"{key}_difference"] for key in keys]
            rows.append([method, *(difference(one) for one in found)])
    note = (
        f"Points of per cent, a variant less {baseline} under the same seed: mean and, from three seeds on, its 95 % interval (Student's "
        f"t, over seeds; it does not speak of other data, and with many rows one in twenty misses by chance)."
    )
    return Table(f"Paired difference to {baseline}", [heading(report), *(QUALITY[key] for key in keys)], rows, note)


def checkerboard_table(report: Mapping[str, Any]) -> Table:
    rows = [
        [method, share(row["checkerboard_before"]["mean"]), share(row["checkerboard_after"]["mean"])]
        for method, row in report["summary"].items()
        if row["checkerboard_after"]["mean"] is not None
    ]
    note = (
        "Share of the energy of the scores of two flat images, a dark and a bright one, that is a pattern of the up-sampler's making; "
        "0: none. Mean over the seeds. Before training, scoring weights that start at zero are drawn at random."
    )
    return Table("Checkerboard index", [heading(report), "before training", "after"], rows, note)


def cost_table(report: Mapping[str, Any]) -> Table:
    rows = []
    for method, row in report["summary"].items():
        rows.append(
            [
                method,
                millions(row["parameters"]),
                f"{row['upsampler_parameters']:,.0f}",
                "-" if row["multiply_adds"] is None else f"{row['multiply_adds'] / 1e9:.3f}",
                f"{row['images_per_second']:.1f}",
                f"{1000 * row['latency_seconds']:.1f}",
                "-" if row["peak_memory"] is None else f"{row['peak_memory'] / 2**20:,.0f}",
            ]
        )
    height, width = report["image_size"]
    note = (
        f"Multiply-adds: one pass over an image of {width}x{height} pixels. Latency: from that image to its labels, with all the views "
        f"that inference takes of it. Training speed: with reading and augmentation. Memory: of the training process at its peak. "
        f"Medians over the seeds; {'; '.join(report['hardware'])}."
    )
    columns = [heading(report), "parameters, M", "up-samplers' own", "multiply-adds, G", "training, images/s", "latency, ms", "memory, MiB"]
    return Table("Cost", columns, rows, note)


def class_table(report: Mapping[str, Any]) -> Table:
    methods = list(report["summary"])
    rows = []
    for name in report["classes"]:
        values = []
        for method in methods:
            mine = [cell["quality"]["classes"][name]["iou"] for cell in report["cells"].values() if cell["variant"] == method]
            known = [value for value in mine if value is not None]
            values.append(percent(fmean(known)) if known else "-")
        rows.append([name, *values])
    return Table("IoU of the classes", ["class", *methods], rows, "Per cent, mean over the seeds.")


# --- text ---


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"


def with_spread(found: Mapping[str, Any]) -> str:
    return percent(found["mean"]) + ("" if found["deviation"] is None else f" ± {percent(found['deviation'])}")


def difference(found: Mapping[str, Any] | None) -> str:
    if found is None:
        return "-"
    mean = f"{100 * found['mean']:+.2f}"
    if found["low"] is None:
        return f"{mean} {found['verdict']}"
    return f"{mean} [{100 * found['low']:+.2f}, {100 * found['high']:+.2f}] {found['verdict']}"


def share(value: float | None) -> str:
    return "-" if value is None else "0" if value == 0 else f"{value:.1e}"


def millions(value: int) -> str:
    return f"{value / 1e6:.3f}"


def seeds(values: Sequence[int]) -> str:
    return ", ".join(map(str, values))
