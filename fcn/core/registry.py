"""The registry of parts: the functions and classes behind the words of the command line and of Python calls.

A part is a function or a class with a kind and a name. The toolkit's own parts are registered where they are defined. A user's parts are
registered in the same way. Their module is named by ``plugins=[my_module]``, or by an installed package under the entry-point group
``fcn.plugins``:

    @fcn.register("upsample", "gain")
    class Gain(nn.Module):
        '''Bilinear interpolation times a learned gain.

        start: gain before training.
        '''
        def __init__(self, in_channels: int, out_channels: int, factor: int, *, start: float = 1.0): ...

Its keyword-only parameters are its settings (``settings.py``). Its positional ones are those of its kind (``Kind.takes``).
"""

import fnmatch
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from keyword import iskeyword
from os import PathLike, fspath
from typing import Any, TypeVar

from fcn.core.declared import Declaration, declarations, declared_settings
from fcn.core.errors import UserError
from fcn.core.names import said, suggest
from fcn.core.plugins import load_packages
from fcn.core.settings import REQUIRED, Setting, check_options, settings_of

T = TypeVar("T")

TAKEN = ("options", "recipe")  # names that the configuration of a part has for itself
ANY = "*"  # the name of the part that stands for every name which nobody registered


@dataclass(frozen=True)
class Kind:
    """The common form of all parts of one kind.

    modules: where the toolkit's own are. common: ``module:function`` whose keyword-only parameters are settings of every part of the kind.
    takes: the positional parameters of a part, in words. gives: what it returns, in words. facts: what a registration may say beside values
    for parameters. keyed: whether a part's name is a setting itself, as ``loss.dice=1``.
    """

    modules: tuple[str, ...]
    common: str
    takes: str
    gives: str
    facts: tuple[str, ...] = ()
    keyed: bool = False


KINDS: dict[str, Kind] = {
    "model": Kind(
        (
            "fcn.models.decoders.fcn",
            "fcn.models.decoders.deeplab",
            "fcn.models.decoders.unet",
            "fcn.models.decoders.lraspp",
            "fcn.models.decoders.smp",
        ),
        "fcn.models.segmenter:assemble",
        "(features, num_classes, upsample)",
        "a decoder: forward(features) -> scores (N, num_classes, h, w) at decoder.stride pixels per cell",
        facts=("output_stride", "whole"),
    ),
    "backbone": Kind(
        ("fcn.models.backbones.torchvision", "fcn.models.backbones.compact", "fcn.models.backbones.encoders"),
        "fcn.models.backbones:create_backbone",
        "()",
        "a module: forward(images) -> features, a list of tensors (N, C, h, w), shallow to deep",
    ),
    "upsample": Kind(
        ("fcn.models.upsample",),
        "fcn.models.upsample:create_upsampler",
        "(in_channels, out_channels, factor)",
        "a module: (N, in_channels, h, w) -> (N, out_channels, factor * h, factor * w)",
    ),
    "data": Kind(
        (
            "fcn.data.shapes",
            "fcn.data.camvid",
            "fcn.data.voc",
            "fcn.data.cityscapes",
            "fcn.data.ade20k",
            "fcn.data.coco_stuff",
            "fcn.data.folder",
            "fcn.rasters.scenes",
        ),
        "fcn.data.sets:create_splits",
        "(split)",
        "a Split: split[i] -> image uint8 (3, H, W) and labels uint8 (H, W); .labels, .names, len(); .images if they are not RGB",
        facts=("sound",),
    ),
    "loss": Kind(
        ("fcn.training.losses",),
        "fcn.training.losses:SegmentationLoss",
        "()",
        "a function: (logits (N, C, H, W), labels (N, H, W)) -> mean loss of the batch, a scalar",
        keyed=True,
    ),
    "optim": Kind(
        ("fcn.training.optim",),
        "fcn.training.optim:parameter_groups",
        "(parameter_groups)",
        "a torch.optim.Optimizer",
    ),
    "schedule": Kind(
        ("fcn.training.optim",),
        "fcn.training.optim:create_schedule",
        "(progress)",
        "the learning rate's factor at progress 0 to 1 of the training after its warm-up",
    ),
    "inference": Kind(
        ("fcn.inference.strategies", "fcn.inference.stream.strategy", "fcn.inference.windows"),
        "fcn.inference.augment:augmented",
        "(model, image)",
        "Scores of the image",
    ),
    "reader": Kind(
        ("fcn.rasters.gdal", "fcn.rasters.tiff", "fcn.rasters.chunks", "fcn.rasters.slides", "fcn.rasters.vips", "fcn.rasters.pictures"),
        "fcn.rasters.opening:open_raster",
        "(path)",
        "a Raster: read(top, left, height, width) -> pixels (C, h, w); .height, .width, .channels, .dtype, .block, .name; close()",
        facts=("suffixes", "package"),
    ),
}


@dataclass(frozen=True)
class Part:
    """One registered part.

    settings: all that can be set, those of its kind first. own: the names of those that its function takes itself. fixed: keyword arguments
    that the registration filled in. facts: what else the registration said. function: None until its module is imported.
    """

    kind: str
    name: str
    module: str
    attribute: str
    own: frozenset[str]
    settings: tuple[Setting, ...]
    summary: str
    fixed: dict[str, Any]
    facts: dict[str, Any]
    function: Callable[..., Any] | None = None

    @property
    def plugin(self) -> str | None:
        """The user's module that registered it; None for the toolkit's own parts."""
        return None if self.module.partition(".")[0] == "fcn" else self.module


_registered: dict[tuple[str, str], Part] = {}  # parts of users, and own ones whose module is imported


def register(kind: str, *names: str, **facts: Any) -> Callable[[T], T]:
    """A decorator that makes a function or a class of yours a part, which is then used by its name.

    >>> @fcn.register("schedule", "halves")
    >>> def halves(progress: float, *, count: int = 2) -> float:
    >>>     return 0.5 ** int(progress * (count + 1))

    kind: "model", "backbone", "upsample", "data", "loss", "optim", "schedule", "inference" or "reader" (docs/extending.md has an example
        of each).
    names: one or more names. A function with several gets the chosen one as its parameter ``name``.
    facts: fixed values of keyword-only parameters, as ``levels=3``; a fixed parameter is no setting. A model also takes
        ``output_stride``, the default of its backbone. A data set also takes ``sound=True``: its samples need no check. A reader takes
        ``suffixes``, the endings of its files, and ``package``, the name of the package that it needs.

    Returns the decorator. The part's other keyword-only parameters are its settings. The part belongs to the module that calls this. Import
    that module before you load a checkpoint with the part.

    Raises UserError for an unknown kind or fact, a name that another part has, and a setting that cannot be set.
    """
    if kind not in KINDS:
        raise UserError(f"there is no kind of part '{kind}'; {suggest(kind, KINDS)}")
    keyed = KINDS[kind].keyed
    if not names or not all(isinstance(name, str) and (name == ANY or is_name(name, keyed)) for name in names):
        letters = "letters, digits and _" if keyed else "letters, digits, _ and -"
        raise UserError(f"register('{kind}', ...) takes names of {letters}, and was given {', '.join(map(repr, names)) or 'none'}")
    module = sys._getframe(1).f_globals.get("__name__", "__main__")

    def registered(function: T) -> T:
        settings = settings_of(function)
        attribute = getattr(function, "__qualname__", str(function))
        check_names(kind, names[0], settings, facts)
        document = inspect.getdoc(function) or ""
        declaration = Declaration(
            module,
            attribute,
            kind,
            names,
            facts,
            tuple(setting for setting in settings if setting.name not in facts),
            document.split("\n\n")[0].replace("\n", " "),
        )
        for part in _parts_of(declaration):
            known = _registered.get((kind, part.name)) or _own(kind).get(part.name)
            if known is not None and (known.module, known.attribute) != (part.module, part.attribute):
                raise UserError(f"{kind}={part.name} is registered already, by {known.attribute} of {known.module}; choose another name")
            _registered[kind, part.name] = replace(part, function=function)  # type: ignore[arg-type]
        return function

    return registered


def is_name(name: str, keyed: bool) -> bool:
    """Whether a part can have that name. keyed: a setting as well."""
    return name.isidentifier() and not iskeyword(name) if keyed else name.replace("-", "_").isidentifier()


def check_names(kind: str, name: str, settings: Sequence[Setting], facts: Mapping[str, Any]) -> None:
    """UserError for a setting whose name is taken, and for a fact that is neither one of the kind nor a value for a parameter."""
    own = [setting.name for setting in settings]
    taken = [word for word in own if word in TAKEN]
    if taken:
        raise UserError(
            f"{kind}={name} has a setting '{taken[0]}', a name that every part's configuration has already; choose another name"
        )
    allowed = (*KINDS[kind].facts, *own)
    unknown = [fact for fact in facts if fact not in allowed]
    if unknown:
        raise UserError(
            f"register('{kind}', '{name}', {unknown[0]}=...): {unknown[0]} is not known; "
            f"{suggest(unknown[0], allowed) if allowed else 'it has no keyword-only parameters'}"
        )


def find(kind: str, name: str) -> Part:
    """The part of that name. Raises UserError, with the close or allowed names, if there is none."""
    name = str(name)
    load_packages()
    own = _own(kind)
    part = _registered.get((kind, name)) or own.get(name)
    if part is None and ANY in own:
        part = replace(_registered.get((kind, ANY), own[ANY]), name=name)
    if part is None:
        raise UserError(f"{said(kind)}={name} is not known; {suggest(name, list_parts(kind))}")
    return part


def is_part(kind: str, name: str) -> bool:
    """True if a part of exactly that name is registered."""
    return name in list_parts(kind)


def list_parts(kind: str, pattern: str = "*") -> list[str]:
    """The names of all registered parts of a kind that match a pattern, sorted. pattern: as of files, ``*resnet*``."""
    load_packages()
    return sorted(fnmatch.filter({*_own(kind), *(name for of, name in _registered if of == kind)} - {ANY}, pattern))


def registers(module: str) -> bool:
    """True if a user's module, or one below it, has registered a part."""
    return any(part.plugin and f"{part.plugin}.".startswith(f"{module}.") for part in _registered.values())


def common_settings(kind: str) -> tuple[Setting, ...]:
    """The settings that every part of a kind has."""
    return declared_settings(KINDS[kind].common)


def function_of(part: Part) -> Callable[..., Any]:
    """The function or class itself. This imports its module."""
    if part.function is not None:
        return part.function
    return getattr(import_module(part.module), part.attribute)


def build(kind: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a part. options: settings that its own function takes; a path may be a ``pathlib.Path``. The caller applies those of its kind.

    Raises SettingError for an option that is unknown, or of a value that its setting does not take.
    """
    part = find(kind, name)
    options = {key: fspath(value) if isinstance(value, PathLike) else value for key, value in options.items()}
    check_options([setting for setting in part.settings if setting.name in part.own], options, (kind, name))
    return bound(part)(*arguments, **options)


def bound(part: Part) -> Callable[..., Any]:
    """The part's function with the values from its registration filled in, and its name if it has a parameter ``name``."""
    function = function_of(part)
    fixed = dict(part.fixed)
    parameters = inspect.signature(function).parameters
    if "name" in parameters:
        fixed["name"] = part.name

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **fixed, **options)

    return call


@cache
def _own(kind: str) -> dict[str, Part]:
    """The toolkit's own parts of a kind, read from their source."""
    found = (part for module in KINDS[kind].modules for declaration in declarations(module) for part in _parts_of(declaration))
    return {part.name: part for part in found if part.kind == kind}


def _completed(setting: Setting, of_kind: Setting | None) -> Setting:
    """A part's setting that its kind has as well. Without its own default it is the kind's; else it has the kind's help line."""
    if of_kind is None:
        return setting
    return of_kind if setting.default == REQUIRED else replace(setting, help=setting.help or of_kind.help)


def _parts_of(declaration: Declaration) -> Iterator[Part]:
    common = {setting.name: setting for setting in common_settings(declaration.kind)}
    own = {
        setting.name: _completed(setting, common.get(setting.name)) for setting in declaration.settings if setting.name != "name"
    }  # which is the one that was chosen
    settings = tuple((common | own).values())
    known = KINDS[declaration.kind].facts
    fixed = {key: value for key, value in declaration.facts.items() if key not in known}
    facts = {key: value for key, value in declaration.facts.items() if key in known}
    for name in declaration.names:
        yield Part(
            declaration.kind, name, declaration.module, declaration.attribute, frozenset(own), settings, declaration.summary, fixed, facts
        )
