"""What a training run leaves behind beside its checkpoints: ``metrics.jsonl``, ``curves.png``, and what a tracker gets."""

import json
import logging
import math
from pathlib import Path
from typing import Any

from fcn.core.files import written
from fcn.training.plots import draw_curves
from fcn.training.trackers import Tracker

log = logging.getLogger(__name__)

NUMBERS = {"train": ("loss", "lr"), "val": ("miou", "pixel_accuracy", "mean_accuracy")}  # what the lines of each kind have for the curves


class Records:
    """The lines of ``metrics.jsonl``: {"kind": "train" or "val", "step": steps done, "epoch": epochs done, ...}.

    step: the step that the run goes on from; lines of a cut run beyond it are dropped, since they will be written again. Lines that
    cannot be read are left out, with a warning. tracker: gets the numbers as well.
    """

    def __init__(self, folder: Path, *, step: int = 0, tracker: Tracker | None = None) -> None:
        self.folder, self.tracker = folder, tracker
        self.path = folder / "metrics.jsonl"
        if step and not self.path.is_file():
            log.warning("%s is missing: the records up to step %d are lost, and the curves begin there", self.path, step)
        self.lines = [line for line in read_lines(self.path, warn=True) if line["step"] <= step]
        with written(self.path) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def add(self, kind: str, *, step: int, epoch: float, **values: Any) -> None:
        line = {"kind": kind, "step": step, "epoch": round(epoch, 4), **values}
        self.lines.append(line)
        try:
            with open(self.path, "a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OSError(
                f"cannot write {self.path}: {error.strerror or error}; free some space there, then go on with resume={self.folder}"
            ) from error
        if self.tracker is not None:
            numbers = {f"{kind}/{name}": value for name, value in values.items() if isinstance(value, int | float)}
            self.tracker.log(numbers, step)

    def __enter__(self) -> "Records":
        return self

    def __exit__(self, *_: object) -> None:
        if self.tracker is not None:
            self.tracker.finish()

    def draw(self) -> None:
        """Write ``curves.png``: the loss and the rate of training, the mIoU of validation, over epochs."""
        draw_curves(self.lines, self.folder / "curves.png")


def read_lines(path: Path, *, warn: bool = False) -> list[dict[str, Any]]:
    """The lines of a ``metrics.jsonl``, less those that are none: the last one is cut where a run is killed while it writes.

    warn: name the others that are left out.
    """
    texts = path.read_bytes().split(b"\n") if path.is_file() else []
    lines, bad = [], []
    for number, text in enumerate(texts, 1):
        line = read_line(text)
        if line is not None:
            lines.append(line)
        elif text and number < len(texts):
            bad.append(str(number))
    if bad and warn:
        named = ", ".join(bad[:5]) + (", ..." if len(bad) > 5 else "")
        log.warning("%s: %d of %d lines cannot be read and are left out (line %s)", path, len(bad), len(lines) + len(bad), named)
    return lines


def read_line(text: bytes) -> dict[str, Any] | None:
    """A line with all that is drawn of it; None for anything else."""
    try:
        line = json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or line.get("kind") not in NUMBERS or type(line.get("step")) is not int:
        return None
    for key in ("epoch", *NUMBERS[line["kind"]]):
        value = line.get(key)
        absent = value is None and line["kind"] == "val" and key in line  # a mean over no class
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not (absent or number):
            return None
    return line
