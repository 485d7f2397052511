"""Charts as inline SVG: they take the page's colours, light or dark, and need neither scripts nor other files."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any

WIDTH, HEIGHT = 420, 290
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 12, 40  # room round the plot
LONGEST_NAME = 60  # letters that fit into the width

Points = Sequence[tuple[float, float]]


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers within low..high, at most about ``most``."""
    span = max(high - low, 1e-9)
    step = 10 ** floor(log10(span / most))
    step *= next((factor for factor in (1, 2, 5, 10) if span / (step * factor) <= most), 10)
    return [round(place * step, 10) for place in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]


class Frame:
    """Axes over the ranges of some points, a little room round them; ``parts`` collects what is drawn."""

    def __init__(self, points: Points, x_name: str, y_name: str, *, height: int = HEIGHT) -> None:
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.x_range, self.y_range = _padded(xs), _padded(ys)
        self.height = height
        self.parts: list[str] = []
        for value in ticks(*self.x_range):
            x = self.x(value)
            self.parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
            self.parts.append(f'<text x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle">{value:g}</text>')
        for value in ticks(*self.y_range):
            y = self.y(value)
            self.parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
            self.parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
        self.parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>')
        middle = (TOP + height - BOTTOM) / 2
        self.parts.append(f'<text transform="translate(13 {middle}) rotate(-90)" text-anchor="middle">{escape(y_name)}</text>')

    def x(self, value: float) -> float:
        low, high = self.x_range
        return LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self.y_range
        return self.height - BOTTOM - (value - low) / (high - low) * (self.height - TOP - BOTTOM)

    def svg(self, label: str) -> str:
        inside = "".join(self.parts)
        return f'<svg viewBox="0 0 {WIDTH} {self.height}" role="img" aria-label="{escape(label)}">{inside}</svg>'


def scatter(groups: Mapping[str, Points], colors: Mapping[str, str], x_name: str, y_name: str) -> str:
    """A dot for each point, a ring at each group's mean. Empty groups are left out."""
    frame = Frame([point for points in groups.values() for point in points], x_name, y_name)
    for name, points in groups.items():
        for x, y in points:
            frame.parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{colors[name]}" opacity=".6"/>')
        if points:
            x, y = (sum(point[axis] for point in points) / len(points) for axis in (0, 1))
            ring = f'r="8" fill="none" stroke="{colors[name]}" stroke-width="2.5"'
            frame.parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" {ring}><title>{escape(name)}</title></circle>')
    return frame.svg(f"{y_name} against {x_name}")


def curves(groups: Mapping[str, Sequence[Points]], colors: Mapping[str, str], x_name: str, y_name: str) -> str:
    """A thin line for each series of points, coloured by its group."""
    frame = Frame([point for lines in groups.values() for line in lines for point in line], x_name, y_name)
    for name, lines in groups.items():
        for line in lines:
            path = " ".join(f"{frame.x(x):.1f},{frame.y(y):.1f}" for x, y in line)
            frame.parts.append(f'<polyline points="{path}" fill="none" stroke="{colors[name]}" stroke-width="1.5" opacity=".75"/>')
            if len(line) == 1:
                x, y = line[0]
                frame.parts.append(f'<circle cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3" fill="{colors[name]}"/>')
    return frame.svg(f"{y_name} over {x_name}")


def bars(counts: Sequence[int], edges: Sequence[float], x_name: str, y_name: str, color: str) -> str:
    """A bar for each count, between two of the edges, of which there is one more."""
    frame = Frame([(edges[0], 0), (edges[-1], max(counts))], x_name, y_name)
    for count, low, high in zip(counts, edges, edges[1:], strict=False):
        left, right, top, bottom = frame.x(low), frame.x(high), frame.y(count), frame.y(0)
        frame.parts.append(
            f'<rect x="{left + 0.5:.1f}" y="{top:.1f}" width="{right - left - 1:.1f}" height="{bottom - top:.1f}" fill="{color}">'
            f"<title>{low:g} to {high:g}: {count}</title></rect>"
        )
    return frame.svg(f"{y_name} by {x_name}")


def reliability(bins: Sequence[tuple[float, float, float]], color: str) -> str:
    """A reliability plot: a dot for each bin (confidence, accuracy, share of the pixels), as large as its share, and the line on which a
    calibrated network lies. Confidence and accuracy in per cent."""
    frame = Frame([(0, 0), (100, 100)], "confidence, %", "right, %")
    frame.parts.append(
        f'<line class="zero" x1="{frame.x(0):.1f}" y1="{frame.y(0):.1f}" x2="{frame.x(100):.1f}" y2="{frame.y(100):.1f}" '
        f'stroke-dasharray="4 4"/>'
    )
    path = " ".join(f"{frame.x(confidence):.1f},{frame.y(accuracy):.1f}" for confidence, accuracy, _ in bins)
    frame.parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.5"/>')
    for confidence, accuracy, share in bins:
        place = f'cx="{frame.x(confidence):.1f}" cy="{frame.y(accuracy):.1f}" r="{2.5 + 9 * share**0.5:.1f}"'
        frame.parts.append(
            f'<circle {place} fill="{color}" opacity=".6">'
            f"<title>{confidence:.1f} % sure, {accuracy:.1f} % right: {100 * share:.2f} % of the pixels</title></circle>"
        )
    return frame.svg("share of right pixels over their confidence")


def intervals(found: Mapping[str, Mapping[str, Any]], colors: Mapping[str, str], x_name: str) -> str:
    """For each name, which stands above it, the mean difference, and its interval where there is one, beside a line at zero."""
    row, left = 42, 16
    height = row * len(found) + TOP + BOTTOM
    ends = [100 * value for one in found.values() for value in (one["mean"], one["low"], one["high"]) if value is not None]
    low, high = _padded([*ends, 0.0])
    parts = []

    def place(value: float) -> float:
        return left + (value - low) / (high - low) * (WIDTH - 2 * left)

    for value in ticks(low, high):
        x, kind = place(value), "zero" if value == 0 else "grid"
        anchor = "start" if x < 2 * left else "end" if x > WIDTH - 2 * left else "middle"  # within the picture
        parts.append(f'<line class="{kind}" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="{anchor}">{f"{value:+g}" if value else "0"}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{height - 6}" text-anchor="middle">{escape(x_name)}</text>')
    for index, (name, one) in enumerate(found.items()):
        y = TOP + row * index + 30
        short = name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."
        parts.append(f'<text x="{left}" y="{y - 14}">{escape(short)}</text>')
        if one["low"] is not None:
            ends_at = place(100 * one["low"]), place(100 * one["high"])
            parts.append(f'<line x1="{ends_at[0]:.1f}" x2="{ends_at[1]:.1f}" y1="{y}" y2="{y}" stroke="{colors[name]}" stroke-width="3"/>')
        parts.append(f'<circle cx="{place(100 * one["mean"]):.1f}" cy="{y}" r="5" fill="{colors[name]}"/>')
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(x_name)}">{"".join(parts)}</svg>'


def _padded(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values, default=0.0), max(values, default=1.0)
    room = 0.06 * (high - low) or max(abs(high) * 0.05, 1e-3)
    return low - room, high + room
