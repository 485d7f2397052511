"""Comparing variants: one training ("cell") for each variant and seed, all else equal. What is measured of each cell, and their summary.

Variants that differ in how they are scored alone share a training. A comparison is a folder with ``config.yaml``, ``compared.yaml`` (the
values of what is compared), ``variants`` (the settings of each) and ``cells``. Each cell is a run folder of ``fcn train``, with these files
in addition:

- ``start.json``: hashes of the start, see ``equal.py``;
- ``result.json``: the results; a cell is done when it is there;
- ``final.pt``: the model that was scored, in place of ``last.pt``;
- ``kept*.npz`` and ``flat.npz``: for the report, label maps of some images, and where up-samplers are compared the scores of a flat image;
- ``error.txt``: the reason, if the training failed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.data.split import Split
from fcn.graph.read import read_graph
from fcn.inference.strategies import Strategy
from fcn.models.segmenter import Segmenter
from fcn.tools.compare.equal import DECODER, KINDS, cannot_be_equal, check_equal, own_names, unequal
from fcn.tools.compare.paired import paired
from fcn.tools.compare.settings import Comparison
from fcn.tools.measure import resident_peak, time_in_turns
from fcn.training.boundary import band_confusion, boundary_counts, boundary_width
from fcn.training.checkpoint import model_from_state, read_checkpoint
from fcn.training.evaluate import score_split
from fcn.training.metrics import metrics, plain
from fcn.training.records import read_lines
from fcn.training.scored import Scored

NARROW = 0.01  # width of the band of the band IoU, as a share of the diagonal
KEPT = 60  # images whose label maps are kept for the report
THIN = {"shapes": ["wire"], "camvid": ["pole"]}

QUALITY = {  # key -> its name in tables
    "miou": "mIoU",
    "boundary_iou": "boundary IoU",
    "band_iou": "band IoU",
    "thin_iou": "thin IoU",
}


# --- one cell ---


def final_model(run: Path) -> Segmenter:
    """The model of a finished run after its last step, or its moving average if there is one. It is not the best of the validations: the
    split that scores the comparison selects nothing."""
    state = read_checkpoint(run / "last.pt")
    average = state["training"]["average"]
    if average is not None:
        state["weights"] = {name.removeprefix("module."): value for name, value in average.items() if name.startswith("module.")}
    return model_from_state(state, str(run / "last.pt"))


def score_cell(
    model: Segmenter, split: Split, strategy: Strategy, accelerator: Accelerator, *, thin: Sequence[str], workers: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The quality of a model on a split, in plain values, and the label maps of some images by index, for the report."""
    classes = split.labels.num_classes
    boundary = torch.zeros(2, classes, dtype=torch.int64)
    narrow = torch.zeros(classes, classes, dtype=torch.int64)
    chosen = {place * len(split) // min(KEPT, len(split)) for place in range(min(KEPT, len(split)))}
    kept: dict[str, Any] = {}

    def visit(sample: Scored) -> None:
        index, truth, prediction = sample.index, sample.truth, sample.prediction
        height, width = truth.shape
        boundary.add_(boundary_counts(truth, prediction, classes, boundary_width(height, width)))
        narrow.add_(band_confusion(truth, prediction, classes, boundary_width(height, width, NARROW)))
        if index in chosen:
            kept[str(index)] = prediction.numpy()

    matrix = score_split(model, split, strategy, accelerator, workers=workers, visit=visit)
    result, edges = metrics(matrix), boundary[0].double() / boundary[1]
    slim = [iou for name in thin if (iou := result.iou[split.labels.index(name)]) == iou]  # classes that occur
    return {
        **result.as_dict(split.labels.names),
        "boundary_iou": plain(edges.nanmean().item()),
        "boundary_iou_of_classes": {name: plain(value) for name, value in zip(split.labels.names, edges.tolist(), strict=True)},
        "band_iou": plain(metrics(narrow).miou),
        "thin_iou": plain(fmean(slim)) if slim else None,
    }, kept


def costs(model: Segmenter, run: Path, image: Tensor) -> dict[str, Any]:
    """What a trained cell costs, but for its latency; ``image`` is what the multiply-adds are counted on, uint8 (3, H, W)."""
    height, width = image.shape[-2:]
    own = own_names(model)
    speeds = [line["images_per_second"] for line in read_lines(run / "metrics.jsonl") if line["kind"] == "train"]
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "upsampler_parameters": sum(parameter.numel() for name, parameter in model.named_parameters() if name in own),
        "multiply_adds": multiply_adds(model, height, width),
        "image_size": [height, width],
        "images_per_second": median(speeds[1:] or speeds),  # the first line waited for the readers
    }


def latency(model: Segmenter, image: Tensor, strategy: Strategy, accelerator: Accelerator) -> float:
    """Seconds from an image to its labels, the median of several passes."""
    on_gpu = accelerator.device.type == "cuda"
    return time_in_turns({"pass": lambda: strategy(model, image)}, turns=20, warm=2, most=2.0, on_gpu=on_gpu)["pass"].median


def multiply_adds(network: nn.Module, height: int, width: int) -> int | None:
    """Multiply-adds of one pass over a (height, width) image; None if the network's graph cannot be read."""
    try:
        return sum(node.macs for node in read_graph(network, (height, width)))
    except UserError:
        return None


def peak_memory(device: torch.device) -> int:
    """The most memory, bytes, that this process has held so far: on the GPU where it works there, else in RAM."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else resident_peak()


def write_json(path: Path, content: Any) -> None:
    with written(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1) + "\n")


def save_maps(path: Path, maps: Mapping[str, Any]) -> None:
    with written(path) as temporary, open(temporary, "wb") as file:
        np.savez_compressed(file, **dict(maps))


# --- all cells ---


def read_results(folder: Path, comparison: Comparison) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """The results of each variant and seed, by ``VARIANT-SEED``; and for the cells that have none, by name, the reason. A cell whose start
    differs from that of an earlier one of its seed in what must be equal counts as failed."""
    results, failed = {}, {}
    starts: dict[int, dict[str, dict[str, Any]]] = {}  # by seed and cell
    for name in comparison.cells:
        cell = folder / "cells" / name
        if (cell / "result.json").is_file():
            saved = json.loads((cell / "result.json").read_text())
            start = json.loads((cell / "start.json").read_text())["equal"]
            known = starts.setdefault(saved["seed"], {})
            try:
                check_pairs(comparison, name, start, known)
            except UserError as error:
                failed[name] = str(error)
                continue
            known[name] = start
            shared = {key: value for key, value in saved.items() if key != "scored"}
            later = [variant for variant in comparison.trainings[saved["training"]] if variant not in saved["scored"]]
            if later:
                failed[name] = (
                    f"{', '.join(later)}: added when its training was scored already; remove {cell} to train and score it again, "
                    f"or start a comparison of its own"
                )
            for variant, scored in saved["scored"].items():
                cost = {**saved["cost"], "latency_seconds": scored["latency_seconds"]}
                results[f"{variant}-{saved['seed']}"] = {
                    **shared,
                    "cell": name,
                    "variant": variant,
                    "quality": scored["quality"],
                    "cost": cost,
                    "files": {**saved["files"], "kept": scored["kept"]},
                }
        else:
            reason = cell / "error.txt"
            killed = f"it ended without a word: killed, or out of memory (see cells/{name}.log, or jobs)"
            unknown = killed if cell.is_dir() else "it was not begun"
            failed[name] = reason.read_text().strip() if reason.is_file() else unknown
    return results, failed


def check_pairs(comparison: Comparison, name: str, start: dict[str, Any], others: Mapping[str, dict[str, Any]]) -> None:
    """Raises UserError where a cell did not start equal to others of its seed in all that what they differ in leaves alone."""
    for other, theirs in others.items():
        check_equal({other: theirs, name: start}, comparison.differing(name, other))


def equalities(folder: Path, comparison: Comparison, cells: Iterable[str]) -> dict[str, bool]:
    """For each kind of what is checked whether it was equal in all of these cells of one seed."""
    found = dict.fromkeys(KINDS, True)
    starts: dict[int, dict[str, Any]] = {}
    for name in cells:
        start = json.loads((folder / "cells" / name / "start.json").read_text())["equal"]
        first = starts.setdefault(comparison.training_of(name)[1], start)
        for kind in unequal(first, start, common=DECODER in cannot_be_equal(comparison.compared)):
            found[kind] = False
    return found


def summarize(results: Mapping[str, Mapping[str, Any]], variants: Sequence[str], baseline: str) -> dict[str, Any]:
    """For each variant: mean and spread (standard deviation) of each quality over the seeds, paired difference to the baseline, and costs
    (medians over the seeds). Values are in the order of the seeds. Variants without a finished cell are left out."""
    summary = {}
    for method in variants:
        mine = dict(sorted((result["seed"], result) for result in results.values() if result["variant"] == method))
        base = {result["seed"]: result for result in results.values() if result["variant"] == baseline}
        if not mine:
            continue
        row: dict[str, Any] = {"seeds": list(mine)}
        for key in QUALITY:
            row[key] = spread([result["quality"][key] for result in mine.values()])
            if method != baseline:
                pairs = [(mine[seed]["quality"][key], base[seed]["quality"][key]) for seed in mine if seed in base]
                differences = [one - other for one, other in pairs if one is not None and other is not None]
                row[f"{key}_difference"] = None
                if differences:
                    found = paired(differences)
                    row[f"{key}_difference"] = {**asdict(found), "verdict": found.verdict}
        for key in ("before", "after"):
            row[f"checkerboard_{key}"] = spread([result["checkerboard"][key] for result in mine.values()])
        for key in ("parameters", "upsampler_parameters", "multiply_adds", "images_per_second", "latency_seconds", "peak_memory"):
            known = [result["cost"][key] for result in mine.values() if result["cost"][key] is not None]
            row[key] = median(known) if known else None
        summary[method] = row
    return summary


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and standard deviation of the values that are not None; None if there are too few."""
    known = [value for value in values if value is not None]
    return {"mean": fmean(known) if known else None, "deviation": stdev(known) if len(known) > 1 else None, "values": list(values)}
