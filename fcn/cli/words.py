"""The words of a call: ``key=value``, lists and sweeps as Hydra reads them, and paths, which are taken literally."""

import os
import re
from typing import Any

from fcn.core.names import first_line

# Taken to the letter, but for a ``~`` at the start: a comma is a comma, a backslash a backslash, and ``${x}`` no reference.
PATHS = (
    "checkpoint",
    "input",
    "output",
    "resume",
    "cell",
    "baseline",
    "image",
    "layers",
    "weights",
    "names",
    "data.root",
    "data.image_pattern",
    "data.mask_pattern",
    "model.weights",
    "backbone.weights",
)


class WrongCallError(Exception):
    """Its text is the one line that is shown."""


def parse(words: list[str]) -> list[Any]:
    """Every word as Hydra reads it. Raises WrongCallError for a word that is not ``key=value``."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    overrides = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise WrongCallError(f"'{word}' is not a setting; write key=value, as {key or 'epochs'}=...")
        try:
            override = parser.parse_override(word)
        except HydraException:  # blanks, brackets or '=' where none may be: taken to the letter
            try:
                override = parser.parse_override(f"{key}={quoted(value)}")
            except HydraException as error:
                raise WrongCallError(f"'{word}' cannot be read as key=value: {first_line(error)}") from error
        if override.is_delete():
            raise WrongCallError(f"'{word}' deletes a setting, which no command allows; write key=null where null is allowed")
        overrides.append(override)
    return overrides


def word_of_path(word: str, *, several: bool = False) -> str:
    """A word of the call, with a path put in quotes, so that Hydra and omegaconf read it literally.
    several: a path is split at its commas, except that of the output."""
    key, _, value = word.partition("=")
    if key not in PATHS or value == "null" or value[:1] in ("'", '"'):
        return word
    if not value.strip():
        raise WrongCallError(f"{word} is empty; give a path, as ./NAME")
    several = several and key != "output"
    if several and re.match(r"\w+\(|\[", value):  # Hydra's ways to write a sweep, as choice(a,b)
        return word
    return f"{key}={','.join(quoted(os.path.expanduser(path)) for path in (value.split(',') if several else [value]))}"


def quoted(text: str) -> str:
    """``text`` in Hydra's quotes. Backslashes count only before a quote, which ends the text unless there is one too many."""
    inside = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), without_references(text))
    return f"'{inside}'"


def without_references(text: str) -> str:
    """``text`` in the form that omegaconf reads literally: ``${`` begins no reference to another setting."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", text)


def text_of(override: Any) -> str:
    """The text that an override gives to a setting, as omegaconf reads it."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return str(OmegaConf.create({"text": override.value()}).text)
    except OmegaConfBaseException as error:
        raise WrongCallError(f"{override.input_line}: {first_line(error)}") from error


def values(override: Any) -> list[str]:
    """The words that an override gives: one, or those of a sweep."""
    from hydra.core.override_parser.types import Transformer

    several = override.is_sweep_override()
    return [Transformer.str(value) if several or value is None else str(value) for value in elements(override)]


def part_words(override: Any) -> list[str]:
    """The names of parts that an override gives, without quotes: one, or those of a sweep."""
    from hydra.core.override_parser.types import QuotedString

    given = [value.text if isinstance(value, QuotedString) else value for value in elements(override)]
    return ["null" if value is None else str(value) for value in given]


def elements(override: Any) -> list[Any]:
    """The values that an override gives, as they were read."""
    if not override.is_sweep_override():
        return [override.value()]
    try:
        return list(override.sweep_iterator())
    except Exception as error:  # of Hydra's kinds of sweep, intervals and globs stand for no values by themselves
        raise WrongCallError(f"{override.input_line} is not a list of values; write out each value") from error


def bracketed(overrides: list[Any], known: dict[str, bool]) -> list[Any]:
    """``overrides`` with the values of a list in one pair of brackets, also if they have none or several. A sweep of lists stays one."""
    from hydra.core.override_parser.types import Transformer

    written = []
    for override in overrides:
        given = elements(override) if known.get(override.key_or_group) else []
        if not all(is_list(value) for value in given):
            lists = given if any(isinstance(value, list) for value in given) else [given]
            texts = [f"[{','.join(map(Transformer.str, leaves(values)))}]" for values in lists]
            override = parse([f"{override.key_or_group}={','.join(texts)}"])[0]
        written.append(override)
    return written


def check_brackets(given: list[Any], written: list[Any]) -> None:
    """Raises WrongCallError for lists that ``bracketed`` had to rewrite. Called when all else is right, so that its advice is right."""
    for before, after in zip(given, written, strict=True):
        if before is not after:
            raise WrongCallError(f"{before.input_line} is not a list in one pair of brackets; write {after.input_line}")


def is_list(value: Any) -> bool:
    """True if a value can be a list's: plain values in brackets, null, or a placeholder for a value that is elsewhere or missing."""
    if isinstance(value, list):
        return not any(isinstance(item, list | dict) for item in value)
    return value is None or str(value).startswith(("${", "???"))


def leaves(value: Any) -> list[Any]:
    """The plain values in lists and mappings, in their order."""
    from hydra.core.override_parser.types import QuotedString

    if isinstance(value, dict):
        return leaves(list(value.values()))
    if isinstance(value, list):
        return [leaf for item in value for leaf in leaves(item)]
    return [value.text if isinstance(value, QuotedString) else value]
