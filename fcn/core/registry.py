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

import inspect
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, TypeVar

from fcn.core.declared import Declaration, declarations, declared_settings
from fcn.core.errors import UserError
from fcn.core.names import first_line, suggest
from fcn.core.settings import REQUIRED, Setting, check_options, settings_of

T = TypeVar("T")
log = logging.getLogger(__name__)

FACTS = {"output_stride", "whole", "sound"}  # what a registration may say beside values for parameters
ANY = "*"  # the name of the part that stands for every name which nobody registered


@dataclass(frozen=True)
class Kind:
    """The common form of all parts of one kind.

    modules: where the toolkit's own are. common: ``module:function`` whose keyword-only parameters are settings of every part of the kind.
    takes: the positional parameters of a part, in words. gives: what it returns, in words.
    """

    modules: tuple[str, ...]
    common: str
    takes: str
    gives: str


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
        ("fcn.data.shapes", "fcn.data.camvid", "fcn.data.voc", "fcn.data.folder"),
        "fcn.data.sets:create_splits",
        "(split)",
        "a Split: split[i] -> image uint8 (3, H, W) and labels uint8 (H, W); .labels, .names, len()",
    ),
    "loss": Kind(
        ("fcn.training.losses",),
        "fcn.training.losses:SegmentationLoss",
        "()",
        "a function: (logits (N, C, H, W), labels (N, H, W)) -> mean loss of the batch, a scalar",
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
    """Make a function or a class a part: ``@fcn.register("upsample", "gain")``.

    kind: model, backbone, upsample, data, loss, optim, schedule or inference.
    names: one or more names. A function with several gets the chosen one as its parameter ``name``.
    facts: values for keyword-only parameters, which then are not settings. Also facts of the kind: ``output_stride`` of a model is the
        default for its backbone; ``sound`` of a data set means that its samples need no check before a training.

    Raises UserError for an unknown kind, a name that another part has, and a setting of a type that cannot be set.
    """
    if kind not in KINDS:
        raise UserError(f"there is no kind of part '{kind}'; {suggest(kind, KINDS)}")
    if not names or not all(isinstance(name, str) and (name == ANY or name.replace("-", "_").isidentifier()) for name in names):
        raise UserError(
            f"register('{kind}', ...) takes names of letters, digits, _ and -, and was given {', '.join(map(repr, names)) or 'none'}"
        )

    def registered(function: T) -> T:
        settings = settings_of(function)
        module, attribute = getattr(function, "__module__", "__main__"), getattr(function, "__qualname__", str(function))
        document = inspect.getdoc(function) or ""
        declaration = Declaration(
            module, attribute, kind, names, facts, _open(settings, facts), document.split("\n\n")[0].replace("\n", " ")
        )
        for part in _parts_of(declaration):
            known = _registered.get((kind, part.name)) or _own(kind).get(part.name)
            if known is not None and (known.module, known.attribute) != (part.module, part.attribute):
                raise UserError(f"{kind}={part.name} is registered already, by {known.attribute} of {known.module}; choose another name")
            _registered[kind, part.name] = replace(part, function=function)  # type: ignore[arg-type]
        return function

    return registered


def find(kind: str, name: str) -> Part:
    """The part of that name. Raises UserError, with the close or allowed names, if there is none."""
    name = str(name)
    _from_packages()
    own = _own(kind)
    part = _registered.get((kind, name)) or own.get(name)
    if part is None and ANY in own:
        part = replace(_registered.get((kind, ANY), own[ANY]), name=name)
    if part is None:
        raise UserError(f"{kind}={name} is not known; {suggest(name, list_parts(kind))}")
    return part


def is_part(kind: str, name: str) -> bool:
    """True if a part of exactly that name is registered."""
    return name != ANY and name in list_parts(kind)


def list_parts(kind: str) -> list[str]:
    """The names of all registered parts of a kind, sorted."""
    _from_packages()
    return sorted({*_own(kind), *(name for of, name in _registered if of == kind)} - {ANY})


def function_of(part: Part) -> Callable[..., Any]:
    """The function or class itself. This imports its module."""
    if part.function is not None:
        return part.function
    return getattr(import_module(part.module), part.attribute)


def build(kind: str, name: str, *arguments: Any, **options: Any) -> Any:
    """Call a part. options: settings that its own function takes. The caller applies those of its kind.

    Raises SettingError for an option that is unknown, or of a value that its setting does not take.
    """
    part = find(kind, name)
    check_options([setting for setting in part.settings if setting.name in part.own], options, (kind, name))
    return bound(part)(*arguments, **options)


def bound(part: Part) -> Callable[..., Any]:
    """The part's function with the values from its registration filled in, and its name if it has a parameter ``name``."""
    function = function_of(part)
    fixed = dict(part.fixed)
    parameters = inspect.signature(function).parameters
    if "name" in parameters and "name" not in part.own:
        fixed["name"] = part.name

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **fixed, **options)

    return call


# --- modules of users ---


def load_plugins(modules: Sequence[str]) -> None:
    """Import the users' modules that register parts. Raises UserError for one that is missing or fails."""
    for module in modules:
        if module in sys.modules:
            continue
        if os.getcwd() not in sys.path and "" not in sys.path:
            sys.path.append(os.getcwd())
        try:
            import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
                raise UserError(f"plugins=[{module}] cannot be imported: {first_line(error)}; install what it needs") from error
            hint = f"; write plugins=[{module[:-3].replace('/', '.')}]" if module.endswith(".py") else ""
            raise UserError(
                f"plugins=[{module}]: there is no module {module} in {os.getcwd()} or among the installed packages{hint}"
            ) from error
        except Exception as error:  # the user's own code runs
            raise UserError(f"plugins=[{module}] fails while it is imported: {type(error).__name__}: {first_line(error)}") from error


def check_plugins(modules: Sequence[str], origin: str) -> None:
    """Raises UserError if ``origin`` needs parts of a module that is not imported. This never imports it: a stranger's file must not choose
    what code runs."""
    missing = [module for module in modules if module not in sys.modules]
    if missing:
        names = ", ".join(missing)
        raise UserError(f"{origin} was made with parts of {names}; give plugins=[{names}] too (in Python: import {names} first)")


@cache
def _from_packages() -> None:
    """Import the plugins of installed packages. One that fails does not stop the others."""
    for point in entry_points(group="fcn.plugins"):
        try:
            point.load()
        except Exception as error:
            log.warning(
                "the plugin %s of an installed package cannot be used: %s: %s", point.value, type(error).__name__, first_line(error)
            )


def _open(settings: Sequence[Setting], facts: dict[str, Any]) -> tuple[Setting, ...]:
    return tuple(setting for setting in settings if setting.name not in facts)


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
    common = {setting.name: setting for setting in declared_settings(KINDS[declaration.kind].common)}
    own = {setting.name: _completed(setting, common.get(setting.name)) for setting in declaration.settings}
    settings = tuple((common | own).values())
    fixed = {key: value for key, value in declaration.facts.items() if key not in FACTS}
    facts = {key: value for key, value in declaration.facts.items() if key in FACTS}
    for name in declaration.names:
        yield Part(
            declaration.kind, name, declaration.module, declaration.attribute, frozenset(own), settings, declaration.summary, fixed, facts
        )
