"""What the schemas check their values with: each answers in one sentence what was given and what is allowed."""

import math
from typing import Any

from fcn.names import suggest

REQUIRED: Any = "???"  # Hydra's mark for "must be given"


def require(condition: bool, key: str, given: object, allowed: str, *, infinite: bool = False) -> None:
    """ValueError where the condition does not hold, or a number in ``given`` is not finite. infinite: whether it may be ``inf``."""
    if not condition:
        raise ValueError(f"{key}={given} is not allowed; {key} is {allowed}")
    numbers = [number for number in (given if isinstance(given, list) else [given]) if isinstance(number, float)]
    if any(math.isnan(number) or (math.isinf(number) and not infinite) for number in numbers):
        raise ValueError(f"{key}={given} is not allowed; {key} is {allowed}, and finite")


def one_of(key: str, given: str, *words: str) -> None:
    if given not in words:
        raise ValueError(f"{key}={given} is not known; {suggest(given, words)}")


def whole_numbers(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)  # a bool is no number of pixels
