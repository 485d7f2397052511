"""Settings: what can be set of a part or a command, read from its own declaration.

The settings of a function are its keyword-only parameters. Those of a class are the ones of ``__init__``, those of a dataclass its fields.
The annotation gives type and range, the default is the default, and the docstring's line ``name: ...`` is the help. Nothing is written
twice: the command line's schema, ``--help`` and the checks are made from these.

    def windows(model, image, *, size: Annotated[int, at_least(1)] = 512, weights: Literal["gaussian", "constant"] = "gaussian"):
        '''Overlapping windows whose scores are blended.

        size: side of a window (pixels).
        weights: of the pixels in the blend.
        '''
"""

import inspect
import math
import re
import types
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import cache
from numbers import Integral, Real
from os import PathLike
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

from fcn.core.errors import SettingError, UserError
from fcn.core.names import said, spelled, suggest

REQUIRED: Any = "???"  # the default of a setting that must be given; omegaconf's mark
PLAIN = (bool, int, float, str)


class Range(NamedTuple):
    """The allowed values of a setting: ``allowed`` in words, ``holds`` as a test of one value."""

    allowed: str
    holds: Callable[[Any], bool]


INFINITE = "infinite"  # in an annotation: the number may be inf


class Choice(NamedTuple):
    """The words that a setting takes; for a dataclass, whose fields cannot be ``Literal`` (omegaconf)."""

    words: tuple[str, ...]


def choice(*words: str) -> Choice:
    return Choice(words)


class Help(NamedTuple):
    """The help line of a setting, in its annotation. It is for settings that several parts have."""

    text: str


def at_least(low: float) -> Range:
    return Range(f"{low} or more", lambda value: value >= low)


def above(low: float) -> Range:
    return Range(f"above {low}", lambda value: value > low)


def below(high: float) -> Range:
    return Range(f"below {high}", lambda value: value < high)


def between(low: float, high: float) -> Range:
    """Both ends included."""
    return Range(f"{low} to {high}", lambda value: low <= value <= high)


def inside(low: float, high: float) -> Range:
    """Both ends left out."""
    return Range(f"above {low} and below {high}", lambda value: low < value < high)


def interval(low: float, high: float) -> Range:
    """The lower end left out."""
    return Range(f"above {low} and up to {high}", lambda value: low < value <= high)


def share() -> Range:
    return Range("a share, 0 or more and below 1", lambda value: 0 <= value < 1)


def nonnegative() -> Range:
    """For a list of weights: their products with pixels and classes stay finite in float32."""
    return Range("a list of numbers, 0 to 1e9, not all 0", lambda values: all(0 <= value <= 1e9 for value in values) and sum(values) > 0)


def odd() -> Range:
    return Range("an odd number, 1 or more", lambda value: value >= 1 and value % 2 == 1)


def one_of(*values: Any) -> Range:
    return Range(", ".join(map(str, values)), lambda value: value in values)


def multiple(step: int, low: int) -> Range:
    return Range(f"a multiple of {step} from {low} on", lambda value: value >= low and value % step == 0)


def items(each: Range | None = None, *, count: int | None = None, least: int = 1, distinct: bool = False, example: str = "") -> Range:
    """For a list. each: range of every item. count: number of items (None: ``least`` or more). distinct: no item twice."""
    number = f"a list of {count}" if count is not None else f"a list of {least} or more" if least > 1 else "a list"
    item = f", each {each.allowed}" if each else ""
    words = f"{number}{item}{', none twice' if distinct else ''}{f', as {example}' if example else ''}"

    def holds(values: Sequence[Any]) -> bool:
        fits = len(values) == count if count is not None else len(values) >= least
        return fits and (each is None or all(map(each.holds, values))) and not (distinct and len(set(values)) < len(values))

    return Range(words, holds)


@dataclass(frozen=True)
class Setting:
    """One setting.

    type: bool, int, float or str, or a list of one of these. infinite: whether a number may be inf. words: the only strings that it takes,
    empty: any. besides: words, or truth values, that may stand in the place of a number or a list. optional: whether it may be None.
    default: ``REQUIRED`` where it must be given. help: one line. mapped: whether it maps whole numbers to values of the type, as
    {0: background, 255: thing}.
    """

    name: str
    type: type
    listed: bool
    optional: bool
    default: Any
    words: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()
    help: str = ""
    infinite: bool = False
    mapped: bool = False
    besides: tuple[Any, ...] = ()

    @property
    def schema(self) -> Any:
        """The type that omegaconf checks with; where truth values stand beside numbers ``check`` alone does, whose words are clearer."""
        if True in self.besides:
            return Any
        whole: Any = dict[int, self.type] if self.mapped else list[self.type] if self.listed else self.type  # type: ignore[name-defined]
        if self.besides:
            whole = Any if self.listed else whole | str  # omegaconf has no union with a list; ``check`` looks at the value
        return whole | None if self.optional else whole

    @property
    def allowed(self) -> str:
        """The allowed values, in words."""
        texts = [one.allowed for one in self.ranges]
        if self.words:
            texts = [f"one of {', '.join(self.words)}"]
        if not texts and self.mapped:
            texts = [f"a mapping from whole numbers to {KINDS[self.type][1]}, as {{0: background, 255: thing}}"]
        if not texts:
            texts = [f"a list of {KINDS[self.type][1]}" if self.listed else kind_of(self.type)]
        others = "".join(f", or {spelled(word)}" for word in (*self.besides, *([None] if self.optional else [])))
        return " and ".join(texts) + others

    def check(self, value: Any, *, key: str | None = None, part: tuple[str, str] | None = None) -> None:
        """Raises SettingError if ``value`` is not allowed. key: the caller's name of the setting."""
        key = key or self.name
        if (value is None and self.optional) or any(type(value) is type(each) and value == each for each in self.besides):
            return
        if self.words and isinstance(value, str) and value not in self.words:
            raise SettingError(f"{key}={value} is not known; {suggest(value, self.words)}", name=self.name, part=part)
        if self.mapped:
            if not isinstance(value, Mapping) or not value or not all(_is_whole(each) for each in value):
                raise SettingError(f"{key}={value} is not allowed; {key} is {self.allowed}", name=self.name, part=part)
            value = [str(each) if _is_whole(each) else each for each in value.values()]  # an index is a word like any other
        several = self.listed or self.mapped
        values = list(value) if several and isinstance(value, list | tuple) else [value]
        fits = isinstance(value, list | tuple) == several and all(self._is_one(each) for each in values)
        if not (fits and all(one.holds(value) for one in self.ranges)):
            endless = any(isinstance(each, float) and not math.isfinite(each) for each in values)
            more = ", and finite" if endless and not self.infinite else ""
            kind = "" if all(map(self._is_one, values)) or endless or not self.ranges or self.listed else f"{kind_of(self.type)}, "
            raise SettingError(
                f"{key}={list(value) if isinstance(value, tuple) else value} is not allowed; {key} is {kind}{self.allowed}{more}",
                name=self.name,
                part=part,
            )

    def _is_one(self, value: Any) -> bool:
        if self.type is bool or isinstance(value, bool):
            return self.type is bool and isinstance(value, bool)
        if self.type is float:
            return isinstance(value, Real) and (math.isfinite(value) or (self.infinite and value == math.inf))
        return isinstance(value, Integral if self.type is int else self.type)


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


KINDS = {
    bool: ("a truth value", "truth values"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    str: ("a word", "words"),
}


def kind_of(type: type) -> str:
    """The values of a type, in words."""
    return f"{spelled(True)} or {spelled(False)}" if type is bool else KINDS[type][0]


def settings_of(declared: Any) -> tuple[Setting, ...]:
    """The settings of a function, a class or a dataclass, in the order of their declaration. Raises UserError for an annotation that is not
    the type of a setting."""
    if isinstance(declared, type) and is_dataclass(declared):
        return _fields_of(declared)
    function = declared.__init__ if isinstance(declared, type) else declared  # type: ignore[misc]
    parameters = [each for each in inspect.signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY]
    annotated = {each.name: each.annotation for each in parameters if each.annotation is not each.empty}
    hints = get_type_hints(types.SimpleNamespace(__annotations__=annotated), getattr(function, "__globals__", {}), include_extras=True)
    lines = help_lines(inspect.getdoc(declared) or "")
    return tuple(
        setting(each.name, hints.get(each.name), REQUIRED if each.default is each.empty else each.default, lines.get(each.name, ""))
        for each in parameters
    )


@cache
def _fields_of(declared: type) -> tuple[Setting, ...]:
    """The fields of a dataclass that hold plain values; those that hold other settings are left out."""
    hints = get_type_hints(declared, include_extras=True)
    lines = inherited_lines(declared)
    found = []
    for field in fields(declared):
        with suppress(UserError):
            found.append(setting(field.name, hints[field.name], default_of(field), lines.get(field.name, "")))
    return tuple(found)


def default_of(field: Field[Any]) -> Any:
    """What a field of a dataclass holds unless told otherwise; ``REQUIRED`` where it must be given."""
    made = field.default_factory() if field.default_factory is not MISSING else field.default
    return REQUIRED if made is MISSING else made


def inherited_lines(declared: type) -> dict[str, str]:
    """The help lines of a dataclass and of those it inherits from."""
    return {name: text for each in reversed(declared.__mro__) for name, text in help_lines(inspect.getdoc(each) or "").items()}


def setting(name: str, annotation: Any, default: Any, text: str) -> Setting:
    """A setting from its declaration. annotation: type and range; None: the type is that of the default."""
    ranges: tuple[Range, ...] = ()
    words: tuple[str, ...] = ()
    besides: tuple[Any, ...] = ()
    if annotation is None and default not in (None, REQUIRED):
        annotation = type(default)
    optional = default is None
    rest, parts = annotation, []
    if get_origin(rest) is Annotated:
        rest, *parts = get_args(rest)
    if get_origin(rest) in (Union, types.UnionType):
        others = [each for each in get_args(rest) if each is not type(None) and get_origin(each) is not PathLike]  # a path is a word
        if len(others) == 2 and get_origin(others[1]) is Literal:
            besides = get_args(others.pop())
        optional = optional or type(None) in get_args(rest)
        rest = others[0] if len(others) == 1 else None
    if get_origin(rest) is Annotated:
        rest, *more = get_args(rest)
        parts += more
    ranges = tuple(part for part in parts if isinstance(part, Range))
    mapped = get_origin(rest) in (dict, Mapping) and get_args(rest)[0] is int
    if mapped:
        rest = get_args(rest)[1]
    listed = get_origin(rest) in (list, tuple, Sequence)
    if listed:
        given = [each for each in get_args(rest) if each is not ...]
        rest = given[0] if given and all(each == given[0] for each in given) else None
    if get_origin(rest) is Literal:
        words, rest = tuple(get_args(rest)), str
    if rest not in PLAIN or not all(isinstance(word, str) for word in words):
        raise UserError(
            f"the setting '{name}' is annotated {annotation}; allowed are bool, int, float, str, Literal of words, a list of one of these, "
            f"a mapping from int to one of these, or None"
        )
    words = words or next((part.words for part in parts if isinstance(part, Choice)), ())
    text = text or next((part.text for part in parts if isinstance(part, Help)), "")
    value = list(default) if isinstance(default, tuple) else default
    return Setting(name, rest, listed, optional, value, words, ranges, text, INFINITE in parts, mapped, besides)


def help_lines(document: str) -> dict[str, str]:
    """The lines ``name: text`` of a docstring, by name. Lines indented under one belong to it."""
    lines: dict[str, str] = {}
    name = ""
    for line in document.splitlines():
        begins = re.match(r"(\w+): (\S.*)", line)
        if begins:
            name = begins[1]
            lines[name] = begins[2].strip()
        elif name and line.startswith((" ", "\t")):
            lines[name] += f" {line.strip()}"
        else:
            name = ""
    return lines


def plain(value: Any) -> Any:
    """A value as a checkpoint can hold it: NumPy's numbers become Python's, tuples lists."""
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | str):
        return value
    if hasattr(value, "tolist"):  # an array
        return plain(value.tolist())
    return int(value) if isinstance(value, Integral) else float(value) if isinstance(value, Real) else value


def by_owner(
    owners: Mapping[str, Sequence[Setting]], options: Mapping[str, Any], what: str, elsewhere: Mapping[str, str]
) -> dict[str, dict[str, Any]]:
    """Options by who has a setting of that name, or of that name behind the owner's: ``lr`` or ``optim_lr``.

    owners: settings by owner; those of "" belong to ``what`` itself. elsewhere: names of other libraries, and what they are here.

    Raises UserError, which calls all owners together ``what``, for an option that nobody has, or more than one.
    """
    names = {owner: [setting.name for setting in settings] for owner, settings in owners.items()}
    found: dict[str, dict[str, Any]] = {owner: {} for owner in owners}
    for key, value in options.items():
        owner, _, rest = key.partition("_")
        meant = [(owner, rest)] if rest in names.get(owner, ()) else [(owner, key) for owner, known in names.items() if key in known]
        if len(meant) > 1:
            full = [f"{owner}_{name}=" if owner else f"{name}=" for owner, name in meant]
            raise UserError(f"{key}= may mean {' or '.join(full)}; write the one that is meant")
        if not meant and key in elsewhere:
            raise UserError(f"{what} has no '{key}': {elsewhere[key]}")
        if not meant:
            raise UserError(f"there is no setting '{key}' of {what}; {suggest(key, [name for known in names.values() for name in known])}")
        found[meant[0][0]][meant[0][1]] = value
    return found


def check_options(settings: Sequence[Setting], options: Mapping[str, Any], part: tuple[str, str]) -> None:
    """Raises SettingError for an option that is unknown or missing, or whose value is not allowed."""
    known = {setting.name: setting for setting in settings}
    words = f"{said(part[0])}={part[1]}"
    for key, value in options.items():
        if key not in known:
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            close = suggest(key, known) if known else ""
            near = f"{close}; {takes}" if close.startswith("did you mean") else takes
            raise SettingError(f"{words} has no option '{key}'; {near}", name=key, part=part)
        known[key].check(value, part=part)
    for setting in settings:
        if setting.default == REQUIRED and setting.name not in options:
            raise SettingError(f"{words} needs {setting.name}; give {setting.name}=...", name=setting.name, part=part)
