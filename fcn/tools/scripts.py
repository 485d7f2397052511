"""What the programs in ``scripts/`` share: the words that they are called with, and how a picture of a document is saved."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

COLORS = 200  # of a saved picture


def given_settings(words: Iterable[str], defaults: Mapping[str, str]) -> dict[str, str]:
    """The settings that ``words`` (key=value) give, and the defaults of the others. Ends the program at a word that is no setting."""
    settings = dict(defaults)
    for word in words:
        key, _, value = word.partition("=")
        if key not in settings:
            raise SystemExit(f"'{word}' is no setting; allowed: {', '.join(settings)}")
        settings[key] = value
    return settings


def save_picture(figure: Figure, path: Path) -> None:
    """As a PNG of few colours, which is small and looks the same."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=96)
    picture = Image.open(buffer).convert("RGB")
    picture.quantize(COLORS, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path} {path.stat().st_size / 1000:.0f} kB")
