"""What no check can see: damage after which a file is as sound as before, though it says something else. The one place that excuses it.

- a picture that keeps every promise of its format (``formats.py`` says what each hides);
- a photograph in a PNG whose header claims fewer rows than are stored, under a checksum that was put right: no accident does that, and
  counting the pixels takes a third as long as decoding them. Label maps are counted, and their sizes held against the photographs';
- a list of classes whose lines are other printable names, a list of a split whose lines are other samples of the folder;
- a configuration with the same keys, of which one has another value of its type that the command takes, and uses as it stands there;
- a safetensors file, which has no checksum, with the same names, types and shapes, and finite numbers;
- another file of the same kind in the place of this one.

A checkpoint's archive has a CRC-32 of each entry, so nothing of it is excused.
"""

import json
import math
import re
import struct
from itertools import pairwise
from typing import Any

import numpy as np
import yaml

from tests.faults.formats import png_of_fewer_rows, whole

LINE = re.compile(r"(?P<name>.*?)(?:\s+#(?P<color>[0-9a-fA-F]{6}))?(?:\s+#\s.*)?")


def unseen(form: str, damaged: bytes, value: Any, undamaged: Any) -> str | None:
    """The name of that damage, where it is of this kind. value: what was read of ``damaged``; undamaged: of the file before."""
    if form in ("classes", "split", "yaml", "safetensors"):
        rules = {"classes": other_names, "split": other_samples, "yaml": other_setting, "safetensors": other_numbers}
        return rules[form](damaged, value, undamaged)
    if form == "png" and len(value[1]) == 3 and png_of_fewer_rows(damaged):
        return "png: a photograph's header of fewer rows, its checksum put right"
    return f"{form}: sound, other content" if form != "zip" and whole(form, damaged) else None


def other_names(damaged: bytes, value: Any, undamaged: Any) -> str | None:
    lines = text_lines(damaged)
    if lines is None:
        return None
    found = [match for line in lines if (match := LINE.fullmatch(line)) and not line.startswith("#")]
    sound = tuple(match["name"] for match in found) == value["names"] and all(
        match["color"] is None or bytes.fromhex(match["color"]) == bytes(color) for match, color in zip(found, value["colors"], strict=True)
    )
    return "classes: other names" if sound else None


def other_samples(damaged: bytes, value: Any, undamaged: Any) -> str | None:
    lines = text_lines(damaged)
    return "split: other samples" if lines == list(value) and len(set(lines)) == len(lines) else None


def text_lines(damaged: bytes) -> list[str] | None:
    """The lines that are not empty, if all is printable UTF-8."""
    try:
        text = damaged.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None
    lines = [line.strip() for line in re.split(r"\r\n|\n|\r", text)]
    return [line for line in lines if line] if all(line.replace("\t", " ").isprintable() for line in lines) else None


class Strict(yaml.SafeLoader):
    """YAML as ``fcn`` writes it: no key twice, no alias."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        if len(set(keys)) < len(keys):
            raise yaml.YAMLError("a key is given twice")
        return super().construct_mapping(node, deep)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias")
        return super().compose_node(parent, index)


def other_setting(damaged: bytes, value: Any, undamaged: Any) -> str | None:
    try:
        tree = yaml.load(damaged.decode("utf-8-sig"), Strict)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError):
        return None
    if not isinstance(tree, dict):
        return None
    tree = as_numbers({key: item for key, item in tree.items() if key not in ("resume", "output")}, value)
    return "configuration: another allowed value" if tree == value and alike(tree, undamaged) else None


def as_numbers(tree: Any, value: Any) -> Any:
    """``tree`` with what stands where ``value`` has fractions as fractions, as omegaconf reads it: 1e30, and whole numbers."""
    if isinstance(tree, dict) and isinstance(value, dict):
        return {key: as_numbers(item, value.get(key)) for key, item in tree.items()}
    if isinstance(tree, list) and isinstance(value, list) and len(tree) == len(value):
        return [as_numbers(*pair) for pair in zip(tree, value, strict=True)]
    try:
        return float(tree) if isinstance(tree, str | int) and isinstance(value, float) else tree
    except (ValueError, OverflowError):
        return tree


def alike(one: Any, other: Any) -> bool:
    """Whether two settings have the same keys and types, all numbers finite. What may be null may be anything."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return all(alike(item, other[0]) for item in one) if other else True
    if one is None or other is None:
        return True
    if isinstance(one, bool) or isinstance(other, bool) or isinstance(one, str) or isinstance(other, str):
        return type(one) is type(other)
    return isinstance(one, int | float) and isinstance(other, int | float) and math.isfinite(one)


def other_numbers(damaged: bytes, value: Any, undamaged: Any) -> str | None:
    try:
        (length,) = struct.unpack_from("<Q", damaged)
        header = json.loads(damaged[8 : 8 + length])
    except (ValueError, struct.error, OverflowError, MemoryError):
        return None
    header.pop("__metadata__", None)
    codes = {"torch.float32": "F32", "torch.int64": "I64"}
    expected = {name: (codes[kind], list(shape)) for name, (kind, shape, _) in undamaged.items()}
    if {name: (entry["dtype"], entry["shape"]) for name, entry in header.items()} != expected:
        return None
    ends = sorted(tuple(entry["data_offsets"]) for entry in header.values())
    tiled = ends[0][0] == 0 and all(one[1] == other[0] for one, other in pairwise(ends))
    if not tiled or 8 + length + ends[-1][1] != len(damaged):
        return None
    floats = [entry["data_offsets"] for entry in header.values() if entry["dtype"] == "F32"]
    parts = [np.frombuffer(damaged[8 + length + begin : 8 + length + end], "<f4") for begin, end in floats]
    return "safetensors: other finite numbers" if all(np.isfinite(part).all() for part in parts) else None
