"""The settings that a run was started with, read from its ``config.yaml``, for ``resume=``."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fcn.cli.tree import composed, describe, store_schemas, to_object
from fcn.cli.words import WrongCallError, parse, without_references
from fcn.core.conf import default_parts
from fcn.core.errors import UserError
from fcn.core.names import first_line, shown
from fcn.core.plugins import check_plugins

log = logging.getLogger(__name__)

BESIDE_RESUME = {  # what is of the machine, not of the training; a comparison can be added to
    "train": ("resume", "device", "workers", "save_seconds", "tracker", "gradient_checkpointing", "plugins"),
    "compare": ("resume", "device", "workers", "save_seconds", "gradient_checkpointing", "cell", "seeds", "plugins"),
    "predict": ("resume", "device", "network", "plugins"),
}
LARGEST_SETTINGS = 100_000  # bytes of a config.yaml; what is written has about 3,000
DEEPEST_SETTINGS = 10  # levels; what is written has three


def resume(command: str, folder: Path, overrides: list[Any]) -> Any:
    """The configuration that a run was started with, for going on with it. Raises WrongCallError if there is none."""
    from omegaconf import OmegaConf

    file = folder / "config.yaml"
    if not file.is_file():
        kept = next((folder / name for name in ("best.pt", "last.pt") if (folder / name).is_file()), None)
        lost = f"; to start a new run from its weights: fcn train ... model.weights={kept} output=NEW" if kept else ""
        raise WrongCallError(f"resume={folder} is no run: there is no {file}; give the output folder of fcn {command}{lost}")
    for override in overrides:
        if override.key_or_group not in BESIDE_RESUME[command]:
            raise WrongCallError(
                f"{override.input_line} cannot be given with resume: the run goes on with the settings in {file}; "
                f"allowed beside it: {', '.join(BESIDE_RESUME[command][1:])}"
            )
    tree = saved_settings(command, folder, file)
    need_network(OmegaConf.select(tree, "network"), overrides, file)
    tree.output = None
    for override in overrides:
        OmegaConf.update(tree, override.key_or_group, override.value())
    return to_object(tree)


def saved_settings(command: str, folder: Path, file: Path) -> Any:
    """The checked settings in a ``config.yaml``. Raises WrongCallError, naming the file, for content that no run has written."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError, safe_load

    try:
        if file.stat().st_size > LARGEST_SETTINGS:
            raise UserError(f"it has {file.stat().st_size} bytes, and settings have fewer than {LARGEST_SETTINGS}")
        text = file.read_text(encoding="utf-8")
        check_plain(text)
        saved: Any = OmegaConf.create(literal(safe_load(text)))
        check_kind(command, folder, set(saved))
        need_plugins(saved.get("plugins") or [], file)
        if "tensorboard" in saved:  # what version 0.1 wrote
            saved.tracker = "tensorboard" if saved.pop("tensorboard") else None
        parts = [f"{group}={saved[group].name}" for group in default_parts(command)]
        store_schemas(command, parse(parts))
        settings = composed(command, parts)
        empty = sorted(OmegaConf.missing_keys(saved))
        if empty:
            raise UserError(f"{empty[0]} has no value")
        mappings = taken_mappings(saved, settings)
        lacking = sorted(flat(settings) - flat(saved) - {"resume", "output", "plugins"})
        tree = OmegaConf.merge(settings, saved)
        for key, value in mappings.items():
            OmegaConf.update(tree, key, value, merge=False)
        tree.resume, tree.output = None, None
        OmegaConf.to_object(tree)
        if lacking:
            log.warning("%s has no %s; the default is used", file, ", ".join(lacking))
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


def taken_mappings(saved: Any, settings: Any) -> dict[str, Any]:
    """The settings of parts that are mappings, by dotted key, which are null in ``saved`` afterwards: omegaconf cannot merge them."""
    from omegaconf import DictConfig, OmegaConf

    found: dict[str, Any] = {}
    for part, options in saved.items():
        for name, value in options.items() if isinstance(options, DictConfig) else ():
            if isinstance(value, DictConfig) and name in settings.get(part, {}) and settings[part][name] is None:
                found[f"{part!s}.{name!s}"] = OmegaConf.to_container(value)
    for key in found:
        OmegaConf.update(saved, key, None, merge=False)
    return found


def need_plugins(modules: list[str], file: Path) -> None:
    """Raises WrongCallError if the run needs a module that the call does not name: a file must not choose what code runs."""
    try:
        check_plugins(modules, str(file))
    except UserError as error:
        raise WrongCallError(str(error)) from error


def need_network(network: str | None, overrides: list[Any], file: Path) -> None:
    """Raises WrongCallError if the run needs a network of the user's own and the call does not name it: as ``need_plugins``."""
    given = next((override.value() for override in overrides if override.key_or_group == "network"), None)
    if given != network:
        advice = f"give network={network} too" if network else "leave network= out"
        raise WrongCallError(f"{file} says network={network or 'null'}; {advice}")


def check_plain(text: str) -> None:
    """Raises UserError for a YAML text that is not a mapping, has too many levels, gives a key twice, or holds references."""
    from yaml import AliasEvent, CollectionEndEvent, CollectionStartEvent, MappingStartEvent, NodeEvent
    from yaml import compose as yaml_nodes
    from yaml import parse as yaml_events

    depth, begun = 0, False
    for event in yaml_events(text):
        if isinstance(event, NodeEvent) and not begun:
            begun = True
            if not isinstance(event, MappingStartEvent):
                raise UserError("it holds no settings by name")
        if isinstance(event, AliasEvent):
            raise UserError("it holds a reference (*name), which no command writes")
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        if depth > DEEPEST_SETTINGS:
            raise UserError(f"it is nested more than {DEEPEST_SETTINGS} levels deep")
    check_keys_once(yaml_nodes(text))


def check_keys_once(node: Any) -> None:
    """Raises UserError if a mapping of a YAML text gives a key twice: YAML would use the last without a warning."""
    from yaml import MappingNode

    if isinstance(node, MappingNode):
        given = [key.value for key, _ in node.value]
        twice = [key for key in given if given.count(key) > 1]
        if twice:
            raise UserError(f"it gives {shown(twice[0])} twice")
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
    """The values with all references resolved."""
    if isinstance(value, dict):
        return {key: literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [literal(item) for item in value]
    return without_references(value) if isinstance(value, str) else value


def check_kind(command: str, folder: Path, saved: set[Any]) -> None:
    """Raises WrongCallError, naming the right command, if the folder with the settings ``saved`` belongs to another command."""
    whole = folder.absolute().parent.parent
    if folder.absolute().parent.name == "cells" and (whole / "config.yaml").is_file():
        raise WrongCallError(f"resume={folder} is one training of a comparison; fcn compare resume={whole} goes on with all of them")
    for key, other in (("seed", "train"), ("seeds", "compare"), ("input", "predict")):
        if key in saved and other != command:
            raise WrongCallError(f"resume={folder} is an output folder of fcn {other}; fcn {other} resume={folder} goes on with it")
