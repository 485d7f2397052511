"""From parts of a configuration to the objects that they name."""

from dataclasses import asdict
from typing import Any


def load_split(data: dict[str, Any], split: str) -> Any:
    """A split of the data set that a ``data`` configuration, as plain values, describes."""
    from fcn.data import create_split

    options = {key: value for key, value in data.items() if key not in ("name", "train", "val", "recipe", "verify")}
    return create_split(data["name"], split, **options)


def part_options(part: Any, *left_out: str) -> dict[str, Any]:
    """The settings of a part of the configuration as keyword arguments."""
    return {key: value for key, value in asdict(part).items() if key not in left_out}
