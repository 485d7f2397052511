"""What messages quote."""

import pytest

from fcn.core.names import a_type, first_line, listed, shown


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("straße, 道路 #1", "straße, 道路 #1"),
        ("a\0b\x1b[31mc\td\n", r"a\x00b\x1b[31mc\td\n"),
        ("\ufeffroad\u202e", r"\ufeffroad\u202e"),
        ("x" * 1_000_000, "x" * 60 + "..."),
        ("\udc80", r"\udc80"),
    ],
)
def test_what_a_file_holds_is_one_line_that_can_be_printed(text: str, words: str) -> None:
    assert shown(text) == words
    assert shown(text).isprintable()


@pytest.mark.parametrize(("value", "words"), [(1, "an int"), ((), "a tuple"), (OSError(), "an OSError"), (1.5, "a float")])
def test_a_type_has_its_article(value: object, words: str) -> None:
    assert a_type(value) == words


def test_the_first_line_of_an_error_is_cut() -> None:
    assert first_line(ValueError("one\ntwo")) == "one"
    assert first_line(KeyError()) == "KeyError"
    assert len(first_line(ValueError("x" * 1_000_000))) < 400


def test_a_list_says_how_many_it_leaves_out() -> None:
    assert listed(iter("abc"), 3) == "a, b, c"
    assert listed(iter("abc"), 2) == "a, b and 1 more"
    assert listed([], 2) == ""
