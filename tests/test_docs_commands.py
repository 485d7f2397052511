"""The pages of commands: every command on them is a call that is understood, every link leads somewhere."""

import re
import shlex
from pathlib import Path

import pytest

from fcn.cli.composing import compose

NAMES = ("data", "weights", "training", "sharing", "export", "localize", "evaluate", "compare", "large-images", "results")
NAMES += ("from_classifier_to_map",)
PAGES = [Path(__file__).parent.parent / "docs" / f"{name}.md" for name in NAMES]
COMMANDS = sorted(
    {
        (page.stem, line)
        for page in PAGES
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.startswith("fcn") and "resume=" not in line
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
        "sharing": lambda: command in ("demo", "train") or settings.checkpoint == "hf://user/name",
        "export": lambda: settings.checkpoint in ("RUN/best.pt", "exported/model.onnx"),
        "localize": lambda: settings.classifier and settings.input,
        "compare": lambda: settings.compared,
        "large-images": lambda: settings.data.name == "scenes" if command != "predict" else settings.input in ("scene.tif", "sentinel.tif"),
        "evaluate": lambda: settings.checkpoint == "RUN/best.pt",
        "results": lambda: settings.compared if command == "compare" else "RUN/best.pt" in words[0] or settings.data.name == "camvid",
        "from_classifier_to_map": lambda: settings.compared if command == "compare" else "outputs/classifier/compact.pt" in line,
        "training": lambda: settings.loss.class_weights == "auto" or settings.augment.focus or settings.augment.transforms,
    }[page]()


def test_the_page_on_sharing_runs(tiny_run, tmp_path, monkeypatch) -> None:
    """Its first block; the second asks a hub."""
    (tmp_path / "RUN").symlink_to(tiny_run)
    monkeypatch.chdir(tmp_path)
    first, second = re.findall(r"```python\n(.*?)```", next(page for page in PAGES if page.stem == "sharing").read_text(), re.DOTALL)
    exec(compile(first, "sharing.md", "exec"), {"__name__": "block"})
    assert {path.name for path in (tmp_path / "shared").iterdir()} == {"model.safetensors", "config.json", "README.md"}
    compile(second, "sharing.md", "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target
