"""``report.html``: a comparison as one page that opens anywhere, without a network or scripts; its pictures are inside."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from fcn.data.split import Split
from fcn.tools import charts
from fcn.tools.compare.crops import choose, patterns, read_kept
from fcn.tools.compare.report import facts, plain_settings, title, variant_colors
from fcn.tools.compare.tables import share, tables
from fcn.tools.pages import document, html_table, label_colors, swatches, tile

Curves = Mapping[str, Mapping[str, list[tuple[float, float]]]]


def page(report: Mapping[str, Any], curves: Curves, folder: Path, split: Split) -> str:
    """The page of a report (``report.py``), with the curves of its cells and the pictures that ``folder`` holds."""
    colors = variant_colors(report["variants"])
    made = {table.title: html_table(table) for table in tables(report)}
    sections = [f"<h1>{escape(title(report))}</h1>", *(f"<p>{escape(sentence)}</p>" for sentence in facts(report))]
    sections += [f'<p class="failed"><b>{escape(name)}</b> failed: {escape(why)}</p>' for name, why in report["failed"].items()]
    sections += [
        swatches({method: colors[method] for method in report["summary"]}),
        made.pop("Quality"),
        *chart_section(report, curves, colors),
    ]
    sections += [html for name, html in made.items() if name not in ("Checkerboard index", "IoU of the classes")]
    sections += [made["IoU of the classes"], *crop_section(report, folder, split)]
    sections += [made["Checkerboard index"]] if "Checkerboard index" in made else []
    sections += pattern_section(report, folder)
    sections += ["<h2>Settings</h2><p class=note>Those of the first variant, as they stand in config.yaml; variants/ has all.</p>"]
    sections += [f"<details><summary>config.yaml</summary><pre>{escape(plain_settings(report['settings']))}</pre></details>"]
    sections += [f"<details><summary>environment</summary><pre>{escape(report['environment'])}</pre></details>"]
    return document(title(report), sections)


def chart_section(report: Mapping[str, Any], curves: Curves, colors: Mapping[str, str]) -> list[str]:
    summary, cells, baseline = report["summary"], report["cells"], report["baseline"]

    def against(quality: str) -> dict[str, list[tuple[float, float]]]:
        found: dict[str, list[tuple[float, float]]] = {method: [] for method in summary}
        for cell in cells.values():
            if cell["quality"][quality] is not None:
                found[cell["variant"]].append((1000 * cell["cost"]["latency_seconds"], 100 * cell["quality"][quality]))
        return found

    def series(kind: str, factor: float) -> dict[str, list[list[tuple[float, float]]]]:
        found: dict[str, list[list[tuple[float, float]]]] = {method: [] for method in summary}
        for name, cell in cells.items():
            found[cell["variant"]].append([(epoch, factor * value) for epoch, value in curves[name][kind]])
        return found

    drawn = [
        (charts.scatter(against("miou"), colors, "latency, ms an image", "mIoU, %"), "A dot for each training, a ring at the mean."),
        (charts.scatter(against("boundary_iou"), colors, "latency, ms an image", "boundary IoU, %"), "The same for boundaries."),
        (charts.curves(series("miou", 100), colors, "epoch", "validation mIoU, %"), "A line for each training."),
        (charts.curves(series("loss", 1), colors, "epoch", "training loss"), "A line for each training."),
    ]
    for quality, name in (("miou", "mIoU"), ("boundary_iou", "boundary IoU")):
        found = {method: row[f"{quality}_difference"] for method, row in summary.items() if method != baseline}
        found = {method: one for method, one in found.items() if one is not None}
        if found:
            drawn.append(
                (
                    charts.intervals(found, colors, f"{name}, points of per cent"),
                    f"Less {baseline}, paired over seeds; the bar: 95 % interval.",
                )
            )
    figures = "".join(f"<figure>{svg}<figcaption>{escape(words)}</figcaption></figure>" for svg, words in drawn)
    return ["<h2>Quality, cost and course</h2>", f'<div class="charts">{figures}</div>']


def crop_section(report: Mapping[str, Any], folder: Path, split: Split) -> list[str]:
    seed, kept = read_kept(folder, report, "kept")
    crops = choose(kept, split)
    if not crops:
        return []
    sections = [
        "<h2>Where the variants differ most</h2>",
        '<p class="note">Of the images that were kept, the squares with the largest share of pixels on which the variants disagree, '
        f"seed {seed}: chosen for their differences, so not typical.</p>",
        swatches(label_colors(split.labels)),
    ]
    for crop in crops:
        pictures = {"image": crop.image, **crop.maps}
        tiles = "".join(tile(picture, name) for name, picture in pictures.items())
        sections.append(f'<h3>{escape(crop.name)}, {100 * crop.disagreement:.0f} % disputed</h3><div class="tiles">{tiles}</div>')
    return sections


def pattern_section(report: Mapping[str, Any], folder: Path) -> list[str]:
    seed, flat = read_kept(folder, report, "flat")
    found, largest = patterns(flat)
    if not found:
        return []
    tiles = []
    for method, (picture, spread) in found.items():
        index = report["cells"][f"{method}-{seed}"]["checkerboard"]["after"]
        tiles.append(tile(picture, f"{method}: index {share(index)}, scores ±{spread:.2g}"))
    words = (
        f"Scores of a flat image after training, seed {seed}: of each method the class that varies most. Enlarged: black and white are "
        f"{largest:.2g} below and above the class's mean, for all methods alike; beside each stands how large its scores are (root mean "
        f"square)."
    )
    return [f'<p class="note">{words}</p><div class="tiles">{"".join(tiles)}</div>']
