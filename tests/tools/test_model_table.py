"""README's table of models is the code's."""

import re
from pathlib import Path

import pytest

from fcn.core.registry import list_parts
from fcn.tools.model_table import HEADER, WORDS, model_row, model_table
from fcn.tools.tables import replaced

README = Path(__file__).parent.parent.parent / "README.md"


def lines_of_readme():
    table = README.read_text().partition("<!-- models -->\n")[2].partition("<!-- /models -->")[0]
    return [tuple(cell.strip() for cell in line.strip("| \n").split(" | ")) for line in table.splitlines()]


def test_every_model_has_its_line_in_readme():
    header, _, *rows = lines_of_readme()
    assert header == HEADER
    assert [row[0].strip("`") for row in rows] == list(WORDS)
    assert sorted(WORDS) == list_parts("model")


@pytest.mark.parametrize(
    "model", ["fcn8s", *(pytest.param(name, marks=pytest.mark.slow) for name in list_parts("model") if name != "fcn8s")]
)
def test_readme_says_what_the_code_says(model):
    """Where this fails: python scripts/model_table.py README.md."""
    (row,) = [row for row in lines_of_readme()[2:] if row[0] == f"`{model}`"]
    assert row == model_row(model)


def test_the_figures_are_those_of_torchvisions_network():
    """Its published count of operations, 152.717 G, is for 520 x 520 pixels and includes the auxiliary head; its field is 443 pixels."""
    (row,) = [row for row in lines_of_readme()[2:] if row[0] == "`fcn`"]
    auxiliary = (1024 * 256 * 9 + 256 * 21) * 65**2 / 1e9
    assert float(row[5].split()[0]) == pytest.approx((152.717 - auxiliary) * (64 / 65) ** 2, rel=0.01)
    assert row[6] == "443 px"


def test_a_text_without_marks_is_refused():
    assert replaced("a\n<!-- models -->\nold\n<!-- /models -->\nb", "models", "new") == "a\n<!-- models -->\nnew\n<!-- /models -->\nb"
    with pytest.raises(ValueError, match="the text has no lines <!-- models -->"):
        replaced("no marks", "models", "table")


@pytest.mark.slow
def test_the_whole_table_is_markdown():
    assert all(re.fullmatch(r"\|( [^|]+ \|){7}", line) for line in model_table().splitlines())
