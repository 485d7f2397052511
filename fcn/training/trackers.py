"""Experiment trackers, which get what ``metrics.jsonl`` gets: accelerate's, one of which a run may have.

The run's id in the tracker is kept in ``tracker.json`` of its folder, so that a training that goes on goes on there as well.
"""

import json
import logging
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.names import first_line, said

log = logging.getLogger(__name__)

TRACKERS = ("tensorboard", "wandb", "mlflow", "trackio")
PROJECT = "fcn"  # the name of the project, or experiment, that all trainings belong to


def check_tracker(name: str | None) -> None:
    """Raises UserError where the package of a tracker is not installed."""
    if name is not None and find_spec(name) is None:
        raise UserError(f"{said('tracker', name)} needs the package {name}: pip install {name}, or leave it out")


class Tracker:
    """A run in a tracker, begun or gone on with.

    name: one of ``TRACKERS``. folder: the run's. step: the step that the run goes on from. settings: of the run, told when it begins.
    Raises UserError where the tracker cannot start, for instance without a login.
    """

    def __init__(self, name: str, folder: Path, *, step: int = 0, settings: Mapping[str, Any] | None = None) -> None:
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        self.name, file = name, folder / "tracker.json"
        known = json.loads(file.read_text()) if file.is_file() else {}
        begun = known.get("run") if known.get("tracker") == name else None
        run = begun or uuid.uuid4().hex[:16]
        options: dict[str, dict[str, Any]] = {
            "tensorboard": {"run_name": "tensorboard", "logging_dir": str(folder), "purge_step": step + 1},
            "wandb": {"run_name": PROJECT, "name": folder.name, "id": run, "resume": "allow", "dir": str(folder)},
            "mlflow": {"experiment_name": PROJECT, "run_name": folder.name, "run_id": begun},
            "trackio": {"run_name": PROJECT, "name": f"{folder.name}-{run}", "resume": "allow"},
        }
        try:
            self.tracker = LOGGER_TYPE_TO_CLASS[name](**options[name])
            self.tracker.start()
            if settings and not begun and name != "tensorboard":  # whose table of settings is a folder of its own for each run
                self.tracker.store_init_configuration(flat(settings))
        except Exception as error:  # of another library
            raise UserError(f"{said('tracker', name)} cannot start: {first_line(error)}; set it up, or leave it out") from error
        if name == "mlflow":
            run = self.tracker.tracker.info.run_id
        if name != "tensorboard":
            with written(file) as temporary:
                temporary.write_text(json.dumps({"tracker": name, "run": run}) + "\n")

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Tell some numbers. If that fails, the training goes on without the tracker."""
        if self.tracker is None:
            return
        try:
            self.tracker.log(dict(values), step=step)
        except Exception as error:  # a service that cannot be reached must not end a training
            log.warning("%s takes no more values (%s); the training goes on without it", self.name, first_line(error))
            self.tracker = None

    def finish(self) -> None:
        if self.tracker is not None:
            self.tracker.finish()


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by dotted names, as plain values or text."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return found
