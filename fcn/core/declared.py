"""Declarations read from source: what a module registers, and with which settings, without importing it.

The command line lists every part and its settings in a fraction of a second. The modules of the parts import torch, which takes longer. So
the toolkit's own modules are read as syntax trees. Names in decorators, annotations and defaults are looked up in two places: constants of
the same file, and modules that are cheap to import.
"""

import ast
import builtins
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from fcn.core.settings import REQUIRED, Setting, help_lines, setting

CHEAP = re.compile(r"fcn\.core\..*|fcn\..*\.settings|collections\.abc|typing")


class Declaration(NamedTuple):
    """``@register(kind, *names, **facts)`` on ``attribute`` of ``module``."""

    module: str
    attribute: str
    kind: str
    names: tuple[str, ...]
    facts: dict[str, Any]
    settings: tuple[Setting, ...]
    summary: str


@cache
def declarations(module: str) -> tuple[Declaration, ...]:
    """The registrations in ``module``, a module of this package."""
    tree = ast.parse(source(module))
    names = Names(tree)
    return tuple(_declared(module, tree, names))


@cache
def declared_settings(place: str) -> tuple[Setting, ...]:
    """The settings of the function or class at ``module:name``."""
    module, _, name = place.partition(":")
    tree = ast.parse(source(module))
    node = next(node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name)
    return tuple(_settings(node, Names(tree)))


def source(module: str) -> str:
    path = Path(__file__).parents[2].joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text(encoding="utf-8")


class Names(dict[str, Any]):
    """The values of a module's names: builtins, its own constants, and imports from ``CHEAP`` modules."""

    def __init__(self, tree: ast.Module) -> None:
        super().__init__(vars(builtins))
        self.tree = tree

    def __missing__(self, name: str) -> Any:
        for node in self.tree.body:
            if isinstance(node, ast.ImportFrom) and CHEAP.fullmatch(node.module or ""):
                for alias in node.names:
                    if name == (alias.asname or alias.name):
                        return getattr(import_module(str(node.module)), alias.name)
            if isinstance(node, ast.Assign) and any(isinstance(target, ast.Name) and target.id == name for target in node.targets):
                self[name] = self.value(node.value)
                return self[name]
        raise NameError(f"'{name}' is no constant of this module; what a registered part declares is read without importing it")

    def value(self, node: ast.expr) -> Any:
        return eval(compile(ast.Expression(node), "<declaration>", "eval"), {"__builtins__": {}}, self)


def _declared(module: str, tree: ast.Module, names: Names) -> Iterator[Declaration]:
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef):
            continue
        for decorator in reversed(node.decorator_list):
            if isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == "register":
                given: list[Any] = []
                for argument in decorator.args:
                    given += list(names.value(argument.value)) if isinstance(argument, ast.Starred) else [names.value(argument)]
                facts = {str(keyword.arg): names.value(keyword.value) for keyword in decorator.keywords}
                settings = tuple(each for each in _settings(node, names) if each.name not in facts)
                document = ast.get_docstring(node) or ""
                kind, *words = given
                yield Declaration(module, node.name, kind, tuple(words), facts, settings, document.split("\n\n")[0].replace("\n", " "))


def _settings(node: ast.FunctionDef | ast.ClassDef, names: Names) -> Iterator[Setting]:
    function: ast.stmt = node
    if isinstance(node, ast.ClassDef):
        inits = [each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"]
        if not inits:
            return
        function = inits[0]
    assert isinstance(function, ast.FunctionDef)
    lines = help_lines(ast.get_docstring(node) or "")
    for argument, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True):
        annotation = None if argument.annotation is None else names.value(argument.annotation)
        value = REQUIRED if default is None else names.value(default)
        yield setting(argument.arg, annotation, value, lines.get(argument.arg, ""))
