"""From the words of a call to the checked configuration of a command.

Hydra and omegaconf are imported here and in ``launchers.py`` only. Every word is checked against the schema first (Hydra itself lets
``+key`` and typing errors in some places pass); what is wrong is told with the words that would be right.
"""

import logging
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields
from itertools import product
from pathlib import Path
from typing import Any

from fcn import tools as schema
from fcn.core.conf import conf_folder, default_parts
from fcn.core.errors import UserError
from fcn.core.names import first_line, shown, suggest
from fcn.core.registry import KINDS, find, list_parts, load_plugins
from fcn.tools.schema import loss_schema, part_schema

log = logging.getLogger(__name__)


class WrongCallError(Exception):
    """Its text is the one line that is shown."""


def compose(command: str, words: list[str]) -> Any:
    """The checked configuration of a command: an object of ``config.COMMANDS[command]``. Raises WrongCallError."""
    use_plugins(words)
    unchosen = [f"{part}=null" for part, word in default_parts(command).items() if word == "null"]
    given, overrides = read(command, [word for word in words if word not in unchosen])
    for override in overrides:
        if override.is_sweep_override():
            raise WrongCallError(f"{override.input_line} gives several values; add -m for one run of each")
    resumed = [override for override in overrides if override.key_or_group == "resume" and override.value() is not None]
    if resumed:
        return resume(command, Path(text_of(resumed[0])), overrides)
    settings = build(command, [override.input_line for override in overrides])
    check_brackets(given, overrides)
    return settings


def use_plugins(words: list[str]) -> None:
    """Import the modules that ``plugins=[...]`` names, so that their parts can be chosen. Raises WrongCallError where that fails."""
    given = [word.partition("=")[2] for word in words if word.partition("=")[0] == "plugins"]
    try:
        load_plugins([name.strip(" '\"") for value in given for name in value.strip("[]").split(",") if name.strip() not in ("", "null")])
    except UserError as error:
        raise WrongCallError(str(error)) from error


BESIDE_RESUME = {  # what is of the machine, not of the training; a comparison can be added to
    "train": ("resume", "device", "workers", "save_seconds", "tensorboard"),
    "compare": ("resume", "device", "workers", "save_seconds", "cell", "seeds", "upsample"),
    "predict": ("resume", "device"),
}
# Taken to the letter, but for a ``~`` at the start: a comma is a comma, a backslash a backslash, and ``${x}`` no reference.
PATHS = ("checkpoint", "input", "output", "resume", "image", "layers", "data.root", "model.weights", "backbone.weights")


def resume(command: str, folder: Path, overrides: list[Any]) -> Any:
    """The configuration that a run was started with, for going on with it. Raises WrongCallError where there is none."""
    from omegaconf import OmegaConf

    file = folder / "config.yaml"
    if not file.is_file():
        kept = next((folder / name for name in ("best.pt", "last.pt") if (folder / name).is_file()), None)
        lost = f"; to start anew from what was learnt there, fcn train ... model.weights={kept} output=NEW" if kept else ""
        raise WrongCallError(f"resume={folder} is no run: there is no {file}; give the output folder of fcn {command}{lost}")
    for override in overrides:
        if override.key_or_group not in BESIDE_RESUME[command]:
            raise WrongCallError(
                f"{override.input_line} cannot be given with resume, which goes on with the settings in {file}; "
                f"allowed beside it: {', '.join(BESIDE_RESUME[command][1:])}"
            )
    tree = saved_settings(command, folder, file)
    tree.output = None
    for override in overrides:
        OmegaConf.update(tree, override.key_or_group, override.value())
    return to_object(tree)


LARGEST_SETTINGS = 100_000  # bytes of a config.yaml; what is written has about 3,000
DEEPEST_SETTINGS = 10  # levels; what is written has three


def saved_settings(command: str, folder: Path, file: Path) -> Any:
    """The settings in a ``config.yaml``, each of them checked. Raises WrongCallError, naming the file, for what no run has written."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError, safe_load

    try:
        if file.stat().st_size > LARGEST_SETTINGS:
            raise ValueError(f"it has {file.stat().st_size} bytes, and settings have fewer than {LARGEST_SETTINGS}")
        text = file.read_text(encoding="utf-8")
        check_plain(text)
        saved: Any = OmegaConf.create(literal(safe_load(text)))
        check_kind(command, folder, set(saved))
        use_plugins([f"plugins={','.join(saved.get('plugins') or [])}"])
        parts = [f"{group}={saved[group].name}" for group in default_parts(command)]
        store_schemas(command, parse(parts))
        settings = composed(command, parts)
        lacking = sorted(flat(settings) - flat(saved) - {"resume", "output", "plugins"})
        empty = sorted(OmegaConf.missing_keys(saved))
        if empty:
            raise ValueError(f"{empty[0]} has no value")
        tree = OmegaConf.merge(settings, saved)
        tree.resume, tree.output = None, None
        OmegaConf.to_object(tree)
        if lacking:
            log.warning("%s lacks %s; the default is taken", file, ", ".join(lacking))
        return tree
    except WrongCallError:
        raise
    except (HydraException, OmegaConfBaseException) as error:
        reason = describe(error)
    except OSError as error:
        raise WrongCallError(f"{file} cannot be read ({error.strerror or error}); change its permissions") from error
    except (YAMLError, AttributeError, TypeError, ValueError, RecursionError, KeyError) as error:
        reason = first_line(error)
    raise WrongCallError(f"{file} is damaged, or of another version of fcn: {reason}")


def check_plain(text: str) -> None:
    """ValueError where a YAML text is no mapping of a few levels, gives a key twice, or where a few of its bytes stand for many values."""
    from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, MappingStartEvent, NodeEvent
    from yaml import compose as yaml_nodes
    from yaml import parse as yaml_events

    depth, begun = 0, False
    for event in yaml_events(text):
        if isinstance(event, NodeEvent) and not begun:
            begun = True
            if not isinstance(event, MappingStartEvent):
                raise ValueError("it holds no settings by name")
        if isinstance(event, AliasEvent):
            raise ValueError("it holds a reference (*name), which no command writes")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST_SETTINGS:
            raise ValueError(f"it is nested more than {DEEPEST_SETTINGS} levels deep")
    check_keys_once(yaml_nodes(text))


def check_keys_once(node: Any) -> None:
    """ValueError where a mapping of a YAML text gives a key twice, of which the last would be taken."""
    from yaml import MappingNode

    if isinstance(node, MappingNode):
        given = [key.value for key, _ in node.value]
        twice = [key for key in given if given.count(key) > 1]
        if twice:
            raise ValueError(f"it gives {shown(twice[0])} twice")
        for _, value in node.value:
            check_keys_once(value)


def flat(settings: Any) -> set[str]:
    """The keys of all settings, dotted."""
    from omegaconf import OmegaConf

    def walk(node: dict[Any, Any], prefix: str) -> Iterator[str]:
        for key, value in node.items():
            yield from walk(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    return set(walk(OmegaConf.to_container(settings), ""))  # type: ignore[arg-type]


def literal(value: Any) -> Any:
    """Values in which nothing refers to anything any more."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return without_references(value) if isinstance(value, str) else value


def check_kind(command: str, folder: Path, saved: set[Any]) -> None:
    """WrongCallError where another command goes on with a folder whose ``config.yaml`` has the settings ``saved``; it is named."""
    whole = folder.absolute().parent.parent
    if folder.absolute().parent.name == "cells" and (whole / "config.yaml").is_file():
        raise WrongCallError(f"resume={folder} is one training of a comparison; fcn compare resume={whole} goes on with all of them")
    for key, other in (("seed", "train"), ("seeds", "compare"), ("input", "predict")):
        if key in saved and other != command:
            raise WrongCallError(f"resume={folder} is an output folder of fcn {other}; fcn {other} resume={folder} goes on with it")


def read(command: str, words: list[str], *, several: bool = False) -> tuple[list[Any], list[Any]]:
    """The settings that ``words`` give, each of which exists, and the same with every list in brackets. Raises WrongCallError.

    several: whether a comma stands between the values of several runs in a path, too.
    """
    groups = default_parts(command)
    chosen = parse([word for word in words if word.partition("=")[0].lstrip("+") in groups])
    for override in chosen:
        check_part(override.key_or_group, values(override))
    store_schemas(command, chosen)
    known = every_key(command, chosen)
    given = parse([word_of_path(word, several=several) for word in spelled_out(words, known, groups)])
    check_keys(command, given, known)
    return given, bracketed(given, known)


def parse(words: list[str]) -> list[Any]:
    """Hydra's reading of every word, refused where it is no ``key=value``."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    overrides = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.strip():
            raise WrongCallError(f"'{word}' is no setting; write key=value, as {key or 'epochs'}=...")
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
    """A word of the call, its value in quotes where it is a path that is not: what Hydra and omegaconf then read is what was written.
    several: a path, but that of the output, is cut at its commas."""
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
    """``text`` as omegaconf reads it as it is: a ``${`` in it begins no reference to another setting."""
    return re.sub(r"(\\*)\$\{", lambda found: 2 * found[1] + "\\${", text)


def text_of(override: Any) -> str:
    """The text that an override gives to a setting, which omegaconf has read."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        return str(OmegaConf.create({"text": override.value()}).text)
    except OmegaConfBaseException as error:
        raise WrongCallError(f"{override.input_line}: {first_line(error)}") from error


def spelled_out(words: list[str], known: dict[str, bool], groups: Iterable[str]) -> list[str]:
    """``words`` with the part put before a key that has no dot, is no setting of the command, and means one setting only: ``arch=FPN``
    becomes ``model.arch=FPN``. Raises WrongCallError, with the words that would be right, where it may mean several."""
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
    """The settings of parts, by their names without the part. Where the command has a list of that name, as ``seeds`` is one of ``seed``,
    the name may mean the list as well."""
    found: dict[str, list[str]] = {}
    for name in sorted(known):
        part, _, setting = name.partition(".")
        if part in groups and "." not in setting:
            found.setdefault(setting, [f"{setting}s"] if known.get(f"{setting}s") else []).append(name)
    return found


def store_schemas(command: str, chosen: list[Any]) -> None:
    """Put the schemas of the command, of its parts and of those that are ``chosen`` into Hydra's store.

    A part that has a file in ``conf`` names its schema there; for any other its name stands for the schema itself.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    store.store(name=f"{command}_schema", node=schema.COMMANDS[command])
    words = {(kind, word) for kind, word in default_parts(command).items() if word != "null"}
    words |= {(override.key_or_group, word) for override in chosen for word in values(override) if word != "null"}
    for kind, word in words:
        filed = (conf_folder() / kind / f"{word}.yaml").is_file()
        store.store(group=kind, name=f"{word}_schema" if filed else file_name(word), node=part_schema(kind, word, without_references(word)))
    if any(field.name == "loss" for field in fields(schema.COMMANDS[command])):
        store.store(group="loss", name="terms", node=loss_schema())


def file_name(word: str) -> str:
    """A backbone's word as the name of a file of its group, which Hydra looks for: without what would lead into another folder."""
    return word if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", word) else f"x{word.encode(errors='surrogateescape').hex()}"


def values(override: Any) -> list[str]:
    """The words that an override gives: one, or those of a sweep."""
    from hydra.core.override_parser.types import Transformer

    several = override.is_sweep_override()
    return [Transformer.str(value) if several or value is None else str(value) for value in elements(override)]


def elements(override: Any) -> list[Any]:
    """The values that an override gives, as they were read."""
    if not override.is_sweep_override():
        return [override.value()]
    try:
        return list(override.sweep_iterator())
    except Exception as error:  # of Hydra's kinds of sweep, intervals and globs stand for no values by themselves
        raise WrongCallError(f"{override.input_line} is no list of values; write each of them") from error


def check_part(group: str, words: list[str]) -> None:
    """WrongCallError for a word that the group does not have; the nearest right ones are named."""
    for word in words:
        if group == "backbone" and word in ("", "null"):
            raise WrongCallError(f"backbone={word} names none; write a word of fcn help, or the name of an encoder, as backbone=resnet18")
        try:
            find(group, word)
        except UserError as error:
            raise WrongCallError(str(error)) from error


def check_keys(command: str, overrides: list[Any], known: dict[str, bool]) -> None:
    """WrongCallError for a key that does not exist, in any prefix; the nearest right ones are named."""
    groups = default_parts(command)
    for override in overrides:
        key = override.key_or_group
        if override.is_add() and (key in known or key in groups):
            raise WrongCallError(f"{override.input_line}: {key} is there already; write it without the +")
        if key in groups:
            continue
        if is_setting(command, key):
            check_part(key, ["null" if leaf is None else str(leaf) for leaf in leaves(elements(override))])
        elif key in KINDS:
            raise WrongCallError(f"fcn {command} has no part '{key}'; it has {', '.join(sorted(groups))}")
        if key not in known:
            part = key.partition(".")[0]
            if part in groups and not any(name.startswith(f"{part}.") for name in known):
                raise WrongCallError(
                    f"{key} is a setting of a part that is not chosen; choose it first, as {part}={list_parts(part)[0]} {key}=..."
                )
            short = {name for name in shorthands(known, groups) if not known.get(f"{name}s")}
            words = set(known) if "." in key else {*known, *groups, *short}
            raise WrongCallError(f"fcn {command} has no setting '{key}'; {suggest(key, words)}")


def bracketed(overrides: list[Any], known: dict[str, bool]) -> list[Any]:
    """``overrides`` with the values of a list in one pair of brackets, where they are in none or in several. A sweep of lists stays one."""
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
    """WrongCallError for what ``bracketed`` had to write anew. Called once all else is right, so that its advice is right as well."""
    for before, after in zip(given, written, strict=True):
        if before is not after:
            raise WrongCallError(f"{before.input_line} is no list in one pair of brackets; write {after.input_line}")


def is_list(value: Any) -> bool:
    """Whether a value can be that of a list: plain values in brackets, null, or what stands for a value that is elsewhere or missing."""
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


def every_key(command: str, chosen: list[Any]) -> dict[str, bool]:
    """Every key that can be set with any combination of the parts that ``chosen`` gives, and whether it is a list with all that have it."""
    found: dict[str, bool] = {}
    for combination in combinations(chosen):
        for key, listed in keys(command, combination).items():
            found[key] = listed and found.get(key, True)
    return found


def combinations(chosen: list[Any]) -> Iterator[list[str]]:
    """One list of group choices for each value that a sweep over parts gives."""
    yield from (list(choice) for choice in product(*([f"{item.key_or_group}={word}" for word in values(item)] for item in chosen)))


def keys(command: str, overrides: list[str]) -> dict[str, bool]:
    """Every key that can be set, dotted, with the parts that ``overrides`` choose, and whether it is a list."""
    from omegaconf import DictConfig, OmegaConf

    def walk(node: DictConfig, prefix: str) -> Iterator[tuple[str, bool]]:
        for name in map(str, node):
            child = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
            if isinstance(child, DictConfig):
                yield from walk(child, f"{prefix}{name}.")
            elif not (prefix and name == "name"):  # a part is chosen by its own word
                yield f"{prefix}{name}", OmegaConf.get_type(node, name) is list

    return dict(walk(composed(command, overrides), ""))


def composed(command: str, overrides: list[str]) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    lists = [word for word in overrides if is_setting(command, word.partition("=")[0])]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder().resolve())):
        tree = hydra_compose(command, [with_file_name(word) for word in overrides if word not in lists])
    for override in parse(lists):
        OmegaConf.update(tree, override.key_or_group, override.value())
    return tree


def with_file_name(word: str) -> str:
    """A word of the call as Hydra composes it: a backbone by its ``file_name``."""
    key = word.partition("=")[0]
    return f"{key}={file_name(values(parse([word])[0])[0])}" if key == "backbone" else word


def is_setting(command: str, key: str) -> bool:
    """Whether a group's name is a setting of this command, a list of the group's words, where Hydra would choose a part."""
    return key in KINDS and key not in default_parts(command) and key in {field.name for field in fields(schema.COMMANDS[command])}


def build(command: str, overrides: list[str]) -> Any:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings = to_object(composed(command, overrides))
        if getattr(settings, "quick", False):
            settings = to_object(composed(command, [*settings.quick_words, *overrides]))
        return settings
    except (HydraException, OmegaConfBaseException) as error:
        raise WrongCallError(describe(error)) from error


def to_object(tree: Any) -> Any:
    """The dataclass object of a composed tree. Raises WrongCallError for what is missing, of a wrong type or out of range."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    missing = sorted(OmegaConf.missing_keys(tree))
    if missing:
        raise WrongCallError(f"{missing[0]} must be given; write {missing[0]}=...")
    try:
        return OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        raise WrongCallError(describe(error)) from error
    except ValueError as error:
        raise WrongCallError(str(error)) from error


def describe(error: Exception) -> str:
    """Hydra's and omegaconf's errors in one line, with the key that they are about."""
    cause: BaseException = error
    while cause.__cause__ is not None and not getattr(cause, "full_key", None):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None)
    if not key:
        return first_line(error)
    told = re.sub(r"^While dereferencing interpolation '.*?': (?=Value ')", "", first_line(cause))  # which the value shows
    return f"{key}: {told}"
