"""What ``resume=`` finds in the folder of a run: the checkpoint to go on from, or a reason why there is nothing to go on from."""

import logging
import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fcn.core.errors import UserError
from fcn.tools.train.settings import TrainConfig

if TYPE_CHECKING:
    from fcn.core.labels import LabelSet

log = logging.getLogger(__name__)


def read_last(folder: Path) -> dict[str, Any] | None:
    """The contents of ``last.pt``; None where the run was cut before it wrote one, and begins again.

    Raises UserError where it is damaged, or missing beside a run's results, which a new start would replace. Raises it too where
    ``best.pt`` is damaged, which would stay so. All is left as it is.
    """
    from fcn.training.checkpoint import read_checkpoint

    last, best = folder / "last.pt", folder / "best.pt"
    if not last.exists():
        left = ", ".join(traces(folder))
        if left:
            raise UserError(
                f"{folder} has no last.pt to go on from, and still holds {left}, which a new start would replace; {ways(folder)}"
            )
        return None
    try:
        state = read_checkpoint(last)
    except UserError as error:
        raise UserError(f"{error}; without it the run cannot go on: {ways(folder)}") from error
    training = state.get("training")
    if isinstance(training, dict) and isinstance(training.get("best"), float) and training["best"] > -math.inf:
        if best.exists():
            try:
                read_checkpoint(best)
            except UserError as error:
                raise UserError(f"{error}; move it out of {folder}, and the best of the epochs to come takes its place") from error
        else:
            log.warning("%s is missing; the best of the epochs to come takes its place", best)
            training["best"] = -math.inf
            training["stale"] = 0
    return state


def traces(folder: Path) -> Iterator[str]:
    """What a run has left that a new start would replace, in words."""
    from fcn.training.checkpoint import read_checkpoint
    from fcn.training.metrics import percent
    from fcn.training.records import read_lines

    if (folder / "best.pt").exists():
        try:
            state = read_checkpoint(folder / "best.pt")
        except (UserError, OSError):
            yield "best.pt"
        else:
            yield f"best.pt (epoch {state.get('epoch')}, mIoU {percent(state.get('miou', math.nan)).strip()})"
    lines = len(read_lines(folder / "metrics.jsonl"))
    if lines:
        yield f"metrics.jsonl ({lines} lines)"


def ways(folder: Path) -> str:
    """What a user can do about a run that cannot go on."""
    whole = folder.absolute().parent.parent
    if folder.absolute().parent.name == "cells" and (whole / "config.yaml").is_file():
        return f"to train this cell anew, move its folder {folder} away, then fcn compare resume={whole}"
    best = folder / "best.pt"
    learnt = f"to start a new run from its weights: fcn train ... model.weights={best} output=NEW; " if best.exists() else ""
    return f"{learnt}to begin again here, move {'these files' if best.exists() else 'what is left of it'} away, all but config.yaml"


def check_same(config: TrainConfig, state: dict[str, Any], labels: "LabelSet") -> None:
    """Raises UserError where a checkpoint is of another network or of other classes than the run's settings and data."""
    file = f"{config.resume}/last.pt"
    spec, changed = state["spec"], []
    for part in ("model", "backbone", "upsample"):
        settings = getattr(config, part)
        if spec[part] != settings.name:
            changed.append(f"{part}={spec[part]} (now {settings.name})")
            continue
        for key, value in settings.options("weights").items():
            saved = spec["output_stride"] if key == "output_stride" else spec[f"{part}_options"].get(key)
            if value is not None and saved is not None and saved != value:
                changed.append(f"{part}.{key}={saved} (now {value})")
    names = state["labels"]["names"]
    if names != list(labels.names):
        changed.append(f"the classes {', '.join(names)} (now {', '.join(labels.names)})")
    if changed:
        raise UserError(
            f"{file} does not fit the settings ({config.resume}/config.yaml) and the data of this run: "
            f"it has {'; '.join(changed)}; undo the change"
        )
