"""What ``fcn data`` says: one report as plain values (``data.json``), as text for a terminal, and as a page (``data.html``)."""

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median
from typing import Any

from fcn.data.survey import Survey, suggestions, traps
from fcn.data.visible import words
from fcn.tools.pages import document, inline_picture
from fcn.tools.tables import text_table
from fcn.training.metrics import Metrics, percent

Ceilings = Mapping[int, Metrics]  # by output stride


def report(name: str, surveys: Sequence[Survey], ceilings: Ceilings, maps: int) -> dict[str, Any]:
    """All that was found, as plain values. surveys: the training split first. maps: label maps that the ceilings are of."""
    training, *others = surveys
    return {
        "data": name,
        "shown": None if training.images.is_rgb else words(training.images),
        "traps": list(traps(training, others)),
        "suggestions": list(suggestions(training)),
        "splits": {each.split: split_facts(each) for each in surveys},
        "ceilings": {
            "label_maps": maps,
            "strides": {stride: found.as_dict(training.census.labels.names) for stride, found in ceilings.items()},
        },
    }


def split_facts(each: Survey) -> dict[str, Any]:
    census, names = each.census, each.census.labels.names
    total = max(1, int(census.pixels.sum()))
    heights, widths = ([size[axis] for size in each.sizes] or [0] for axis in (0, 1))
    return {
        "samples": census.of,
        "looked_at": census.samples + each.faulty,
        "faulty": each.faulty,
        "sizes": {"smallest": [min(heights), min(widths)], "largest": [max(heights), max(widths)], "different": len(each.sizes)},
        "kinds": dict(each.kinds.most_common()),
        "range": each.range,
        "mean": each.mean,
        "deviation": each.deviation,
        "void": census.void,
        "classes": {
            name: {
                "share": int(census.pixels[index]) / total,
                "images": each.images_with[index],
                "objects": len(each.objects.get(index, ())),
                "median_object": median(each.objects[index]) if index in each.objects else None,
                "smallest_object": each.smallest[index][0] if index in each.smallest else None,
                "smallest_object_in": each.smallest[index][1] if index in each.smallest else None,
            }
            for index, name in enumerate(names)
        },
    }


def text(found: Mapping[str, Any]) -> str:
    """The report for a terminal: traps first."""
    lines = [f"! {trap}" for trap in found["traps"]] or ["no traps found"]
    for name, facts in found["splits"].items():
        lines += ["", *_facts(name, facts)]
    lines += ["", found["shown"]] if found["shown"] else []
    if any(facts["looked_at"] > facts["faulty"] for facts in found["splits"].values()):
        lines += ["", text_table(*class_table(found))]
    maps = found["ceilings"]["label_maps"]
    if maps:
        lines += [
            "share: pixels of the class, of all pixels",
            "smallest, median: pixels of an object, which is connected pixels of one class",
            f"at stride N: highest IoU (%) that scores in cells of N x N pixels can reach, from {maps} label maps",
        ]
    if found["suggestions"]:
        lines += ["", "Settings to try:", *(f"  {word}" for word in found["suggestions"])]
    return "\n".join(lines)


def _facts(name: str, facts: Mapping[str, Any]) -> list[str]:
    looked = f"{facts['samples']} pairs" + (f", {facts['looked_at']} looked at" if facts["looked_at"] < facts["samples"] else "")
    if facts["looked_at"] == facts["faulty"]:
        return [f"{name}: {looked}, of which none can be used"]
    low, high, kinds = facts["sizes"]["smallest"], facts["sizes"]["largest"], facts["sizes"]["different"]
    sizes = f"{low[1]}x{low[0]} pixels" if kinds == 1 else f"{low[1]}x{low[0]} to {high[1]}x{high[0]} pixels, {kinds} sizes"
    pictures = ", ".join(f"{count} {kind}" for kind, count in facts["kinds"].items())
    channels = "; ".join(
        f"{_rounded(mean)} +- {_rounded(deviation)} ({low:g} to {high:g})"
        for mean, deviation, (low, high) in zip(facts["mean"], facts["deviation"], facts["range"], strict=True)
    )
    return [
        f"{name}: {looked}, {sizes}; {pictures}",
        f"  mean +- deviation (range) of the channels: {channels}; void {100 * facts['void']:.1f} %",
    ]


def _rounded(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def class_table(found: Mapping[str, Any]) -> tuple[list[str], list[list[str]], list[str]]:
    """Header, a row per class, and void: the share and the images of each split, the smallest object of the first, and the ceilings."""
    splits, strides = found["splits"], found["ceilings"]["strides"]
    training = next(iter(splits.values()))
    header = ["class"] + [word for name in splits for word in (f"{name} share", "images")] + ["objects", "smallest", "median"]
    header += [f"at stride {stride}" for stride in strides]
    rows = []
    for name, first in training["classes"].items():
        cells = [word for facts in splits.values() for word in _cells(facts["classes"][name])]
        objects = [f"{value:,.0f}" if value else "" for value in (first["objects"], first["smallest_object"], first["median_object"])]
        rows.append([name, *cells, *objects])
        rows[-1] += [_iou(values["classes"][name]["iou"]) for values in strides.values()]
    void = [word for facts in splits.values() for word in (f"{100 * facts['void']:.2f} %", "")]
    rows.append(["void", *void, *[""] * (len(header) - 1 - len(void))])
    empty = [""] * (len(header) - 1 - len(strides))
    return header, rows, ["mean", *empty] + [_iou(values["miou"]) for values in strides.values()]


def _iou(value: float | None) -> str:
    return "" if value is None else percent(value).strip()


def _cells(facts: Mapping[str, Any]) -> tuple[str, str]:
    return f"{100 * facts['share']:.2f} %", str(facts["images"]) if facts["images"] else "never"


def page(found: Mapping[str, Any], sheet: bytes) -> str:
    """One file that opens without a network. sheet: the PNG with the samples."""
    header, rows, total = class_table(found)
    parts = [f"<h1>Data set {escape(found['data'])}</h1>"]
    parts += [f'<p class="failed">{escape(trap)}</p>' for trap in found["traps"]] or ["<p>No traps found.</p>"]
    for name, facts in found["splits"].items():
        first, *rest = _facts(name, facts)
        parts.append(f'<p>{escape(first)}<br><span class="note">{escape(" ".join(rest).strip())}</span></p>')
    parts += [f"<p>{escape(found['shown'])}</p>"] if found["shown"] else []
    lines = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in [*rows, total]]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    parts.append("<h2>Classes</h2>")
    parts.append(f'<div class="scroll"><table><tr>{"".join(f"<th>{escape(cell)}</th>" for cell in header)}</tr>{body}</table></div>')
    parts.append(
        '<p class="note">Share: pixels of the class, of all pixels. Images: those that hold the class. Smallest, median: pixels of an '
        "object, which is connected pixels of one class. At stride N: highest IoU (%) that scores in cells of N x N pixels can reach.</p>"
    )
    if found["suggestions"]:
        parts += ["<h2>Settings to try</h2>", f"<pre>{escape(chr(10).join(found['suggestions']))}</pre>"]
    parts += ["<h2>Samples</h2>", inline_picture(sheet, "samples with their masks")]
    return document(f"Data set {found['data']}", parts)
