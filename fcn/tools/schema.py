"""The schemas of parts, made of what the parts declare: one dataclass for each word."""

from dataclasses import dataclass, field, make_dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar

from fcn.core.errors import SettingError
from fcn.core.names import said
from fcn.core.registry import common_settings, find, list_parts
from fcn.core.settings import REQUIRED, Setting, at_least, between, interval, items, settings_of
from fcn.models.spec import AUXILIARY, check_auxiliary
from fcn.training.terms import CROSS_ENTROPY, check_terms


@dataclass
class PartConfig:
    """One part: its word and its settings, which are the fields of a class made for it (``part_schema``)."""

    name: str = REQUIRED
    KIND: ClassVar[str] = ""
    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def __post_init__(self) -> None:
        for setting in self.SETTINGS:
            value = getattr(self, setting.name)
            if value != REQUIRED:
                setting.check(value, key=said(f"{self.KIND}.{setting.name}"), part=(self.KIND, self.name))

    def options(self, *left_out: str) -> dict[str, Any]:
        """The settings as keyword arguments, less some."""
        return {setting.name: getattr(self, setting.name) for setting in self.SETTINGS if setting.name not in left_out}


@dataclass
class ModelConfig(PartConfig):
    """A model, whose settings of the auxiliary head belong together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_auxiliary(**{name: value for name, value in self.options().items() if name in AUXILIARY})


@dataclass
class Checked:
    """Settings that are checked when they are made.

    ``SECTION`` stands before their names on the command line. ``SUMMARY`` and ``EXAMPLES`` are what the help of a command begins with.
    ``words`` of an object are those of the call that it was made from, an experiment's own among them; none where there was no call.
    """

    SECTION: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    EXAMPLES: ClassVar[str] = ""
    words: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for setting in settings_of(type(self)):
            value = getattr(self, setting.name)
            if value != REQUIRED:
                setting.check(value, key=said(f"{self.SECTION}{setting.name}"))


@dataclass
class Recipe(Checked):
    """What ``fcn train`` uses on a data set unless told otherwise; a data set's own stands in ``conf/data``.

    epochs: passes over the training split.
    compare_epochs: the same, of each training of ``fcn compare``.
    batch_size: samples per step and process.
    crop_size: side of the training crops (pixels).
    scale: smallest and largest factor of the scale jitter.
    color: largest relative change of brightness, contrast and saturation.
    """

    SECTION: ClassVar[str] = "data.recipe."

    epochs: Annotated[int, at_least(1)] = 50
    compare_epochs: Annotated[int, at_least(1)] = 10
    batch_size: Annotated[int, at_least(1)] = 8
    crop_size: Annotated[int, at_least(1)] = 320
    scale: Annotated[list[float], items(interval(0, 16), count=2)] = field(default_factory=lambda: [0.5, 2.0])
    color: Annotated[float, between(0, 1)] = 0.3


@dataclass
class DataConfig(PartConfig):
    """A data set, with what is trained on it."""

    recipe: Recipe = field(default_factory=Recipe)


BASES: dict[str, type[PartConfig]] = {"model": ModelConfig, "data": DataConfig}

_schemas: dict[tuple[str, str], tuple[object, type[PartConfig]]] = {}  # by part, as long as it is the same


def part_schema(kind: str, name: str, spelled: str | None = None) -> type[PartConfig]:
    """The dataclass of the part ``kind=name``. spelled: the name as omegaconf reads it to the letter."""
    part = find(kind, name)
    known = _schemas.get((kind, name))
    if known is None or known[0] != part.settings:
        known = _schemas[kind, name] = part.settings, _part_schema(kind, name, spelled or name)
    return known[1]


def _part_schema(kind: str, name: str, spelled: str) -> type[PartConfig]:
    settings = find(kind, name).settings
    return make_dataclass(
        f"{kind}_{name}",
        [("name", str, field(default=spelled)), *map(as_field, settings)],
        bases=(BASES.get(kind, PartConfig),),
        namespace={"KIND": kind, "SETTINGS": settings, "__module__": __name__},
    )


def as_field(setting: Setting) -> tuple[str, Any, Any]:
    default = setting.default
    made = field(default_factory=lambda: list(default)) if isinstance(default, list) else field(default=default)
    return setting.name, setting.schema, made


@dataclass
class LossConfig:
    """The loss: the sum of its terms, each times its weight. A term's own settings have its name before them."""

    SETTINGS: ClassVar[tuple[Setting, ...]] = ()

    def __post_init__(self) -> None:
        for setting in self.SETTINGS:
            setting.check(getattr(self, setting.name), key=said(f"loss.{setting.name}"))
        given = self.arguments()
        check_terms(given["terms"], given["options"], class_weights=given["class_weights"] is not None)
        for name, weight in given["terms"].items():
            for setting in own_settings(name):
                if weight and setting.default == REQUIRED and setting.name not in given["options"].get(name, {}):
                    key = said(f"loss.{name}_{setting.name}")
                    raise SettingError(f"{key} must be given; write {key}=...", name=setting.name, part=("loss", name))

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``SegmentationLoss``: weights, settings of terms that differ from their defaults, and what all terms share."""
        defaults = {setting.name: setting.default for setting in self.SETTINGS}
        terms = {name: getattr(self, name) for name in list_parts("loss")}
        options: dict[str, dict[str, Any]] = {}
        for name in terms:
            for setting in own_settings(name):
                value = getattr(self, f"{name}_{setting.name}")
                if value != defaults[f"{name}_{setting.name}"]:
                    options.setdefault(name, {})[setting.name] = value
        return {"terms": terms, "options": options} | {setting.name: getattr(self, setting.name) for setting in common_settings("loss")}


def own_settings(term: str) -> list[Setting]:
    """The settings of a term of the loss that not every term has."""
    shared = {setting.name for setting in common_settings("loss")}
    return [setting for setting in find("loss", term).settings if setting.name not in shared]


def loss_schema() -> type[LossConfig]:
    """The dataclass of the loss, from all registered terms."""
    return _loss_schema(tuple(list_parts("loss")))


@cache
def _loss_schema(names: tuple[str, ...]) -> type[LossConfig]:
    settings: list[Setting] = []
    for name in names:
        weight = 1.0 if name == CROSS_ENTROPY else 0.0
        line = f"weight of the term: {find('loss', name).summary}"
        settings.append(Setting(name, float, False, False, weight, (), (between(0, 1e9),), line))
        for each in own_settings(name):
            if each.default == REQUIRED:  # where the term has a weight, see LossConfig
                each = replace(each, default=None, optional=True)
            settings.append(replace(each, name=f"{name}_{each.name}"))
    settings += common_settings("loss")
    return make_dataclass(
        "loss", map(as_field, settings), bases=(LossConfig,), namespace={"SETTINGS": tuple(settings), "__module__": __name__}
    )
