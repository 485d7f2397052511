"""What a comparison leaves behind: ``compare.json``, ``compare.md``, ``compare.png`` and ``report.html``."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fcn.core.files import written
from fcn.data.split import Split
from fcn.tools.compare.cells import equalities, summarize, write_json
from fcn.tools.compare.equal import BACKBONE, DECODER, cannot_be_equal
from fcn.tools.compare.settings import Comparison, is_scoring
from fcn.tools.compare.tables import tables
from fcn.tools.tables import markdown_table
from fcn.training.records import read_lines

COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")  # Okabe and Ito: told apart by all readers


def write_report(
    folder: Path, comparison: Comparison, results: Mapping[str, Any], failed: Mapping[str, str], split: Split
) -> dict[str, Any]:
    """Write all four from the results of the cells (``cells.read_results``) and the split that they were scored on."""
    from fcn.tools.compare.page import page

    report = build_report(comparison, results, failed, split)
    report["environment"] = (folder / "environment.txt").read_text()
    report["equal"] = equalities(folder, comparison, dict.fromkeys(result["cell"] for result in results.values()))
    write_json(folder / "compare.json", report)
    with written(folder / "compare.md") as temporary:
        temporary.write_text(markdown(report))
    draw(report, folder / "compare.png")
    with written(folder / "report.html") as temporary:
        temporary.write_text(page(report, read_curves(folder, report), folder, split), encoding="utf-8")
    return report


def build_report(comparison: Comparison, results: Mapping[str, Any], failed: Mapping[str, str], split: Split) -> dict[str, Any]:
    """All that the tables and pictures are made of, in plain values."""
    settings = asdict(comparison.settings)
    first = next(iter(results.values()))
    return {
        "compared": comparison.compared,
        "variants": comparison.choices,
        "trainings": comparison.trainings,
        "baseline": comparison.baseline,
        "split": f"{settings['data']['name']} {settings['data']['val']}",
        "images": len(split),
        "classes": list(split.labels.names),
        "image_size": first["cost"]["image_size"],
        "hardware": sorted({result["hardware"] for result in results.values()}),
        "summary": summarize(results, list(comparison.choices), comparison.baseline),
        "failed": dict(failed),
        "settings": settings,
        "cells": dict(results),
    }


def read_curves(folder: Path, report: Mapping[str, Any]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """For each cell the points (epoch, value) of its training loss and of its validation mIoU."""
    curves = {}
    for name, cell in report["cells"].items():
        lines = read_lines(folder / "cells" / cell["cell"] / "metrics.jsonl")
        curves[name] = {
            "loss": [(line["epoch"], line["loss"]) for line in lines if line["kind"] == "train"],
            "miou": [(line["epoch"], line["miou"]) for line in lines if line["kind"] == "val" and line["miou"] is not None],
        }
    return curves


def title(report: Mapping[str, Any]) -> str:
    settings, compared = report["settings"], report["compared"]
    parts = [settings[part]["name"] for part in ("model", "backbone") if part not in compared]
    what = "Up-sampling methods" if list(compared) == ["upsample"] else f"{' and '.join(compared)} compared"
    return f"{what}: {', '.join([*([' on '.join(parts)] if parts else []), settings['data']['name']])}"


def budget(report: Mapping[str, Any]) -> str:
    """What all trainings share of their budget, in words; what is compared is left out."""
    settings, compared = report["settings"], report["compared"]
    parts = {
        "epochs": f"{settings['epochs']} epochs",
        "batch_size": f"batches of {settings['batch_size']}",
        "augment.crop_size": f"crops of {settings['augment']['crop_size']} pixels",
        "optim": f"{settings['optim']['name']} at a rate of {settings['optim']['lr']:g}",
    }
    if "optim.lr" in compared:
        parts["optim"] = settings["optim"]["name"]
    said = [words for key, words in parts.items() if key not in compared]
    return f" of {', '.join(said)}" if said else ""


def equal_starts(report: Mapping[str, Any]) -> list[str]:
    """What was equal under one seed, and what was not or cannot be, in sentences."""
    if len(report["trainings"]) == 1:
        return ["Under one seed all variants are scores of the same training: only the way in which it is scored differs."]
    reasons = cannot_be_equal(key for key in report["compared"] if not is_scoring(key))
    network = next((key for key in report["compared"] if DECODER in cannot_be_equal([key])), None)
    words = {BACKBONE: f"{BACKBONE} that the networks share"} if network else {}
    same = [words.get(kind, kind) for kind, equal in report["equal"].items() if equal]
    other = [kind for kind, equal in report["equal"].items() if not equal]
    sentences = [f"Equal under one seed, checked by hashes in each training before its first step: {', '.join(same) or 'nothing'}."]
    if "upsample" in report["compared"]:
        sentences.append("The up-samplers' own weights are left out: methods have different ones.")
    if other:
        due = {key: [kind for kind in other if reasons.get(kind, network) == key] for key in dict.fromkeys([*reasons.values(), network])}
        told = "; ".join(f"{', '.join(kinds)} ({key} is compared)" for key, kinds in due.items() if kinds)
        sentences.append(f"Not equal, and cannot be: {told}. Differences between variants hold these differences as well.")
    return sentences


def facts(report: Mapping[str, Any]) -> list[str]:
    """What was done, and what a reader has to know of it, in sentences."""
    settings, cells = report["settings"], report["cells"]
    compared = {variant: row["miou_difference"] for variant, row in report["summary"].items() if variant != report["baseline"]}
    few = [variant for variant, found in compared.items() if found is None or found["low"] is None]
    trainings = len({cell["cell"] for cell in cells.values()})
    sentences = [
        f"{len(report['summary'])} variants, seeds {', '.join(map(str, settings['seeds']))}: {trainings} trainings{budget(report)}; "
        f"scored on {report['images']} images.",
        *equal_starts(report),
    ]
    if few:
        whose = "" if len(few) == len(compared) else f" of {', '.join(few)}"
        sentences.append(
            f"There are too few seeds for intervals{whose}: what differs there may differ by chance. Three or more are needed, as "
            f"seeds=[0,1,2], that both the variant and {report['baseline']} were trained with."
        )
    if settings["quick"]:
        sentences.append("A quick run: its small budget shows that everything works, not what a variant can do.")
    if len(report["hardware"]) > 1:
        sentences.append("The trainings ran on different hardware: their costs cannot be compared.")
    if at_once(cells):
        sentences.append(
            "Trainings ran at the same time on one machine and slowed each other down: their speeds and latencies cannot be compared."
        )
    return sentences


def at_once(cells: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether any two cells were trained at the same time on one machine."""
    ends: dict[str, float] = {}
    trainings = {cell.get("cell", name): cell for name, cell in cells.items()}  # one for all variants that it was scored as
    for cell in sorted(trainings.values(), key=lambda cell: cell["began"]):
        if cell["began"] < ends.get(cell["host"], 0.0):
            return True
        ends[cell["host"]] = cell["began"] + cell["seconds"]
    return False


def markdown(report: Mapping[str, Any]) -> str:
    lines = [f"# {title(report)}", "", *(f"{sentence}\n" for sentence in facts(report))]
    for name, reason in report["failed"].items():
        lines += [f"**{name} failed**: {reason}", ""]
    for table in tables(report):
        lines += [f"## {table.title}", "", markdown_table(table.columns, table.rows), "", table.note, ""]
    return "\n".join(lines).rstrip() + "\n"


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Quality against cost: a dot for each training, a ring at each variant's mean."""
    from matplotlib.figure import Figure

    colors = variant_colors(report["variants"])
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, key, name in zip(panels, ("miou", "boundary_iou"), ("mIoU", "boundary IoU"), strict=True):
        for method, row in report["summary"].items():
            color = colors[method]
            cost = 1000 * row["latency_seconds"]
            values = [100 * value for value in row[key]["values"] if value is not None]
            axes.scatter([cost] * len(values), values, s=14, color=color, alpha=0.6)
            if values:
                axes.scatter([cost], [sum(values) / len(values)], s=110, facecolors="none", edgecolors=color, linewidths=2, label=method)
        axes.set(xlabel="latency, ms an image", ylabel=f"{name}, %", title=f"{name} against cost")
        axes.grid(alpha=0.3)
    panels[0].legend(loc="best")
    with written(path) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def plain_settings(settings: Mapping[str, Any]) -> str:
    """The exact configuration as YAML, as it stands in ``config.yaml``."""
    import yaml

    return str(yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False))


def variant_colors(variants: Iterable[str]) -> dict[str, str]:
    return {variant: COLORS[place % len(COLORS)] for place, variant in enumerate(variants)}
