"""Pages on data sets, weights, training, scores: every command on them is a call that is understood, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from fcn.cli.composing import compose

PAGES = [Path(__file__).parent.parent / "docs" / name for name in ("data.md", "weights.md", "training.md", "evaluate.md", "compare.md")]
COMMANDS = sorted(
    {
        (page.stem, line)
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("fcn")
    }
)


@pytest.mark.parametrize(
    ("page", "line"), [pytest.param(*each, marks=pytest.mark.slow if each[0] in ("weights", "compare") else ()) for each in COMMANDS]
)
def test_a_command_is_understood(page: str, line: str) -> None:
    _, command, *words = shlex.split(line, comments=True)
    settings = compose(command, words)
    assert {
        "data": lambda: settings.data.root == "DIR",
        "weights": lambda: settings.backbone.weights or settings.model.weights,
        "compare": lambda: settings.compared,
        "evaluate": lambda: settings.checkpoint == "RUN/best.pt",
        "training": lambda: settings.loss.class_weights == "auto" or settings.augment.focus or settings.augment.transforms,
    }[page]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
