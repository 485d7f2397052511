"""Checkpoints that are whole as files, and hold what no training writes: an entry is missing, of another kind, or out of range.

``fcn train`` writes a digest of all tensors beside them. It is written anew after a change (``contents``), so that the checks behind it are
met, and left as it was (``stale``), so that it is met itself.
"""

import io
import json
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import torch
from torch import Tensor

from fcn.models.weight_files import digest


def contents(data: bytes, rng: Random, number: int) -> bytes:
    """The checkpoint or state dict in ``data`` with the change of that number; they follow each other, and begin anew after the last."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    changes = CHECKPOINT if "weights" in state else STATE_DICT
    if "training" in state:
        changes = TRAINING
    changes[number % len(changes)](state, rng)
    if "digest" in state:
        with suppress(ValueError):  # of sparse tensors there is none
            state["digest"] = digest(state)
    return saved(state)


def stale(data: bytes, rng: Random, number: int) -> bytes:
    """The checkpoint in ``data`` with the change of a tensor of that number, and the digest of before."""
    state = torch.load(io.BytesIO(data), weights_only=True)
    TENSORS[number % len(TENSORS)](state, rng)
    return saved(state)


def saved(state: dict[str, Any]) -> bytes:
    written = io.BytesIO()
    torch.save(state, written)
    return written.getvalue()


def header(data: bytes, rng: Random) -> bytes:
    """A safetensors file whose header says something else of one tensor."""
    length = int.from_bytes(data[:8], "little")
    entries = json.loads(data[8 : 8 + length])
    name = rng.choice([name for name in entries if name != "__metadata__"])
    entry = entries[name]
    kind = rng.choice(("type", "shape", "start", "end", "name", "length", "lost"))
    if kind == "type":
        entry["dtype"] = rng.choice(("I32", "F16", "F64", "BOOL", "X9"))
    elif kind == "shape":
        entry["shape"] = rng.choice(([*entry["shape"], 2], [2**40], [-1], [0], ["a"], entry["shape"][::-1]))
    elif kind == "start":
        entry["data_offsets"][0] += rng.choice((-4, 4, 2**40))
    elif kind == "end":
        entry["data_offsets"][1] += rng.choice((-4, 4, 2**40))
    elif kind in ("name", "lost"):
        del entries[name]
        if kind == "name":
            entries[f"{name}x"] = entry
    text = json.dumps(entries).encode()
    claimed = rng.choice((0, length + 1, 2**31, 2**62)) if kind == "length" else len(text)
    return claimed.to_bytes(8, "little") + text + data[8 + length :]


# --- changes ---

Change = Callable[[dict[str, Any], Random], Any]


def without(*path: str) -> Change:
    def change(state: dict[str, Any], rng: Random) -> None:
        for key in path[:-1]:
            state = state[key]
        del state[path[-1]]

    return change


def put(value: Any, *path: str) -> Change:
    def change(state: dict[str, Any], rng: Random) -> None:
        for key in path[:-1]:
            state = state[key]
        state[path[-1]] = value

    return change


def of_one_tensor(new: Callable[[Tensor], Any], *path: str) -> Change:
    """The first tensor of more than one number below ``path`` becomes ``new(tensor)``."""

    def change(state: dict[str, Any], rng: Random) -> None:
        for key in path:
            state = state[key]
        name = next(name for name, value in state.items() if value.is_floating_point() and value.numel() > 3 and "weight" in name)
        state[name] = new(state[name])

    return change


def spoiled(number: float) -> Callable[[Tensor], Tensor]:
    def new(tensor: Tensor) -> Tensor:
        tensor = tensor.clone(memory_format=torch.contiguous_format)
        tensor.view(-1)[1] = number
        return tensor

    return new


def tensors(*path: str) -> list[Change]:
    return [
        of_one_tensor(spoiled(float("nan")), *path),
        of_one_tensor(spoiled(float("inf")), *path),
        of_one_tensor(lambda tensor: tensor.to(torch.int8), *path),
        of_one_tensor(lambda tensor: tensor.to(torch.complex64) * 1j, *path),
        of_one_tensor(lambda tensor: tensor > 0, *path),
        of_one_tensor(lambda tensor: tensor[:-1], *path),
        of_one_tensor(lambda tensor: tensor[None], *path),
        of_one_tensor(lambda tensor: tensor.tolist(), *path),
        of_one_tensor(lambda tensor: None, *path),
        of_one_tensor(lambda tensor: tensor.to_sparse(), *path),
        of_one_tensor(lambda tensor: tensor.double(), *path),  # as good as before
    ]


def renamed(state: dict[str, Any], rng: Random) -> None:
    weights = state.get("weights", state)
    name = rng.choice(list(weights))
    weights[f"{name}_"] = weights.pop(name)


def fewer_names(state: dict[str, Any], rng: Random) -> None:
    state["labels"] = {key: value[:2] for key, value in state["labels"].items()}


STATE_DICT: list[Change] = [*tensors(), renamed]

TENSORS: list[Change] = [
    *tensors("weights"),
    renamed,
    of_one_tensor(spoiled(0.5), "weights"),
    without("digest"),
]  # the last has none at all

CHECKPOINT: list[Change] = [
    *(without(key) for key in ("format", "spec", "labels", "weights")),
    *(without("labels", key) for key in ("names", "colors")),
    *(without("spec", key) for key in ("model", "backbone", "num_classes", "model_options")),
    *(put(value, "spec") for value in (None, [], "fcn8s", {})),
    *(put(value, "spec", "num_classes") for value in (1, 3, 10**6, "seven", None, 7.5, -7)),
    *(put(value, "spec", "backbone") for value in ("nothing", 5, None, "resnet18")),
    put({"surplus": 1}, "spec", "model_options"),
    put(1, "spec", "surplus"),
    put(24, "spec", "output_stride"),
    *(put(value, "labels") for value in (None, [], "road")),
    *(put(value, "labels", "names") for value in (None, [1] * 7, list("aaaaaaa"), "abcdefg", ["a", "b"])),
    *(put(value, "labels", "colors") for value in (None, [[0, 0, 300]] * 7, [[0, 0]] * 7, [[0, 0, 0.5]] * 7, ["red"] * 7)),
    fewer_names,
    *(put(value, "format") for value in (0, 99, "1", None)),
    *(put(value, "weights") for value in (None, [], {}, torch.zeros(3))),
    renamed,
    *tensors("weights"),
]

DATA: list[Change] = [
    without("data"),
    *(put(value, "data") for value in (None, [], {}, "shapes")),
    *(without("data", key) for key in ("name", "val")),
    *(put(value, "data", "name") for value in (5, "nothing", None)),
    *(put(value, "data", "val") for value in (5, None, "nothing")),
    *(put(value, "data", "val_count") for value in (0, "many", None, 1.5, float("nan"))),
    put(1, "data", "surplus"),
]

TRAINING: list[Change] = [
    without("training"),
    *(put(value, "training") for value in (None, [], {}, 3)),
    *(without("training", key) for key in ("plan", "optimizer", "step", "best", "average")),
    *(put(value, "training", "step") for value in (-1, 10**9, "three", None, 1.5, float("nan"))),
    *(put(value, "training", "best") for value in (float("nan"), "high", None, 7.0)),
    *(put(value, "training", "plan") for value in (None, [], {})),
    put(99, "training", "plan", "batch_size"),
    put(99, "training", "plan", "surplus"),
    without("training", "plan", "seed"),
    *(put(value, "training", "optimizer") for value in (None, {}, {"state": {}, "param_groups": []})),
    without("training", "optimizer", "state"),
    put({}, "training", "optimizer", "state"),
    put({"nothing": torch.zeros(2)}, "training", "average"),
    *tensors("weights"),
]
