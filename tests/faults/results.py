"""What a call has left in its folder: whether it is whole, and what of it is to be the same each time."""

import json
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.faults import readers
from tests.faults.formats import png


def left(folder: Path) -> dict[str, Any]:
    """All files of an output folder, by name, less times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.suffix == ".pt":
            found[name] = readers.plain(readers.checkpoint(path))
        elif path.name == "metrics.jsonl":
            found[name] = records(path)
        else:  # curves tell of images per second, and an environment of the time
            found[name] = path.read_bytes() if path.suffix == ".png" and path.name != "curves.png" else None
    return found


def records(path: Path) -> Any:
    """The lines of a ``metrics.jsonl``, less times; its bytes where they cannot be read."""
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "images_per_second"} for line in lines]
    except (ValueError, AttributeError):
        return path.read_bytes()


def unsound(folder: Path) -> list[str]:
    """The files of an output folder that are half-written, or were left under a temporary name."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [
        f"{path.name} ({'left' if path.name.startswith('.') else 'half'})" for path in files if path.name.startswith(".") or not sound(path)
    ]


def sound(path: Path) -> bool:
    """Whether a file that a call left under its final name is whole."""
    try:
        if path.suffix == ".png":
            return png(path.read_bytes())
        if path.suffix == ".pt":
            return "weights" in torch.load(path, weights_only=True)
        if path.suffix == ".jsonl":
            return all(json.loads(line) for line in path.read_text().splitlines())
        if path.suffix == ".json":
            return bool(json.loads(path.read_text()))
        return path.suffix != ".yaml" or bool(yaml.safe_load(path.read_text()))
    except Exception:
        return False


def said(place: Path) -> str:
    """The end of a call's standard error, in one line."""
    errors = Path(f"{place}.stderr")
    return " ".join(errors.read_text(errors="replace")[-300:].split()) if errors.exists() else ""
