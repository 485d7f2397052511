"""The words of a call, read and checked against the settings that there are. The answer to a wrong word names the right ones.

Hydra accepts ``+key`` and some typing errors, so every word is checked against the schema first.
"""

from collections.abc import Iterable, Iterator
from itertools import product
from typing import Any

from fcn.cli.tree import is_setting, keys, store_schemas, use_plugins
from fcn.cli.words import WrongCallError, bracketed, elements, leaves, parse, part_words, text_of, word_of_path
from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.core.names import listed, nearest, suggest
from fcn.core.registry import KINDS, find, list_parts
from fcn.tools.compare.settings import NOT_COMPARED

MOVED = {"tensorboard": "tracker=tensorboard"}  # settings of version 0.1, and what is written now


def read(command: str, words: list[str], *, several: bool = False) -> tuple[list[Any], list[Any]]:
    """The settings in ``words``, all of which exist, and the same with every list in brackets. Raises WrongCallError.

    several: whether a comma stands between the values of several runs in a path, too. The plugins that the words name are imported first.
    What ``fcn compare`` compares stays the list that it is.
    """
    use_plugins(words)
    if command == "compare":  # as elsewhere the last of equal keys counts; one of them may be a list of values, and another none
        words = list({word.partition("=")[0].lstrip("+"): word for word in words}.values())
    groups = default_parts(command)
    chosen = parse([word for word in words if word.partition("=")[0].lstrip("+") in groups])
    if command == "compare":
        chosen = [one_by_one(override) for override in chosen]
    for override in chosen:
        check_part(override.key_or_group, part_words(override))
    known = every_key(command, chosen, store_schemas(command, chosen))
    full = spelled_out(words, known, groups)
    given = parse([word_of_path(word, several=several or (command == "compare" and "=[" in word)) for word in full])
    check_keys(command, given, known)
    if command == "compare":
        known |= {override.key_or_group: False for override in given if compares_lists(override)}
        known |= {
            override.key_or_group: True for override in given if override.key_or_group in groups and isinstance(elements(override)[0], list)
        }
    return given, bracketed(given, known)


def one_by_one(override: Any) -> Any:
    """The choice of a part with the words of a list, which are compared, as those of a sweep."""
    found = leaves(elements(override))
    if not any(isinstance(value, list) for value in elements(override)) or not found:
        return override
    return parse([f"{override.key_or_group}={','.join(map(str, found))}"])[0]


def compares_lists(override: Any) -> bool:
    """Whether the values of a setting that is a list are lists of lists, of which each is compared with the others."""
    given = elements(override)
    own = override.key_or_group in NOT_COMPARED
    return not own and all(
        isinstance(value, list) and value and all(isinstance(item, list) or item is None for item in value) for value in given
    )


def spelled_out(words: list[str], known: dict[str, bool], groups: Iterable[str]) -> list[str]:
    """``words`` with the part written before short keys: ``arch=FPN`` becomes ``model.arch=FPN``. A short key has no dot, and is not a
    setting of the command. Raises WrongCallError, with the right words, for a key that several parts have."""
    meanings = shorthands(known, groups)
    full = []
    for word in words:
        key, _, value = word.partition("=")
        meant = [] if key in known or key in KINDS else meanings.get(key, [])
        if len(meant) > 1:
            right = [override.input_line for override in bracketed(parse([f"{name}={value}" for name in meant]), known)]
            raise WrongCallError(f"{word} may mean {' or '.join(right)}; write the one that is meant")
        full.append(f"{meant[0].removesuffix(key)}{word}" if meant else word)
    return full


def shorthands(known: dict[str, bool], groups: Iterable[str]) -> dict[str, list[str]]:
    """The settings of parts, by their names without the part. If the command has a list of that name, as ``seeds`` for ``seed``, the name
    may also mean the list."""
    found: dict[str, list[str]] = {}
    for name in sorted(known):
        part, _, setting = name.partition(".")
        if part in groups and "." not in setting:
            found.setdefault(setting, [f"{setting}s"] if known.get(f"{setting}s") else []).append(name)
    return found


def check_part(group: str, words: list[str]) -> None:
    """Raises WrongCallError, with the nearest right words, for a word that the group does not have."""
    for word in words:
        if group == "backbone" and word in ("", "null"):
            raise WrongCallError(f"backbone={word} names no backbone; give one, as backbone=resnet18 (fcn train --help lists them)")
        try:
            find(group, word)
        except UserError as error:
            raise WrongCallError(str(error)) from error


def check_keys(command: str, overrides: list[Any], known: dict[str, bool]) -> None:
    """Raises WrongCallError, with the nearest right keys, for a key that does not exist, with any prefix."""
    groups = default_parts(command)
    for override in overrides:
        key = override.key_or_group
        if override.is_add() and (key in known or key in groups):
            raise WrongCallError(f"{override.input_line}: {key} exists already; write it without the +")
        if key in groups:
            continue
        if is_setting(command, key):
            check_part(key, ["null" if leaf is None else str(leaf) for leaf in leaves(elements(override))])
        elif key in KINDS:
            raise WrongCallError(f"fcn {command} has no part '{key}'; it has {', '.join(sorted(groups))}")
        if key not in known:
            raise WrongCallError(no_such_key(command, key, text_of(override), known))


def no_such_key(command: str, key: str, value: str, known: dict[str, bool]) -> str:
    """The answer to a key that does not exist: the part that has it, or the nearest right keys."""
    groups = default_parts(command)
    part, _, setting = key.partition(".")
    within = sorted(name.removeprefix(f"{part}.") for name in known if name.startswith(f"{part}."))
    owners = parts_with(part, setting) if part in groups else []
    if part in groups and not within:
        first = (owners or list_parts(part))[0]
        return f"{key} is a setting of a part that is not chosen; choose it first, as {part}={first} {key}=..."
    if owners:
        right = f"{part}={owners[0]} {key}={value}" + (", or another of them" if len(owners) > 1 else "")
        return f"{key} is a setting of {part}={listed(owners, 8)}; write {right}"
    missing = f"fcn {command} has no setting '{key}'"
    if within:
        close = [f"{part}.{each}" for each in nearest(setting, within)]
        return f"{missing}; " + (f"did you mean {' or '.join(close)}?" if close else f"{part} has {', '.join(within)}")
    if key in MOVED:
        return f"{missing}; write {MOVED[key]}"
    short = {name for name in shorthands(known, groups) if not known.get(f"{name}s")}
    words = {*known, *groups, *short}
    for kind in groups if not nearest(key, sorted(words)) else ():
        owners = parts_with(kind, key)
        if owners:
            return f"{key} is a setting of {kind}={listed(owners, 8)}; write {kind}={owners[0]} {kind}.{key}={value}"
    return f"{missing}; {suggest(key, words)}"


def parts_with(kind: str, setting: str) -> list[str]:
    """The parts of a kind that have a setting, those with the most settings first."""
    parts = [find(kind, name) for name in list_parts(kind)]
    owners = [part for part in parts if any(each.name == setting for each in part.settings)]
    return [part.name for part in sorted(owners, key=lambda part: (-len(part.settings), part.name))]


def every_key(command: str, chosen: list[Any], schemas: tuple[type, ...]) -> dict[str, bool]:
    """Every key that can be set with some combination of the ``chosen`` parts, and whether it is a list in all of them that have it."""
    found: dict[str, bool] = {}
    for combination in combinations(chosen):
        for key, is_list in keys(command, combination, schemas).items():
            found[key] = is_list and found.get(key, True)
    return found


def combinations(chosen: list[Any]) -> Iterator[tuple[str, ...]]:
    """Choices of groups, once for each value that a sweep over parts gives."""
    yield from product(*([f"{item.key_or_group}={word}" for word in part_words(item)] for item in chosen))
