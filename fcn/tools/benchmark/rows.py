"""The rows of a benchmark: one way to do a thing, with its cost and its agreement with the first way."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from fcn.tools.measure import Measured
from fcn.tools.tables import markdown_table, text_table

HEADER = ("way", "seconds", "spread", "speed", "GMACs", "fewer", "GFLOP/s", "of peak", "memory, MiB", "difference", "equal labels", "note")


@dataclass
class Row:
    """One way to do what ``case`` says.

    seconds: median of the repeats; None: it could not be done. spread: half the interquartile range divided by the median; None: one
    repeat. macs: multiply-adds. peak: GFLOP/s of the machine's own convolution, measured in the same turns. memory: peak bytes beyond image
    and weights. difference: largest difference of scores divided by their range. equal: share of equal labels. note: remarks.
    """

    case: str
    way: str
    seconds: float | None
    spread: float | None = None
    macs: int | None = None
    peak: float | None = None
    memory: int | None = None
    difference: float | None = None
    equal: float | None = None
    note: str = ""

    @property
    def flops(self) -> float | None:
        """GFLOP/s: two operations for each multiply-add; None where the machine's own are not measured."""
        return None if self.peak is None or not self.seconds or self.macs is None else 2 * self.macs / self.seconds / 1e9

    @classmethod
    def of(cls, case: str, way: str, found: Measured | RuntimeError, *, share: float = 1.0, **rest: Any) -> "Row":
        """The row of what was measured. share: of the calls that the way takes for one that was timed."""
        if isinstance(found, RuntimeError):  # an image too large for one pass is a result, too
            return cls(case, way, None, **{**rest, "note": str(found)})
        return cls(case, way, found.timing.median * share, found.timing.spread, memory=found.memory, **rest)


@dataclass
class Section:
    """A table of the report: rows of several cases, the first row of each being what the others are compared to."""

    title: str
    rows: list[Row]
    note: str = ""

    def cases(self) -> list[list[Row]]:
        return [[row for row in self.rows if row.case == case] for case in dict.fromkeys(row.case for row in self.rows)]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def tables(section: Section, *, markdown: bool = False) -> str:
    """The section as text, a table for each case."""
    made = []
    for rows in section.cases():
        cells = [_cells(row, rows[0]) for row in rows]
        kept = [column for column in range(len(HEADER)) if column < 2 or any(line[column] for line in cells)]
        make = markdown_table if markdown else text_table
        made.append(rows[0].case)
        made.append(make([HEADER[column] for column in kept], [[line[column] for column in kept] for line in cells]))
    title = f"## {section.title}" if markdown else section.title
    return "\n\n".join([title, *made, *([section.note] if section.note else [])])


def counted(labels: int) -> str:
    return f"{labels:,} label{'' if labels == 1 else 's'} differ{'s' if labels == 1 else ''}"


def digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def percent(share: float) -> str:
    """In per cent; 100 only where nothing is missing."""
    return "100 %" if share == 1 else f"{min(100 * share, 99.9999):.6g} %"


def _cells(row: Row, first: Row) -> Sequence[str]:
    return (
        row.way,
        "-" if row.seconds is None else digits(row.seconds),
        "" if row.spread is None else f"{100 * row.spread:.0f} %",
        "" if row is first or row.seconds is None or first.seconds is None else f"{digits(first.seconds / row.seconds)}x",
        "" if row.macs is None else f"{row.macs / 1e9:,.1f}",
        "" if row.macs is None or first.macs is None or row is first else f"{digits(first.macs / row.macs)}x",
        "" if row.flops is None else digits(row.flops),
        "" if row.flops is None or row.peak is None else f"{100 * row.flops / row.peak:.0f} %",
        "" if row.memory is None else f"{row.memory / 2**20:,.1f}",
        "" if row.difference is None else f"{row.difference:.1e}",
        "" if row.equal is None else percent(row.equal),
        row.note,
    )
