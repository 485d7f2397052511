"""Writes docs/api.md, the page of the Python API, from signatures, docstrings and settings: python scripts/api_page.py [FILE]"""

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import fcn
from fcn.core.registry import Part, common_settings, find, list_parts
from fcn.core.settings import REQUIRED, Setting
from fcn.models.segmenter import ARGUMENTS
from fcn.tools.train.call import PARTS, owners

PAGE = Path(__file__).parents[1] / "docs" / "api.md"

HEAD = """# Python API

All names are imported when they are first used: `import fcn` is cheap. Sizes are (height, width) in pixels. Images are RGB. This page is
written by `python scripts/api_page.py` from the signatures and docstrings.

In signatures, `Picture` is a PIL image, a uint8 array (H, W, 3) or a path. `Dtype` is "uint8", "uint16" or "float32". `Labels` is a uint8
array (H, W). `Segmenter` is a network of this toolkit, with the methods `save_pretrained` and `push_to_hub` ([sharing.md](sharing.md)).
`Network` is any callable from images (N, 3, h, w) to scores (N, C, h, w). `Split` is a sequence of images with label maps.

```python
import fcn
import torch
import torchvision
```
"""

SECTIONS = {
    "Models": ("create_model", "save", "load", "export", "Exported", "from_pretrained", "list_models", "list_backbones", "list_upsamplers"),
    "Prediction": ("predict", "open_raster", "Raster", "label_map"),
    "Data, training and scores": (
        "create_split",
        "list_data",
        "LabelSet",
        "ImageKind",
        "VOID",
        "train",
        "Trained",
        "evaluate",
        "Evaluation",
    ),
    "Networks of others": ("wrap", "localize", "ClassMaps", "convolutionalize", "dilate", "receptive_field"),
    "Your own parts": ("register",),
    "Errors": ("UserError", "NotStreamable", "NotConvertible", "NotDilatable"),
}

SETTINGS = """## Settings

Keyword arguments that are passed on as `**options`. If several parts of a call have a setting of that name, the kind stands before it:
`upsample_channels=64`, `augment_flip=0.5`.
"""

USED_BY = {  # kinds, in the order of the page: their argument in Python, and the calls that take it
    "model": ("model", "create_model"),
    "backbone": ("backbone", "create_model"),
    "upsample": ("upsample", "create_model"),
    "data": ("name", "create_split"),
    "inference": ("strategy", "predict, evaluate, train"),
    "optim": ("optim", "train"),
    "schedule": ("schedule", "train"),
}


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *sections(), SETTINGS, *training_settings(), *part_settings()]).rstrip() + "\n"


def sections() -> Iterator[str]:
    for title, names in SECTIONS.items():
        yield f"## {title}\n"
        for name in names:
            yield entry(name)


def entry(name: str) -> str:
    """A public name: its signature and what its docstring says."""
    value = getattr(fcn, name)
    if not callable(value):
        return f"### `fcn.{name}`\n\n`{value!r}`: the value of pixels in a label map that are not counted.\n"
    shown = "" if isinstance(value, type) else f"```text\n{signature(name, value)}\n```\n\n"
    return f"### `fcn.{name}`\n\n{shown}{text(inspect.getdoc(value) or '')}{members(value) if isinstance(value, type) else ''}"


def signature(name: str, function: Any) -> str:
    """The call in one line, or an argument a line; types as they are written in the source, defaults as they are."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    written = {each.arg: each.annotation for each in ast.walk(tree.args) if isinstance(each, ast.arg)}
    parts, starred = [], False
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is parameter.KEYWORD_ONLY and not starred:
            parts.append("*")
        starred = starred or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        stars = "*" * (parameter.kind is parameter.VAR_POSITIONAL) + "**" * (parameter.kind is parameter.VAR_KEYWORD)
        annotation = written[parameter.name]
        shown = f"{stars}{parameter.name}: {ast.unparse(annotation)}" if annotation else f"{stars}{parameter.name}"
        parts.append(shown if parameter.default is parameter.empty else f"{shown} = {parameter.default!r}")
    returned = f" -> {ast.unparse(tree.returns)}" if tree.returns else ""
    line = f"fcn.{name}({', '.join(parts)}){returned}"
    return line if len(line) <= 120 else f"fcn.{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){returned}"


def text(document: str) -> str:
    """A docstring as Markdown: examples as code, arguments as a list."""
    blocks = []
    for block in document.split("\n\n"):
        if block.startswith(">>> "):
            code = "\n".join(line.removeprefix(">>> ") for line in block.splitlines())
            blocks.append(f"```python\n{code}\n```")
        else:
            blocks.append("\n".join(lines(block)))
    return ticks("\n\n".join(blocks)) + "\n"


def ticks(markdown: str) -> str:
    """Double back-ticks of docstrings as Markdown's single ones."""
    return re.sub(r"(?<!`)``(?!`)", "`", markdown)


def lines(block: str) -> Iterator[str]:
    """The lines of a paragraph; an argument's, ``name: ...``, begins an item of a list, and one of its values an item below it."""
    below = ""
    for line in block.splitlines():
        argument, value = re.match(r"(\w+): (.*)", line), re.match(r'    ("\w+"): (.*)', line)
        if argument:
            below = "  "
            yield f"- `{argument[1]}`: {argument[2]}"
        elif value:
            below = "    "
            yield f"  - `{value[1]}`: {value[2]}"
        else:
            yield re.sub("^ {4}", below, line)


def members(value: type) -> str:
    """The public properties and methods of a class that have a docstring, as a list."""
    own = [(name, each) for name, each in vars(value).items() if not name.startswith("_") and inspect.getdoc(each)]
    told = [(name, each) for name, each in own if isinstance(each, property) or inspect.isfunction(each)]
    return "\n" * bool(told) + "".join(
        f"- `{name}{'' if isinstance(each, property) else '()'}`: {ticks(inspect.getdoc(each) or '').replace(chr(10), ' ')}\n"
        for name, each in told
    )


def training_settings() -> Iterator[str]:
    """The settings of ``fcn.train`` that no part has: the training itself, augmentation and loss."""
    found = owners({kind: PARTS[kind] for kind in ("optim", "schedule", "inference")})
    for owner, title in (("", "the training"), ("augment", "augmentation (`augment_`)"), ("loss", "the loss (`loss_`)")):
        yield f"### `train`: {title}\n\n{table(found[owner])}\n"


def part_settings() -> Iterator[str]:
    """The settings of every part of the toolkit, those that all of a kind have first."""
    for kind, (argument, calls) in USED_BY.items():
        parts = [part for part in (find(kind, name) for name in list_parts(kind)) if part.plugin is None]
        usable = {part.name: [each for each in part.settings if is_option(part, each)] for part in parts}
        shared = [each for each in common_settings(kind) if all(each in settings for settings in usable.values())]
        groups: dict[str, list[str]] = {}  # a table, and the parts whose it is
        for name, settings in usable.items():
            own = [each for each in settings if each not in shared]
            if own:
                groups.setdefault(table(own), []).append(name)
        yield f"### `{argument}=` of {calls}\n"
        if shared:
            yield f"All:\n\n{table(shared)}\n"
        for rows, names in groups.items():
            yield f"{', '.join(f'`{name}`' for name in names)}:\n\n{rows}\n"


def is_option(part: Part, setting: Setting) -> bool:
    """Whether a setting of a part is one of the ``**options``: neither an argument of the call's own, nor of the command line only."""
    named = (part.kind, setting.name) in (*ARGUMENTS, ("backbone", "output_stride"))
    return not named and (part.kind != "data" or setting.name in part.own)


def table(settings: Iterable[Setting]) -> str:
    rows = [
        (f"`{each.name}`", each.help.rstrip("."), each.allowed, "must be given" if each.default == REQUIRED else f"`{each.default!r}`")
        for each in settings
    ]
    shown = [[python_words(cell).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [("name", "meaning", "allowed", "default"), ["---"] * 4, *shown])


def python_words(cell: str) -> str:
    """The words of the command line as Python's."""
    for word, here in (("null", "None"), ("true", "True"), ("false", "False")):
        cell = re.sub(rf"\b{word}(?=[:;,)]| or |$)", here, cell)
    return cell


def main(file: str | Path = PAGE) -> None:
    Path(file).write_text(page())


if __name__ == "__main__":
    main(*sys.argv[1:])
