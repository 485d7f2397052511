"""The page that teaches the geometry: every block on it runs, and prints what stands below it."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
import torch

from fcn.cli.main import run

PAGE = Path(__file__).parent.parent / "docs" / "geometry.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"^```(python|sh)\n((?:(?!```).)*)```(?:\n\n```text\n((?:(?!```).)*)```)?", re.DOTALL | re.MULTILINE)
BLOCKS = [pytest.param(*found.groups(), id=f"line {TEXT[: found.start()].count(chr(10)) + 1}") for found in BLOCK.finditer(TEXT)]


@pytest.mark.parametrize(("language", "code", "expected"), BLOCKS)
def test_a_block_runs_and_prints_what_stands_below_it(language: str, code: str, expected: str | None, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        if language == "python":
            exec(compile(code, str(PAGE), "exec"), {"__name__": "block"})
        else:
            for line in code.splitlines():
                name, *words = shlex.split(line, comments=True)
                assert name == "fcn"
                assert run(words) == 0
    if expected is not None:
        assert printed.getvalue().rstrip() == expected.rstrip()
    elif language == "sh":
        assert list(tmp_path.rglob("field.png"))


def test_no_output_is_without_its_block_and_every_picture_is_there() -> None:
    assert TEXT.count("```text") == sum(1 for found in BLOCK.finditer(TEXT) if found[3] is not None)
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", TEXT)
    assert {path.name for path in (PAGE.parent / "geometry").iterdir()} == {Path(name).name for name in pictures}
    assert all((PAGE.parent / name).stat().st_size < 150_000 for name in pictures)


def test_links_lead_somewhere() -> None:
    headings = {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-") for line in TEXT.splitlines() if line.startswith("#")}
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert target[1:] in headings if target.startswith("#") else (PAGE.parent / target).exists(), target


def test_the_page_on_tiling_runs() -> None:
    text = (PAGE.parent / "tiling.md").read_text()
    code = "\n".join(found[2] for found in BLOCK.finditer(text) if found[1] == "python")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "tiling.md", "exec"), {"__name__": "block"})
    assert printed.getvalue() == "(5, 2)\n"
    pictures = re.findall(r"!\[[^]]+\]\(([^)]+)\)", text)
    assert {path.name for path in (PAGE.parent / "tiling").iterdir()} == {Path(name).name for name in pictures}
    assert all((PAGE.parent / name).stat().st_size < 150_000 for name in pictures)
