"""The help of the command line: every setting with its default and its help line."""

from collections.abc import Iterator
from dataclasses import fields
from textwrap import wrap
from typing import Any

from fcn import tools as schema
from fcn.cli.experiments import WITH_RECIPES, headline, list_experiments
from fcn.core.conf import default_parts
from fcn.core.registry import find, list_parts
from fcn.core.settings import REQUIRED, Setting, default_of, inherited_lines
from fcn.tools.schema import loss_schema
from fcn.tools.settings import AugmentConfig

WIDTH = 120  # characters of a line
NAME = 30  # characters of a setting and its default, beside which its line stands
MANY = 24  # words of a kind that are listed one by one


def general_help() -> str:
    lines = ["fcn: fully convolutional segmentation networks, from classifiers to label maps", "", "fcn COMMAND [key=value ...]", ""]
    lines += [f"  {name:<10}{schema.COMMANDS[name].SUMMARY}" for name in schema.COMMANDS]
    return "\n".join([*lines, "", "fcn COMMAND --help shows examples and every setting."])


def command_help(command: str) -> str:
    """All that can be set in a command: its own settings, then those of its parts."""
    kinds = default_parts(command)
    lines = [f"fcn {command}: {schema.COMMANDS[command].SUMMARY}", "", schema.COMMANDS[command].EXAMPLES]
    if command in WITH_RECIPES:
        lines += ["", "experiment=NAME, a whole recipe; or FILE.yaml, your own:"]
        for name in list_experiments():
            lines += entry(name, None, headline(name), plain=True)
    lines += ["", "Settings:"]
    for name, default, text in command_settings(schema.COMMANDS[command]):
        lines += entry(name, default, text)
    if any(field.name == "augment" for field in fields(schema.COMMANDS[command])):
        lines += ["", "Training samples:"]
        for name, default, text in command_settings(AugmentConfig):
            lines += entry(f"augment.{name}", default, text)
        lines += ["", "Loss, a weighted sum of terms:"]
        for setting in loss_schema().SETTINGS:
            lines += entry(f"loss.{setting.name}", setting.default, setting.help)
    for kind, word in kinds.items():
        lines += ["", f"{kind}={word}", *words_of(kind)]
        for setting, having in shared_settings(kind):
            of = "" if len(having) == len(list_parts(kind)) else f" [{shortened(having)}]"
            lines += entry(f"{kind}.{setting.name}", setting.default, f"{setting.help.removesuffix('.')}{of}")
    return "\n".join(lines)


def command_settings(declared: type) -> Iterator[tuple[str, Any, str]]:
    """Name, default and line of each setting of a command; its parts and sections are left out."""
    texts = inherited_lines(declared)
    for field in fields(declared):
        if field.name in texts:
            made = default_of(field)
            yield field.name, "from the data set" if made == REQUIRED and field.name in FROM_DATA else made, texts[field.name]


FROM_DATA = ("epochs", "batch_size", "crop_size", "scale", "brightness", "contrast", "saturation")  # recipes in conf/data


def words_of(kind: str) -> Iterator[str]:
    """The words of a kind; if they are few, with a line about each."""
    names = list_parts(kind)
    if len(names) > MANY:
        more = "; and every encoder of smp and timm by its name" if kind == "backbone" else ""
        yield from (f"    {line}" for line in wrap(f"{', '.join(names)}{more}", WIDTH - 4))
        return
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(find(kind, name).summary.replace("`", ""), []).append(name)
    for summary, group in alike.items():
        yield from entry(", ".join(group), None, summary, plain=True)


def shared_settings(kind: str) -> list[tuple[Setting, list[str]]]:
    """Each setting of a kind once, with the parts that share this form of it."""
    found: dict[str, tuple[Setting, list[str]]] = {}
    for name in list_parts(kind):
        for setting in find(kind, name).settings:
            key = f"{setting.name} {setting.default} {setting.help}"
            found.setdefault(key, (setting, []))[1].append(name)
    return sorted(found.values(), key=lambda item: -len(item[1]))


def shortened(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:4])}, ... ({len(names)})"


def entry(name: str, default: Any, text: str, *, plain: bool = False) -> list[str]:
    """A setting and its default, with the help line beside them."""
    left = f"  {name}" if plain else f"  {name}={written(default)}"
    first, *rest = wrap(text, WIDTH - NAME - 2) or [""]
    lines = [f"{left:<{NAME}}  {first}".rstrip()] if len(left) <= NAME else [left, f"{'':<{NAME}}  {first}".rstrip()]
    return lines + [f"{'':<{NAME}}  {line}" for line in rest]


def written(value: Any) -> str:
    """A value as it is written on the command line."""
    if value is None or value is True or value is False:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list | tuple):
        return f"[{','.join(map(written, value))}]"
    return "..." if value == REQUIRED else str(value)
