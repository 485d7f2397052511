"""Processes that run ``fcn``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fcn.core.errors import UserError


def this_fcn(words: Sequence[str]) -> dict[str, Any]:
    """What ``subprocess`` needs to run ``fcn`` with ``words``: the very package that runs now, whatever lies in the working folder."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {"args": [sys.executable, "-P", "-m", "fcn", *words], "env": {**os.environ, "PYTHONPATH": path}}


def refuse_torchrun(what: str) -> None:
    """Raises UserError in a process that ``torchrun`` started with others. what: what runs in one process only."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(f"{what} runs in one process and cannot share its work; start it without torchrun")
