"""Processes that run ``fcn``."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def this_fcn(words: Sequence[str]) -> dict[str, Any]:
    """What ``subprocess`` needs to run ``fcn`` with ``words``: the very package that runs now, whatever lies in the working folder."""
    package = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
    return {"args": [sys.executable, "-P", "-m", "fcn", *words], "env": {**os.environ, "PYTHONPATH": path}}
