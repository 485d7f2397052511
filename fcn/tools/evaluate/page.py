"""``report.html`` of an evaluation: one page that opens anywhere, without a network or scripts; its pictures are inside."""

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

from torch import Tensor

from fcn.core.labels import LabelSet
from fcn.data.pictures import colorize, error_map
from fcn.tools import charts
from fcn.tools.evaluate.images import BARS, Sums, compared
from fcn.tools.evaluate.worst import CLASSES, Example, Worst
from fcn.tools.pages import document, html_table, inline_picture, label_colors, swatches, tile
from fcn.tools.tables import Table
from fcn.training.calibration import Calibration
from fcn.training.metrics import Evaluation, mean, percent

BLUE = "#0072b2"
CONFUSIONS = 10  # of the list of what is taken for what


class Found(NamedTuple):
    """All that an evaluation has found. confusion_png: the picture of the confusion matrix."""

    result: Evaluation
    sums: Sums
    worst: Worst
    calibration: Calibration | None
    confusion_png: bytes
    protocol: Mapping[str, Any]


def page(found: Found) -> str:
    labels, protocol = found.result.labels, found.protocol
    title = f"{protocol['checkpoint']} on {protocol['data']} {protocol['split']}"
    about = (
        f"{what_was_scored(protocol)} at their own resolution, inference={protocol['inference']['name']}, {protocol['precision']}. "
        f"Void pixels are left out, and absent classes are left out of the means."
    )
    sections = [f"<h1>{escape(title)}</h1>", f"<p>{escape(about)}</p>"]
    sections += [html_table(score_table(found)), html_table(class_table(found)), *chart_section(found)]
    confusions = confusion_table(found.result.confusion, labels)
    sections += [html_table(confusions)] if confusions.rows else []
    sections += ["<h2>Confusion matrix</h2>", inline_picture(found.confusion_png, "confusion matrix, in per cent of the true class")]
    sections += worst_section(found.worst, found.result)
    return document(title, sections)


def what_was_scored(protocol: Mapping[str, Any]) -> str:
    """The images of a split; of scenes, which are labelled as wholes, the tiles that the report takes for images."""
    if "scenes" not in protocol:
        return f"{protocol['images']} images"
    count = protocol["scenes"]
    return f"{count} scene{'s' * (count != 1)}, labelled as wholes and cut into {protocol['images']} tiles, which count as images here,"


def score_table(found: Found) -> Table:
    result, sums = found.result, found.sums
    rows = [
        ["mIoU over the set", percent(result.mean_iou)],
        ["mean of the images' own mIoU", percent(sums.mean_image_iou)],
        ["boundary IoU", percent(sums.mean_boundary_iou)],
        ["pixel accuracy", percent(result.pixel_accuracy)],
        ["mean accuracy", percent(result.mean_accuracy)],
        ["frequency-weighted IoU", percent(result.frequency_weighted_iou)],
    ]
    if found.calibration is not None:
        rows.append(["expected calibration error", percent(found.calibration.error)])
    note = f"Per cent. The {compared(result.mean_iou, sums.mean_image_iou)}. Boundary IoU: Cheng et al. 2021, band of 2 % of the diagonal."
    return Table("Scores", ["score", ""], [[name, value.strip()] for name, value in rows], note)


def class_table(found: Found) -> Table:
    metrics, sums, matrix = found.result.metrics, found.sums, found.result.confusion
    shares = (matrix.sum(1) / matrix.sum().clamp(min=1)).tolist()
    columns = [metrics.iou, metrics.dice, metrics.precision, metrics.accuracy, sums.boundary_iou, sums.image_iou, shares]
    names = ["class", "IoU", "Dice (F1)", "precision", "recall", "boundary IoU", "IoU, mean of images", "share of pixels"]
    rows = [[name, *(percent(column[index]).strip() for column in columns)] for index, name in enumerate(found.result.labels.names)]
    rows.append(["mean", *(percent(mean(column)).strip() for column in columns[:-1]), ""])
    note = "Per cent. The mean of images takes those that have the class, in their truth or in their prediction. images.csv has each image."
    return Table("Classes", names, rows, note)


def chart_section(found: Found) -> list[str]:
    drawn = []
    if found.sums.scored:
        edges = [100 * place / BARS for place in range(BARS + 1)]
        drawn.append(
            (charts.bars(found.sums.bars.tolist(), edges, "mIoU of an image, %", "images", BLUE), "How many images score how well.")
        )
    note = ""
    if found.calibration is None:
        note = '<p class="note">Whether the network is right as often as it says was not measured; calibration=true does.</p>'
    else:
        total = sum(each.pixels for each in found.calibration.bins)
        points = [(100 * each.confidence, 100 * each.accuracy, each.pixels / total) for each in found.calibration.bins]
        words = f"Reliability, {found.calibration}. A dot below the line is surer than right; its size: the share of the pixels."
        drawn.append((charts.reliability(points, BLUE), words))
    figures = "".join(f"<figure>{svg}<figcaption>{escape(words)}</figcaption></figure>" for svg, words in drawn)
    return ["<h2>Images and calibration</h2>", f'<div class="charts">{figures}</div>', note]


def confusion_table(matrix: Tensor, labels: LabelSet) -> Table:
    """What is taken for what most often, by pixels."""
    wrong = matrix.clone()
    wrong.fill_diagonal_(0)
    most = wrong.flatten().sort(descending=True, stable=True)
    rows = []
    for count, cell in zip(most.values[:CONFUSIONS].tolist(), most.indices[:CONFUSIONS].tolist(), strict=True):
        if count:
            truth, guess = divmod(cell, labels.num_classes)
            shares = [percent(count / float(total)).strip() for total in (wrong.sum(), matrix[truth].sum())]
            rows.append([f"{labels.names[truth]} taken for {labels.names[guess]}", *shares])
    return Table(
        "What is taken for what",
        ["confusion", "of all errors", "of the class"],
        rows,
        "Per cent of the wrong pixels, and of the true class.",
    )


def worst_section(worst: Worst, result: Evaluation) -> list[str]:
    shown = worst.classes(result.metrics.iou)
    if not worst.images:
        return ["<h2>Worst images</h2><p>No pixel is wrong.</p>"]
    sections = [
        "<h2>Worst images</h2>",
        '<p class="note">Those with the lowest mean IoU. Errors are red, void pixels light.</p>',
        swatches(label_colors(result.labels)),
        *(tiles(example, result.labels) for example in worst.images),
        "<h2>Worst of each class</h2>",
        '<p class="note">The squares in which most pixels are wrong about a class, from the images with the largest share of such pixels'
        f"{f'; the {CLASSES} classes with the lowest IoU' if len(shown) == CLASSES else ''}.</p>",
    ]
    for index in shown:
        name = result.labels.names[index]
        sections += [f"<h3>{escape(name)}, IoU {percent(result.iou[name]).strip()}</h3>"]
        sections += [tiles(example, result.labels) for example in worst.crops[index]]
    return sections


def tiles(example: Example, labels: LabelSet) -> str:
    image = example.image.transpose(1, 2, 0)
    pictures = [
        tile(image, "image", photograph=True),
        tile(colorize(example.truth, labels), "truth"),
        tile(colorize(example.prediction, labels), "prediction"),
        tile(error_map(image, example.truth, example.prediction, labels.void), "errors", photograph=True),
    ]
    return f'<p class="note">{escape(example.text)}</p><div class="tiles wide">{"".join(pictures)}</div>'
