"""What is read from a file by the library, as plain values that can be compared and pickled. Tensors become a digest."""

from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def image(path: Path) -> Any:
    from fcn.data.images import read_image

    return plain(read_image(path))


def label_map(path: Path) -> Any:
    from fcn.data.labelmaps import read_labels

    return plain(read_labels(path))


def classes(path: Path) -> Any:
    from fcn.data.classes import read_classes

    return plain(asdict(read_classes(path)))


def split_list(path: Path) -> Any:
    """The names of the samples of a data folder whose list is ``path``."""
    from fcn.data.folder import folder

    return plain(folder(path.stem, root=path.parent).names)


def configuration(path: Path) -> Any:
    """The settings with which a run goes on."""
    from fcn.cli.composing import compose

    settings = asdict(compose("train", [f"resume={path.parent}"]))
    return {key: value for key, value in settings.items() if key not in ("resume", "output")}


def model(path: Path) -> Any:
    """A model that labels images: what it is, its classes, its weights."""
    from fcn.training.checkpoint import load

    loaded = load(path)
    return plain({"spec": asdict(loaded.spec), "labels": asdict(loaded.labels), "weights": loaded.state_dict()})


def checkpoint(path: Path) -> Any:
    """All that a training goes on from."""
    from fcn.training.checkpoint import read_checkpoint

    return plain(read_checkpoint(path))


def state_dict(path: Path) -> Any:
    from fcn.models.pretrained import load_weights

    network = small_network()
    load_weights(network, path)
    return plain(network.state_dict())


def compact_weights(path: Path) -> Any:
    from fcn.models.compact import compact

    return plain(compact(weights=str(path)).state_dict())


def small_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1))


def plain(value: Any) -> Any:
    """``value`` in tuples, dicts and plain values; a tensor as its type, shape and a digest of its elements."""
    if isinstance(value, Tensor):
        value = value if value.layout == torch.strided else value.to_dense()
        content = value.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes() if value.numel() else b""
        return str(value.dtype), tuple(value.shape), sha256(content).hexdigest()[:16]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return tuple(plain(item) for item in value)
    return value
