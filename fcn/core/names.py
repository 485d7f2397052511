"""Names: finding an entry by its name, and answering a wrong name with the right ones."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import SequenceMatcher, get_close_matches
from typing import TypeVar

from fcn.core.errors import UserError

T = TypeVar("T")


ARGUMENTS = {"inference": "strategy", "backbone.weights": "backbone_weights", "backbone.output_stride": "output_stride"}  # in Python
_settings = False
_NEARLY = 0.1  # of the likeness of two words, within which a name is as good a guess as the closest


@contextmanager
def saying_settings() -> Iterator[None]:
    """Within it, messages name settings as on the command line: ``inference.memory``, where a Python caller reads ``memory``."""
    global _settings
    before, _settings = _settings, True
    try:
        yield
    finally:
        _settings = before


def said(setting: str, value: object = None) -> str:
    """The name of a setting as the caller knows it, and the value to give it: ``inference=stream`` on the command line,
    ``strategy='stream'`` in Python."""
    kind, _, name = setting.partition(".")
    word = setting if _settings else ARGUMENTS.get(setting, name or kind)
    return word if value is None else f"{word}={spelled(value)}"


def spelled(value: object) -> str:
    """A value as the caller writes it: null, true and a bare word on the command line, None, True and 'word' in Python."""
    if not _settings:
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {spelled(each)}" for key, each in value.items()) + "}"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def suggest(word: str, words: Iterable[str]) -> str:
    """The hint for a wrong name: 'did you mean X?' if a name is close, else all names, or some of many."""
    known = sorted(set(words))
    close = nearest(word, known)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(known) > 40:
        return f"it is one of {len(known)} names, {', '.join(known[:8])}, ..."
    return f"allowed: {', '.join(known)}"


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """The names that a wrong one is close to: the closest, and up to two that are nearly as close."""
    close = get_close_matches(word, known, n=3, cutoff=0.6)
    likeness = [SequenceMatcher(None, each, word).ratio() for each in close]
    return [each for each, ratio in zip(close, likeness, strict=True) if ratio > likeness[0] - _NEARLY]


def lookup(table: Mapping[str, T], name: str, kind: str) -> T:
    """``table[name]``. Raises UserError, with the close or allowed names, if it is not there."""
    if not isinstance(name, str) or name not in table:
        raise UserError(f"{kind}={name} is not known; {suggest(str(name), table)}")
    return table[name]


def shown(text: object, most: int = 60) -> str:
    """Text from a file or a library, made fit for a message: cut after ``most`` characters, unprintable characters escaped."""
    words = str(text)
    cut = words if len(words) <= most else words[:most] + "..."
    return "".join(char if char.isprintable() else char.encode("unicode_escape", "backslashreplace").decode() for char in cut)


def listed(words: Iterable[str], most: int) -> str:
    """The first ``most`` words with commas between, and how many more there are."""
    words = list(words)
    return ", ".join(words[:most]) + (f" and {len(words) - most} more" if len(words) > most else "")


def a_type(value: object) -> str:
    """The type of a value with its article: "an int", "a tuple"."""
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeioAEIO' else 'a'} {name}"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, or the name of its class if the text is empty."""
    return shown(str(error).strip().splitlines()[0], 300) if str(error).strip() else type(error).__name__
