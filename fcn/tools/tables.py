"""Tables of text: aligned for a terminal, as Markdown, as CSV."""

import csv
import io
from collections.abc import Sequence
from typing import NamedTuple

from fcn.core.errors import UserError

Cells = Sequence[Sequence[str]]


class Table(NamedTuple):
    """``rows`` of text, the first cell of each being the row's name; ``note`` says how to read them."""

    title: str
    columns: list[str]
    rows: list[list[str]]
    note: str = ""


def text_table(header: Sequence[str], rows: Cells, total: Sequence[str] | None = None, *, left: int = 1) -> str:
    """Columns as wide as their widest cell, the first ``left`` of them flush left, the others flush right; a rule above the total."""
    lines = [header, *rows, *([total] if total else [])]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    written = ["  ".join(_aligned(line, widths, left)).rstrip() for line in lines]
    rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
    return "\n".join([written[0], rule, *written[1 : len(rows) + 1], *([rule, written[-1]] if total else [])])


def markdown_table(header: Sequence[str], rows: Cells, total: Sequence[str] | None = None, *, left: int = 1) -> str:
    """A table of GitHub's Markdown, its source aligned as well; the total is in bold."""
    bold = [[f"**{cell}**" if cell else "" for cell in total]] if total else []
    lines = [[cell.replace("|", "\\|") for cell in line] for line in [header, *rows, *bold]]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(header))]
    written = [f"| {' | '.join(_aligned(line, widths, left))} |" for line in lines]
    marks = ["-" * width if column < left else "-" * (width - 1) + ":" for column, width in enumerate(widths)]
    return "\n".join([written[0], f"| {' | '.join(marks)} |", *written[1:]])


def csv_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Comma-separated values (RFC 4180, but for lines that end as lines do here); None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def replaced(text: str, mark: str, table: str) -> str:
    """``text`` with what stands between the marks ``<!-- mark -->`` and ``<!-- /mark -->`` replaced. UserError without them."""
    before, start, rest = text.partition(f"<!-- {mark} -->\n")
    _, end, after = rest.partition(f"<!-- /{mark} -->")
    if not (start and end):
        raise UserError(f"the text has no lines <!-- {mark} --> and <!-- /{mark} -->, between which the table is written; add them")
    return f"{before}{start}{table}\n{end}{after}"


def _aligned(cells: Sequence[str], widths: Sequence[int], left: int) -> list[str]:
    pairs = enumerate(zip(cells, widths, strict=True))
    return [cell.ljust(width) if column < left else cell.rjust(width) for column, (cell, width) in pairs]
