"""What may become of a damaged file, and what may not.

- right: the same values as of the undamaged file;
- told: it goes on with a warning that names the file and all that was left out of it, or taken in place of it; nothing else is another;
- refused: one sentence that names the file (ValueError or OSError; of the command one line on standard error and exit status 1 or 2);
- undetectable: other values, where no check could see it (``unseen.py``), under the name of what hid it;
- anything else, of which there must be none: other values without a word, another kind of exception, a traceback, a hang, several lines,
  more memory than ``GROWTH``, something half-written.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.children import Ended
from tests.faults.unseen import unseen

RIGHT, TOLD, REFUSED, ELSE = "right", "told", "refused", "anything else"
GROWTH = 600 << 20  # bytes; a model of these tests and its passes take a tenth
LONGEST = 800  # characters of a message, which may tell of two splits, less the path of the place that the test runs in
SEED = int(os.environ.get("FCN_FAULTS_SEED", "0"))


@dataclass(frozen=True)
class Outcome:
    """what: ``RIGHT``, ``TOLD``, ``REFUSED``, ``ELSE``, or the name of undetectable damage. words: what was said, or what was wrong."""

    what: str
    words: str = ""


def of_library(path: Path, form: str, ended: Ended, damaged: bytes, undamaged: Any, others: Mapping[str, Any] | None = None) -> Outcome:
    """The outcome of one reading. undamaged: what the file gave before; others: what whole files that took its place give, by name."""
    if ended.how in ("died", "hung"):
        return Outcome(ELSE, f"{ended.how}: {ended.text}")
    if ended.hungry or ended.grown > GROWTH:
        return Outcome(ELSE, f"memory: {ended.grown >> 20} MiB more{', and it ran out' if ended.hungry else ''}; {ended.text}")
    if ended.how == "raised":
        wrong = "" if ended.asked else f"a {ended.error}"
        wrong = wrong or wrong_sentence(ended.text, path.name)
        return Outcome(ELSE, f"{wrong}: {ended.error}: {ended.text[:300]}") if wrong else Outcome(REFUSED, ended.text)
    if ended.value == undamaged:
        return Outcome(RIGHT)
    if form == "yaml" and any(is_told(line, path.name, differing(undamaged, ended.value)) for line in ended.told):
        return Outcome(TOLD, " ".join(ended.told))
    if ended.value in (others or {}).values():
        return Outcome("another whole file in its place")
    hidden = unseen(form, damaged, ended.value, undamaged)
    return Outcome(hidden) if hidden else Outcome(ELSE, f"other values without a word: {difference(undamaged, ended.value)}")


def wrong_sentence(text: str, name: str) -> str:
    """What keeps ``text`` from being one sentence about the file; "" where nothing does."""
    if name not in text:
        return "the file is not named"
    if len(text.splitlines()) != 1:
        return "several lines"
    if not text.replace("\t", " ").isprintable():
        return "characters that cannot be shown"
    length = len(re.sub(r"\S*/place/", "", text))
    if length > LONGEST:
        return f"{length} characters"
    return ""


def is_told(line: str, name: str, changed: list[str]) -> bool:
    """Whether a warning is a sentence about the file that names all that is another."""
    words = line.replace(",", " ").replace(";", " ").split()
    return not wrong_sentence(line, name) and all(key in words for key in changed)


def differing(one: Any, other: Any, place: str = "") -> list[str]:
    """The keys, dotted, of the plain values that differ in two nested dicts."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return [] if one == other else [place]
    return [key for name in {*one, *other} for key in differing(one.get(name), other.get(name), f"{place}.{name}".lstrip("."))]


def difference(one: Any, other: Any, place: str = "") -> str:
    """The first place at which two plain values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in one or key not in other:
                return f"{place}{key} is {'there' if key in other else 'missing'}"
            if one[key] != other[key]:
                return difference(one[key], other[key], f"{place}{key}.")
    return f"{place.rstrip('.') or 'it'} was {short(one)} and is {short(other)}"


def short(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 100 else text[:97] + "..."


def of_command(
    status: int, errors: str, name: str, *, same: bool, hidden: str | None, broken: list[str], changed: list[str] | None = None
) -> Outcome:
    """The outcome of a call of the command. errors: its standard error; name: of the damaged file; same: whether it left what it leaves
    with the undamaged file; hidden: what hid the damage, if something could; broken: files that are half-written, or changed wrongly;
    changed: the words that a warning about the file has to have, None where no warning makes another result right."""
    if broken:
        return Outcome(ELSE, f"half-written or changed: {', '.join(broken)}")
    if "Traceback" in errors:
        return Outcome(ELSE, f"a traceback: {errors[-300:]}")
    if status == 0:
        if same:
            return Outcome(RIGHT)
        if changed is not None and any(is_told(line, name, changed) for line in errors.splitlines()):
            return Outcome(TOLD)
        return Outcome(hidden) if hidden else Outcome(ELSE, "exit status 0 and another result, without a word")
    lines = told(errors)
    if status not in (1, 2):
        return Outcome(ELSE, f"exit status {status}: {errors[-300:]}")
    if len(lines) != 1:
        return Outcome(ELSE, f"{len(lines)} lines: {' | '.join(lines)[-300:]}")
    wrong = wrong_sentence(lines[0], name)
    return Outcome(ELSE, f"{wrong}: {lines[0][:300]}") if wrong else Outcome(REFUSED, lines[0])


def told(errors: str) -> list[str]:
    """The lines that tell of something wrong: not those that tell what is being done, nor the bars of progress."""
    lines = [line.strip() for part in errors.splitlines() for line in part.split("\r")]
    begins = ("fcn:", "skipped", "Corrupt JPEG", "Premature end", "libpng", "TIFF")  # the last are of libraries in C
    return [line for line in lines if line.startswith(begins) or "Error" in line or "Warning" in line]
