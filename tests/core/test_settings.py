"""Settings are read from declarations, and checked in one sentence."""

from collections.abc import Sequence
from typing import Annotated, Literal

import pytest

from fcn.core.errors import SettingError, UserError
from fcn.core.settings import REQUIRED, above, at_least, between, help_lines, items, settings_of, share


def declared(
    positional,
    *,
    count: Annotated[int, at_least(1)] = 3,
    scale: Annotated[float, above(0)] | None = None,
    word: Literal["a", "bb"] = "a",
    listed: Annotated[Sequence[float], items(between(0, 1), count=2)] = (0.1, 0.2),
    path: str,
    on: bool = False,
    guessed=1.5,
):
    """Something.

    count: number of things.
    scale: factor; null: none,
        or what there is.
    word: which.

    More: prose that is no setting's line? It is not a setting's name.
    """


SETTINGS = {setting.name: setting for setting in settings_of(declared)}


def test_types_defaults_and_help_come_from_the_declaration():
    assert [*SETTINGS] == ["count", "scale", "word", "listed", "path", "on", "guessed"]
    assert SETTINGS["count"].help == "number of things."
    assert SETTINGS["scale"].help == "factor; null: none, or what there is."
    assert (SETTINGS["scale"].type, SETTINGS["scale"].optional) == (float, True)
    assert SETTINGS["listed"].default == [0.1, 0.2]
    assert SETTINGS["path"].default == REQUIRED
    assert SETTINGS["guessed"].type is float
    assert SETTINGS["word"].words == ("a", "bb")
    assert SETTINGS["listed"].schema == list[float]


@pytest.mark.parametrize(("name", "value", "message"), [
    ("count", 0, "count=0 is not allowed; count is 1 or more"),
    ("count", 1.5, "count=1.5 is not allowed"),
    ("count", True, "count=True is not allowed"),
    ("count", None, "count=None is not allowed"),
    ("scale", 0.0, "scale=0.0 is not allowed; scale is above 0, or None"),
    ("scale", float("nan"), "scale=nan is not allowed"),
    ("scale", float("inf"), "scale=inf is not allowed"),
    ("word", "b", "word=b is not known; "),
    ("listed", [0.5], "listed=[0.5] is not allowed; listed is a list of 2, each 0 to 1"),
    ("listed", [0.5, 2], "is not allowed"),
    ("listed", 0.5, "is not allowed"),
    ("on", 1, "on=1 is not allowed; on is True or False"),
])  # fmt: skip
def test_what_is_not_taken_is_said(name, value, message):
    with pytest.raises(SettingError) as caught:
        SETTINGS[name].check(value)
    assert message in str(caught.value)
    assert caught.value.name == name


@pytest.mark.parametrize(("name", "value"), [
    ("count", 1), ("scale", None), ("scale", 2), ("word", "bb"), ("listed", (0, 1)), ("on", True), ("guessed", 3),
])  # fmt: skip
def test_what_is_taken_passes(name, value):
    SETTINGS[name].check(value)


def test_a_type_that_cannot_be_set_is_refused_when_it_is_declared():
    def part(*, where: dict[str, int] = {}): ...  # noqa: B006

    with pytest.raises(UserError, match="the setting 'where' is annotated"):
        settings_of(part)


def test_help_lines_end_with_their_paragraph():
    assert help_lines("a: one\n  two\n\nb: three\nc\n  d") == {"a": "one two", "b": "three"}


def test_a_share_leaves_one_out():
    assert share().holds(0)
    assert not share().holds(1)
