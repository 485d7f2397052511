"""The schemas of parts, made of what the parts declare: one dataclass for each word."""

from dataclasses import dataclass, field, make_dataclass, replace
from functools import cache
from typing import Annotated, Any, ClassVar

from fcn.core.registry import find, list_parts
from fcn.core.settings import REQUIRED, Setting, at_least, between, interval, items, settings_of
from fcn.models.spec import check_auxiliary
from fcn.training.terms import check_terms


@dataclass
class PartConfig:
    """One part: its word and its settings."""

    name: str = REQUIRED
    kind: ClassVar[str] = ""
    settings: ClassVar[tuple[Setting, ...]] = ()

    def __post_init__(self) -> None:
        for setting in self.settings:
            value = getattr(self, setting.name)
            if value != REQUIRED:
                setting.check(value, key=f"{self.kind}.{setting.name}", part=(self.kind, self.name))
        if self.kind == "model":
            given = self.options()
            check_auxiliary(**{key: given[key] for key in ("aux", "aux_weight", "aux_level")})

    def options(self, *left_out: str) -> dict[str, Any]:
        """The settings as keyword arguments, less some."""
        return {setting.name: getattr(self, setting.name) for setting in self.settings if setting.name not in left_out}


@dataclass
class Checked:
    """Settings that are checked when they are made.

    ``SECTION`` stands before their names on the command line. ``SUMMARY`` and ``EXAMPLES`` are what the help of a command begins with.
    """

    SECTION: ClassVar[str] = ""
    SUMMARY: ClassVar[str] = ""
    EXAMPLES: ClassVar[str] = ""

    def __post_init__(self) -> None:
        for setting in settings_of(type(self)):
            value = getattr(self, setting.name)
            if value != REQUIRED:
                setting.check(value, key=f"{self.SECTION}{setting.name}")


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
    more: list[Any] = [("recipe", Recipe, field(default_factory=Recipe))] if kind == "data" else []
    return make_dataclass(
        f"{kind}_{name}",
        [("name", str, field(default=spelled)), *map(as_field, settings), *more],
        bases=(PartConfig,),
        namespace={"kind": kind, "settings": settings, "__module__": __name__},
    )


def as_field(setting: Setting) -> tuple[str, Any, Any]:
    default = setting.default
    made = field(default_factory=lambda: list(default)) if isinstance(default, list) else field(default=default)
    return setting.name, setting.schema, made


@dataclass
class LossConfig:
    """The loss: the sum of its terms, each times its weight. A term's own settings have its name before them."""

    settings: ClassVar[tuple[Setting, ...]] = ()

    def __post_init__(self) -> None:
        for setting in self.settings:
            setting.check(getattr(self, setting.name), key=f"loss.{setting.name}")
        given = self.arguments()
        check_terms(given["terms"], given["options"], class_weights=given["class_weights"] is not None)

    def arguments(self) -> dict[str, Any]:
        """The arguments of ``SegmentationLoss``: weights, settings that differ from their defaults, and class weights."""
        terms = {name: getattr(self, name) for name in list_parts("loss")}
        options: dict[str, dict[str, Any]] = {}
        for name in terms:
            for setting in find("loss", name).settings:
                if setting.name != "class_weights" and getattr(self, f"{name}_{setting.name}") != setting.default:
                    options.setdefault(name, {})[setting.name] = getattr(self, f"{name}_{setting.name}")
        return {"terms": terms, "options": options, "class_weights": self.class_weights}  # type: ignore[attr-defined]


def loss_schema() -> type[LossConfig]:
    """The dataclass of the loss, from all registered terms."""
    return _loss_schema(tuple(list_parts("loss")))


@cache
def _loss_schema(names: tuple[str, ...]) -> type[LossConfig]:
    settings: list[Setting] = []
    shared: dict[str, Setting] = {}
    for name in names:
        part = find("loss", name)
        weight = 1.0 if name == "cross_entropy" else 0.0
        settings.append(Setting(name, float, False, False, weight, (), (between(0, 1e9),), f"weight of the term: {part.summary}"))
        for each in part.settings:
            if each.name == "class_weights":
                shared[each.name] = each
            else:
                settings.append(replace(each, name=f"{name}_{each.name}"))
    settings += shared.values()
    return make_dataclass(
        "loss", map(as_field, settings), bases=(LossConfig,), namespace={"settings": tuple(settings), "__module__": __name__}
    )
