"""Progress of long work on standard error: a bar on a terminal, plain lines in a log.

A log keeps every line. So it takes one at each tenth of the work, at least ``APART`` seconds after the one before. Where a tenth takes
longer than ``SILENT`` seconds, there is a line in between. Short work writes nothing.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, TypeVar

APART = 5.0  # seconds
SILENT = 300.0  # seconds

T = TypeVar("T")


class Progress:
    """How far some work is: a context, within which ``update`` counts.

    title: what is being done, in one or two words.
    total: number of units of the whole work; None: unknown.
    unit: what is counted, in the plural, as "images".
    start: units that were done before; default 0.
    shown: False shows nothing; default True.
    scaled: on a terminal, show k, M and G for large numbers; default False.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str,
        *,
        start: int = 0,
        shown: bool = True,
        scaled: bool = False,
    ) -> None:
        self.title, self.total, self.unit, self.note = title, total, unit, ""
        self.shown, self.first, self.done = shown, start, start
        self.bar: Any = None
        if shown and sys.stderr.isatty():
            from tqdm import tqdm

            form = f"{{desc}} {{percentage:3.0f}}% |{{bar:20}}| {{n_fmt}}/{{total_fmt}} {unit}, {{remaining}} left{{postfix}}"
            self.bar = tqdm(
                desc=title,
                total=total,
                initial=start,
                unit=f" {unit}",
                unit_scale=scaled,
                leave=False,
                mininterval=0.2,
                bar_format=form if total else None,
            )
        self.begin = self.said = time.monotonic()
        self.tenth = self._tenth()

    def update(self, count: int = 1) -> None:
        """Count units that are done."""
        self.done += count
        if self.bar is not None:
            self.bar.update(count)
        elif self.shown:
            now = time.monotonic()
            if now - self.said >= APART and (self._tenth() > self.tenth or now - self.said >= SILENT):
                self.said, self.tenth = now, self._tenth()
                print(self.line(now - self.begin), file=sys.stderr, flush=True)

    def describe(self, title: str, note: str = "") -> None:
        """Show another title, and a note behind the numbers, from the next update on."""
        self.title, self.note = title, note
        if self.bar is not None:
            self.bar.set_description_str(title, refresh=False)
            self.bar.set_postfix_str(note, refresh=False)

    def line(self, seconds: float) -> str:
        """What a log shows after so many seconds of work."""
        note = f", {self.note}" if self.note else ""
        if not self.total:
            return f"{self.title}: {self.done:,} {self.unit}{note}"
        left = seconds * (self.total - self.done) / max(1, self.done - self.first)
        share = 100 * self.done // self.total
        return f"{self.title}: {self.done:,} of {self.total:,} {self.unit} ({share} %), {clock(left)} left{note}"

    def _tenth(self) -> int:
        return 10 * self.done // self.total if self.total else 0

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """The items; each counts when the next is asked for."""
        with self:
            for item in items:
                yield item
                self.update()

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.bar is not None:
            self.bar.close()


def tell(text: str) -> None:
    """Write a line to standard error, without breaking a bar that is shown there."""
    bars = sys.modules.get("tqdm")  # not imported for the line alone
    if bars is None:
        print(text, file=sys.stderr, flush=True)
    else:
        bars.tqdm.write(text, file=sys.stderr)


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:30 or 3:05:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
