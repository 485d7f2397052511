"""Tables of text: aligned columns, Markdown that survives bars, CSV that survives commas."""

import csv
import io

from fcn.tools.tables import csv_table, markdown_table, text_table

ROWS = [["a", "1", "x"], ["long name", "1,000", ""]]


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert text_table(["name", "n", "u"], ROWS, ["sum", "1,001", ""], left=1).splitlines() == [
        "name           n  u",
        "-------------------",
        "a              1  x",
        "long name  1,000",
        "-------------------",
        "sum        1,001",
    ]


def test_markdown_has_one_bar_more_than_columns_in_every_line() -> None:
    lines = markdown_table(["a|b", "n"], [["c|d", "1"]], ["sum", "1"]).splitlines()
    assert [line.replace("\\|", "").count("|") for line in lines] == [3, 3, 3, 3]
    assert lines[1].endswith("-: |")
    assert lines[-1] == "| **sum** | **1** |"


def test_csv_can_be_read_back() -> None:
    text = csv_table(["a", "b"], [["x, y", 1], ['say "z"', None]])
    assert list(csv.reader(io.StringIO(text))) == [["a", "b"], ["x, y", "1"], ['say "z"', ""]]
