"""The configuration of a command as a tree: its schemas in Hydra's store, the keys that can be set, and the checked object of it."""

import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from typing import Any

from fcn import tools as schema
from fcn.cli.words import WrongCallError, parse, part_words, without_references
from fcn.core.conf import conf_folder, default_parts
from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.core.plugins import load_plugins
from fcn.core.registry import KINDS, registers
from fcn.tools.schema import loss_schema, part_schema

log = logging.getLogger(__name__)


def use_plugins(words: list[str]) -> None:
    """Import the modules that ``plugins=[...]`` names, so that their parts can be chosen. Raises WrongCallError if that fails."""
    given = [word.partition("=")[2] for word in words if word.partition("=")[0] == "plugins"]
    try:
        names = [name.strip(" '\"") for value in given for name in value.strip("[]").split(",") if name.strip() not in ("", "null")]
        load_plugins(names)
        for name in names:
            if not registers(name):
                log.warning("note: plugins=[%s] registers no part (%s)", name, getattr(sys.modules[name], "__file__", "built in"))
    except UserError as error:
        raise WrongCallError(str(error)) from error


def store_schemas(command: str, chosen: list[Any]) -> tuple[type, ...]:
    """Put the schemas of the command, of its parts and of those that are ``chosen`` into Hydra's store, and return them.

    A part that has a file in ``conf`` names its schema there; for any other its name stands for the schema itself.
    """
    from hydra.core.config_store import ConfigStore

    store = ConfigStore.instance()
    stored: list[type[Any]] = [schema.COMMANDS[command]]
    store.store(name=f"{command}_schema", node=stored[0])
    words = {(kind, word) for kind, word in default_parts(command).items() if word != "null"}
    words |= {(override.key_or_group, word) for override in chosen for word in part_words(override) if word != "null"}
    for kind, word in sorted(words):
        filed = (conf_folder() / kind / f"{word}.yaml").is_file()
        stored.append(part_schema(kind, word, without_references(word)))
        store.store(group=kind, name=f"{word}_schema" if filed else file_name(word), node=stored[-1])
    if any(field.name == "loss" for field in fields(schema.COMMANDS[command])):
        stored.append(loss_schema())
        store.store(group="loss", name="terms", node=stored[-1])
    return tuple(stored)


def file_name(word: str) -> str:
    """A backbone's word as the name of a file that Hydra looks for, without characters that would lead into another folder."""
    return word if re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", word) else f"x{word.encode(errors='surrogateescape').hex()}"


@lru_cache(maxsize=256)
def keys(command: str, overrides: tuple[str, ...], schemas: tuple[type, ...]) -> dict[str, bool]:
    """Every key that can be set, dotted, with the parts that ``overrides`` choose, and whether it is a list.

    The result is kept, because a composition takes a tenth of a second. schemas: those in Hydra's store, on which the keys depend.
    """
    from omegaconf import DictConfig, OmegaConf

    def walk(node: DictConfig, prefix: str) -> Iterator[tuple[str, bool]]:
        for name in map(str, node):
            child = None if OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name) else node[name]
            if isinstance(child, DictConfig):
                yield from walk(child, f"{prefix}{name}.")
            elif not (prefix and name == "name"):  # a part is chosen by its own word
                yield f"{prefix}{name}", OmegaConf.get_type(node, name) is list

    return dict(walk(composed(command, list(overrides)), ""))


def composed(command: str, overrides: list[str]) -> Any:
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from omegaconf import OmegaConf

    lists = [word for word in overrides if is_setting(command, word.partition("=")[0]) or isinstance(parse([word])[0].value(), dict)]
    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder().resolve())):
        tree = hydra_compose(command, [with_file_name(word) for word in overrides if word not in lists])
    for override in parse(lists):
        OmegaConf.update(tree, override.key_or_group, override.value(), merge=False)  # omegaconf cannot merge a mapping into null
    return tree


def with_file_name(word: str) -> str:
    """A word of the call in the form that Hydra composes: a backbone by its ``file_name``."""
    key = word.partition("=")[0]
    return f"{key}={file_name(part_words(parse([word])[0])[0])}" if key == "backbone" else word


def is_setting(command: str, key: str) -> bool:
    """True if a group's name is a setting of this command: a list of the group's words, where Hydra would choose a part."""
    return key in KINDS and key not in default_parts(command) and key in {field.name for field in fields(schema.COMMANDS[command])}


def to_object(tree: Any) -> Any:
    """The dataclass object of a composed tree. Raises WrongCallError for a value that is missing, of a wrong type or out of range."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    missing = sorted(OmegaConf.missing_keys(tree))
    if missing:
        raise WrongCallError(f"{missing[0]} must be given; write {missing[0]}=...")
    try:
        return OmegaConf.to_object(tree)
    except OmegaConfBaseException as error:
        raise WrongCallError(describe(error)) from error
    except UserError as error:
        raise WrongCallError(str(error)) from error


def describe(error: Exception) -> str:
    """Hydra's and omegaconf's errors in one line, with the key that they are about."""
    cause: BaseException = error
    while cause.__cause__ is not None and not getattr(cause, "full_key", None):
        cause = cause.__cause__
    key = getattr(cause, "full_key", None)
    if not key:
        return first_line(error)
    if re.search(r"\bDict\[|\bDictConfig\b|^Key .* is incompatible", first_line(cause)):  # of a setting that is a mapping
        setting = ".".join(key.split(".")[:2])
        return f"{setting} is a mapping from whole numbers to words, as {{0: background, 255: thing}}"
    kind = re.fullmatch(r"Value '(.*)' of type '\w+' could not be converted to (Float|Integer)", first_line(cause).rpartition(": ")[2])
    if kind:
        return f"{key}={kind[1]} is not allowed; {key.rpartition('.')[2]} is a {'whole ' if kind[2] == 'Integer' else ''}number"
    told = re.sub(r"^While dereferencing interpolation '.*?': (?=Value ')", "", first_line(cause))  # which the value shows
    return f"{key}: {told}"


def built(command: str, overrides: list[str]) -> Any:
    """The checked object of a command with these settings. Raises WrongCallError."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        settings = to_object(composed(command, overrides))
        if getattr(settings, "quick", False):
            settings = to_object(composed(command, [*settings.quick_words, *overrides]))
        settings.words = tuple(overrides)
        return settings
    except (HydraException, OmegaConfBaseException) as error:
        raise WrongCallError(describe(error)) from error
