"""What the schemas check their values with: each answers in one sentence what was given and what is allowed."""

from typing import Any

from fcn.names import suggest

REQUIRED: Any = "???"  # Hydra's mark for "must be given"


def require(condition: bool, key: str, given: object, allowed: str) -> None:
    if not condition:
        raise ValueError(f"{key}={given} is not allowed; {key} is {allowed}")


def one_of(key: str, given: str, *words: str) -> None:
    if given not in words:
        raise ValueError(f"{key}={given} is not known; {suggest(given, words)}")


def whole_numbers(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)  # a bool is no number of pixels
