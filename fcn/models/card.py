"""The card of a model: ``README.md`` in a folder of a model, which the Hugging Face hub shows as its page.

It begins with metadata for the hub. What is written here stands between two marks. Text around them is the user's own and stays when the
card is written again.
"""

import json
import logging
import re
import shlex
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

from fcn.core.errors import UserError
from fcn.core.images import from_plain
from fcn.core.names import first_line, listed
from fcn.models.spec import ModelSpec, WrapSpec, is_wrap_spec, spec_words

log = logging.getLogger(__name__)

METADATA = """---
library_name: fcn-toolkit
pipeline_tag: image-segmentation
tags:
- semantic-segmentation
- fcn
---
"""
BEGIN, END = "<!-- fcn: written by the toolkit; your own text goes above or below -->", "<!-- /fcn -->"
OURS = re.compile(f"{re.escape(BEGIN)}.*?{re.escape(END)}", re.DOTALL)
HOW = (
    "From one confusion matrix over the whole split, at the images' own sizes. Void pixels are not counted. "
    "A class that neither occurs nor is predicted is left out of the mean."
)


class HasScores(Protocol):
    """Scores that know their plain form: an ``Evaluation``."""

    def as_dict(self) -> dict[str, Any]: ...


Scores = HasScores | Mapping[str, Any] | str | PathLike[str] | None


def checked_scores(scores: Scores, names: Sequence[str]) -> Mapping[str, Any] | None:
    """Scores as ``metrics.json`` holds them. Raises UserError for those of other classes, or for something else; OSError for no file."""
    if scores is None:
        return None
    given = "the scores"
    if isinstance(scores, str | PathLike):
        given = f"the scores in {scores}"
        if not Path(scores).is_file():
            raise FileNotFoundError(f"there is no file {scores} to read scores from; give the metrics.json of fcn evaluate")
        try:
            scores = json.loads(Path(scores).read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{given} cannot be read ({first_line(error)}); give the metrics.json of fcn evaluate") from error
    found = scores if isinstance(scores, Mapping) else scores.as_dict() if hasattr(scores, "as_dict") else {}
    if not (isinstance(found.get("classes"), Mapping) and "miou" in found):
        raise UserError(f"{given} are none of fcn evaluate; give what fcn.evaluate returned, or the metrics.json of fcn evaluate")
    if list(found["classes"]) != list(names):
        raise UserError(
            f"{given} are of the classes {listed(found['classes'], 5)}, and the model has {listed(names, 5)}; give scores of this model"
        )
    return found


def card(entries: Mapping[str, Any], scores: Mapping[str, Any] | None, *, parameters: int, title: str, origin: str | None) -> str:
    """The whole card.

    entries: those of ``config.json``. scores: as ``metrics.json`` has them. parameters: number of weights. title: its heading.
    origin: word of the model for ``fcn.load``, as hf://USER/NAME; None: a folder.
    """
    parts = [f"# {cell(title)}", about(entries, parameters), use(entries, origin or "DIR"), classes(entries["labels"])]
    parts += [scored(entries, scores), training(entries)]
    return f"{METADATA}{BEGIN}\n" + "\n\n".join(part for part in parts if part) + f"\n{END}\n"


def renewed(old: str, new: str, path: str) -> str:
    """The card ``old`` with the part between the marks from ``new``. A card without the marks stays as it is, which is said."""
    if not OURS.search(old):
        log.warning("%s is not of this toolkit and stays as it is; remove it to have the classes, scores and settings written there", path)
        return old
    ours = OURS.search(new)
    assert ours is not None
    return OURS.sub(lambda _: ours[0], old, count=1)


# --- its sections ---


def about(entries: Mapping[str, Any], parameters: int) -> str:
    spec = spec_of(entries["spec"])
    return (
        f"A network for semantic segmentation, {code(spec_words(spec))}: {parameters / 1e6:.1f} M parameters, {spec.num_classes} classes. "
        f"It labels every pixel of an image of any size. Its images have {from_plain(spec.images)}."
    )


def spec_of(entry: Mapping[str, Any]) -> ModelSpec | WrapSpec:
    return WrapSpec(**entry) if is_wrap_spec(entry) else ModelSpec(**entry)


def use(entries: Mapping[str, Any], origin: str) -> str:
    spec = spec_of(entries["spec"])
    plugins = sorted({*entries.get("plugins", ()), *(spec.plugins if isinstance(spec, ModelSpec) else ())})
    words, argument, notes = "", "", []
    if plugins:
        names = ", ".join(plugins)
        words = f" plugins=[{','.join(plugins)}]"
        notes.append(f"It was made with parts from {code(names)}, whose code is not here: import it first.")
    if isinstance(spec, WrapSpec):
        words, argument = " network=my_module:build", ", network=network"
        notes.append(f"It holds the weights of a {code(spec.network)} and not its code. `network` is one of the same layers.")
    data = entries.get("data", {})
    rooted = not data or any(word.startswith("data.root=") for word in entries.get("command", ()))
    told = f"data={data.get('name', 'folder')}{' data.root=DIR' * rooted}"
    imports = "".join(f"import {module}\n" for module in plugins)
    return "\n\n".join(
        [
            "## Use",
            *notes,
            f'```python\nimport fcn\n{imports}\nmodel = fcn.load("{origin}"{argument})\nlabels = fcn.predict(model, "photo.jpg")  '
            "# uint8 (H, W); model.labels.names[labels[y, x]] is a class\n```",
            f"```sh\nfcn predict checkpoint={origin}{words} input=photos/\nfcn evaluate checkpoint={origin}{words} {told}\n```",
            "No code comes with the files, and loading them runs none.",
        ]
    )


def classes(labels: Mapping[str, Any]) -> str:
    rows = [
        f"| {index} | {cell(name)} | {', '.join(map(str, color))} |"
        for index, (name, color) in enumerate(zip(labels["names"], labels["colors"], strict=True))
    ]
    return "\n".join(["## Classes", "", "| index | name | colour (red, green, blue) |", "|---:|---|---|", *rows])


def scored(entries: Mapping[str, Any], scores: Mapping[str, Any] | None) -> str:
    data = entries.get("data", {})
    if scores is None:
        if "miou" not in entries:
            return ""
        where = f" on the split {code(str(data['val']))} of {code(data['name'])}" if data.get("val") else " on the validation split"
        epoch = f", after epoch {entries['epoch']}" if "epoch" in entries else ""
        return f"## Scores\n\nmIoU {share(entries['miou'])}{where}{epoch}, the best of the validations of its training. {HOW}"
    protocol = scores.get("protocol") or {}
    rows = [f"| {cell(name)} | {share(found.get('iou'))} | {share(found.get('accuracy'))} |" for name, found in scores["classes"].items()]
    totals = {"miou": "mIoU", "pixel_accuracy": "pixel accuracy", "mean_accuracy": "mean accuracy"}
    shown = ", ".join(f"{word} {share(scores[key])}" for key, word in totals.items() if key in scores)
    lines = ["## Scores", "", f"{shown}. {HOW}", ""]
    lines += ["| class | IoU | accuracy |", "|---|---:|---:|", *rows]
    told = {key: value for key, value in protocol.items() if key != "checkpoint"}
    if told:
        lines += ["", "Protocol: " + "; ".join(f"{key} {code(in_words(value))}" for key, value in told.items()) + "."]
    return "\n".join(lines)


def training(entries: Mapping[str, Any]) -> str:
    if entries.get("command"):
        return f"## Training\n\n```sh\nfcn train {shlex.join(entries['command'])}\n```"
    if entries.get("settings"):
        return f"## Training\n\n`fcn.train` with these settings:\n\n```json\n{json.dumps(entries['settings'], indent=1)}\n```"
    return ""


def share(value: Any) -> str:
    """A share as a percentage; a dash where there is none."""
    return f"{100 * value:.2f}" if isinstance(value, int | float) and value == value else "-"


def in_words(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key}={in_words(each)}" for key, each in value.items())
    return str(value)


def code(text: str) -> str:
    return f"`{text.replace('`', '')}`"


def cell(text: str) -> str:
    """A name from a file in a cell of a table: no mark of Markdown or HTML in it counts."""
    return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", " ".join(text.split()))
