"""Layers in words: ``conv3 s2 p1, pool2 s2, conv3 d2``.

    text    = layer { "," layer }
    layer   = kind number [ "x" number ] { option }
    kind    = conv | depthwise | separable | pool | avgpool | l2pool | tconv | shuffle | nearest | bilinear
    option  = s STRIDE | p PADDING | d DILATION | g GROUPS | c CHANNELS | o OUTPUT_PADDING | same | ceil | nobias

The number is the kernel; for shuffle, nearest and bilinear the factor. ``c`` is the number of output channels; without it they stay.
"""

import re

from fcn.core.errors import UserError
from fcn.lessons.arithmetic import Layer, conv, depthwise, pixel_shuffle, pointwise, pool, resize, transposed

KINDS = ("conv", "depthwise", "separable", "pool", "avgpool", "l2pool", "tconv", "shuffle", "nearest", "bilinear")
NUMBERS = {"s": "stride", "p": "padding", "d": "dilation", "g": "groups", "c": "channels", "o": "output padding"}
WORDS = ("same", "ceil", "nobias")
ALLOWED: dict[str, tuple[str, ...]] = {
    "conv": ("s", "p", "d", "g", "c", "same", "nobias"),
    "depthwise": ("s", "p", "d", "same", "nobias"),
    "separable": ("s", "p", "d", "c", "same", "nobias"),
    "pool": ("s", "p", "d", "ceil"),
    "avgpool": ("s", "p", "ceil"),
    "l2pool": ("s", "p", "ceil"),
    "tconv": ("s", "p", "d", "g", "c", "o", "nobias"),
    "shuffle": (),
    "nearest": (),
    "bilinear": (),
}
GRAMMAR = "write layers as KIND NUMBER [OPTIONS], with commas between, as in 'conv3 s2 p1, pool2 s2, conv3 d2'"


def parse_layers(text: str, in_channels: int = 3) -> list[Layer]:
    """The layers that ``text`` names. Raises UserError with the position (from 1) of what is wrong, and the grammar."""
    return [layer for _, layer in parse_words(text, in_channels)]


def parse_words(text: str, in_channels: int = 3) -> list[tuple[str, Layer]]:
    """The same, each layer with the words that it was named by; ``separable`` names two. Raises as ``parse_layers`` does."""
    found: list[tuple[str, Layer]] = []
    position = 0
    for part in text.split(","):
        channels = found[-1][1].out_channels if found else in_channels
        found += [(part.strip(), layer) for layer in _layer(part, position, channels)]
        position += len(part) + 1
    return found


def _layer(part: str, position: int, channels: int) -> list[Layer]:
    tokens = [(match.group(), position + match.start()) for match in re.finditer(r"\S+", part)]
    if not tokens:
        raise _wrong(position, "a layer is missing")
    word, place = tokens[0]
    match = re.fullmatch(rf"({'|'.join(KINDS)})(\d+)(?:x(\d+))?", word)
    if match is None:
        if word in KINDS:
            raise _wrong(place, f"'{word}' lacks its number, as in '{word}3'")
        raise _wrong(place, f"'{word}' is no layer; the layers are {', '.join(KINDS)}, each with a number")
    kind, kernel = match[1], (int(match[2]), int(match[3] or match[2]))
    if min(kernel) < 1:
        raise _wrong(place, f"'{word}' has a kernel of 0")
    options: dict[str, int] = {}
    for word, place in tokens[1:]:
        option = re.fullmatch(r"([a-z])(\d+)", word)
        key = word if word in WORDS else option[1] if option and option[1] in NUMBERS else None
        if key is None:
            choices = [f"{letter}NUMBER ({name})" for letter, name in NUMBERS.items()] + list(WORDS)
            raise _wrong(place, f"'{word}' is no option; the options are {', '.join(choices)}")
        if key not in ALLOWED[kind]:
            raise _wrong(place, f"'{word}' means nothing to {kind}, which takes {', '.join(ALLOWED[kind]) or 'no options'}")
        if key in options or (key in ("p", "same") and {"p", "same"} & options.keys()):
            raise _wrong(place, f"'{word}' sets what is set already")
        options[key] = int(option[2]) if option and key != word else 1
        if options[key] == 0 and key not in ("p", "o"):
            raise _wrong(place, f"'{word}' must be at least 1")
    try:
        return _build(kind, kernel, options, channels)
    except ValueError as error:
        raise _wrong(tokens[0][1], str(error)) from error


def _build(kind: str, kernel: tuple[int, int], options: dict[str, int], channels: int) -> list[Layer]:
    stride, padding, dilation = options.get("s", 1), options.get("p", 0), options.get("d", 1)
    bias, groups, out = "nobias" not in options, options.get("g", 1), options.get("c", channels)
    if kind == "conv":
        return [conv(channels, out, kernel, stride, "same" if "same" in options else padding, dilation, groups, bias)]
    if kernel[0] != kernel[1]:
        raise UserError(f"only conv takes two numbers, not {kind}")
    size = kernel[0]
    if kind in ("depthwise", "separable"):
        first = depthwise(channels, size, stride, "same" if "same" in options else padding, dilation, bias)
        return [first] if kind == "depthwise" else [first, pointwise(channels, out, bias)]
    if kind.endswith("pool"):
        name = {"pool": "max", "avgpool": "average", "l2pool": "l2"}[kind]
        made = pool(size, options.get("s"), padding, dilation, channels=channels, kind=name, ceil_mode="ceil" in options)  # type: ignore[arg-type]
        return [made]
    if kind == "tconv":
        return [transposed(channels, out, size, stride, padding, dilation, options.get("o", 0), groups, bias)]
    if kind == "shuffle":
        return [pixel_shuffle(channels, size)]
    return [resize(channels, size, "nearest" if kind == "nearest" else "bilinear")]


def _wrong(position: int, reason: str) -> UserError:
    return UserError(f"layers, position {position + 1}: {reason}; {GRAMMAR}")
