"""The page on data sets: every command on it is a call that is understood, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from fcn.cli.composing import compose

PAGE = Path(__file__).parent.parent / "docs" / "data.md"
TEXT = PAGE.read_text()
COMMANDS = sorted(
    {line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines() if line.startswith("fcn")}
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_understood(line: str) -> None:
    _, command, *words = shlex.split(line)
    settings = compose(command, words)
    assert settings.data.root == "DIR"


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target
