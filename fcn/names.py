"""Names: finding a part by its word, and answering a wrong word with the right ones."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral, Real
from typing import Any, TypeVar, get_args, get_type_hints

T = TypeVar("T")

KINDS: dict[type, tuple[str, Callable[[Any], bool]]] = {
    int: ("a whole number", lambda value: isinstance(value, Integral) and not isinstance(value, bool)),
    float: ("a finite number", lambda value: isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)),
    str: ("a word", lambda value: isinstance(value, str)),
    type(None): ("None", lambda value: value is None),
}


def suggest(word: str, words: Iterable[str]) -> str:
    """What to say of a wrong word: 'did you mean X?' for close ones, else all that there are, or some if they are many."""
    known = sorted(set(words))
    close = get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(known) > 40:
        return f"it is one of {len(known)} names, {', '.join(known[:8])}, ..."
    return f"allowed: {', '.join(known)}"


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """``table[name]``; ValueError naming the close or allowed words where it is not there."""
    if not isinstance(name, str) or name not in table:
        raise ValueError(f"{kind}={name} is not known; {suggest(str(name), table)}")
    return table[name]


def check_options(function: Callable[..., Any], options: Mapping[str, Any], kind: str, *, also: Iterable[str] = ()) -> None:
    """ValueError where an option is neither among the keyword-only parameters of ``function`` nor in ``also``, naming those."""
    parameters = inspect.signature(function).parameters.values()
    known = [*(parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY), *also]
    for name in options:
        if name not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise ValueError(f"{kind} has no option '{name}'; {takes}")


def check_kinds(function: Callable[..., Any], options: Mapping[str, Any], kind: str) -> None:
    """ValueError where an option is not of the type of its parameter: a whole number, a finite number, a word, or None."""
    hints = get_type_hints(function)
    for name, value in options.items():
        kinds = get_args(hints[name]) or (hints[name],)
        if not any(KINDS[each][1](value) for each in kinds):
            allowed = " or ".join(KINDS[each][0] for each in kinds)
            raise ValueError(f"{kind}.{name}={value} is not allowed; {kind}.{name} is {allowed}")


def shown(text: object, most: int = 60) -> str:
    """What a file holds, or a library says of it, for a message: cut after ``most`` characters, what cannot be printed escaped."""
    words = str(text)
    cut = words if len(words) <= most else words[:most] + "..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in cut)


def first_line(error: BaseException) -> str:
    """The first line of what an error says, or its kind where it says nothing."""
    return shown(str(error).strip().splitlines()[0], 300) if str(error).strip() else type(error).__name__
