"""Checkpoints: tensors and plain values, all that is needed to build the model again, to label images with it, and to go on training.

Written under a temporary name, synced and renamed: a run that is killed while it writes keeps the previous one. Read as tensors and plain
values only (``weights_only=True``), so that a file from a stranger runs no code. A damaged file is refused: see ``models/weight_files.py``.

``best.pt`` holds the entries of ``model_state``; ``last.pt`` also ``training``: the optimizer, the step, the best score so far and the
losses that no record holds yet. It holds no random state: every random number of a run is a function of the seed and of the place where it
is drawn (``training/batches.py``).
"""

from os import PathLike, fspath
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.images import from_plain
from fcn.core.names import a_type, first_line, said, shown
from fcn.core.plugins import check_plugins
from fcn.models.any import Wrapped, as_model
from fcn.models.hub import is_hub, read_shared
from fcn.models.onnx_model import is_onnx, read_onnx
from fcn.models.pretrained import fit_state_dict
from fcn.models.pretrained_folder import CONFIG, WEIGHTS
from fcn.models.segmenter import Segmenter, assemble
from fcn.models.spec import ModelSpec, is_wrap_spec
from fcn.models.weight_files import (
    as_state_dict,
    check_checkpoint,
    digest,
    is_checkpoint,
    labelled_state,
    labels_of,
    model_state,
    read_archive,
    record_of,
)


def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write ``state`` so that ``path`` is either the old file or the whole new one. Raises OSError in one sentence where that fails."""
    with written(path) as temporary, open(temporary, "wb") as file:
        torch.save({**state, "digest": digest(state)}, file)


def read_checkpoint(path: str | PathLike[str], network: nn.Module | None = None) -> dict[str, Any]:
    """The contents of a checkpoint, on the CPU. Raises FileNotFoundError, or UserError where the file is none of ours or damaged.

    path: a file, a folder that ``save_pretrained`` wrote, or a model on the Hugging Face hub, as hf://USER/NAME.
    network: for a bare state dict, the network that it belongs to, as ``wrap`` returns it; it takes the weights.
    """
    shared = read_shared(path)
    if shared is not None:
        return shared
    path = Path(path)
    if path.is_dir():
        inside = [file for pattern in ("best.pt", "last.pt", "cells/*/best.pt", "*/best.pt") for file in sorted(path.glob(pattern))]
        hint = f"give {inside[0]}" if inside else "give the best.pt of a run, or a folder that save_pretrained wrote"
        raise UserError(f"checkpoint={path} is a folder; {hint}")
    if not path.is_file():
        raise FileNotFoundError(f"there is no checkpoint {path}; give the best.pt or last.pt of a run")
    if path.suffix == ".pt2":
        raise UserError(f"{path} is a program of torch.export, for torch.export.load; give a checkpoint, or an ONNX file of fcn export")
    if path.name == WEIGHTS and (path.parent / CONFIG).is_file():
        raise UserError(f"{path} is a part of the model in {path.parent}; give that folder")
    state = read_archive(path, "checkpoint")
    if is_checkpoint(state):
        check_checkpoint(state, path)
        return state
    if network is None:
        raise UserError(
            f"{path} is no checkpoint of fcn train; a bare state dict is given as {said('backbone.weights')}=PATH when training, "
            f"or beside {said('network')}= where it belongs to a network of your own"
        )
    return adopted(state, path, network)


def adopted(content: Any, path: Path, network: nn.Module) -> dict[str, Any]:
    """What a checkpoint of ``network`` holds once the network has taken the bare state dict that ``content`` is or holds."""
    if not isinstance(network, Wrapped) or network.labels is None:
        given = "a wrapped network without classes" if isinstance(network, Wrapped) else a_type(network)
        raise UserError(
            f"{path} holds weights alone, so that {said('network')}= must say how images are normalised and what the classes are, and it "
            f"gives {given}; give what fcn.wrap(network, mean=..., std=..., classes=[...]) returns"
        )
    inner = network.backbone.network
    same = isinstance(content, dict) and content.keys() == inner.state_dict().keys()
    fit_state_dict(inner, content if same else as_state_dict(content, path), str(path))
    return model_state(network, network.labels)


def model_from_state(state: dict[str, Any], origin: str = "the checkpoint", network: nn.Module | None = None) -> Segmenter:
    """The model that a checkpoint describes, with its weights and classes, in evaluation mode.

    network: for a model that ``wrap`` made, the network that its weights are loaded into.

    Raises UserError, naming ``origin``, where the network cannot be built or the weights do not fit it.
    """
    model = rewrapped(state, origin, network) if is_wrap_spec(state["spec"]) else assembled(state, origin, network)
    fit_state_dict(model, state["weights"], origin)
    model.labels = labels_of(state["labels"])
    model.record = record_of(as_it_is_here(model, state))
    return model.eval()


def as_it_is_here(model: Segmenter, state: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint whose tensors became another type when a model took them: with those, by which later changes are told."""
    own = model.state_dict()
    if all(own[name].dtype == tensor.dtype for name, tensor in state["weights"].items()):
        return state
    return {**{key: value for key, value in state.items() if key != "digest"}, "weights": own}


def assembled(state: dict[str, Any], origin: str, network: nn.Module | None) -> Segmenter:
    if network is not None:
        raise UserError(f"{origin} says itself how its network is built; leave network= out")
    check_plugins(state["spec"].get("plugins", ()), origin)
    try:
        return assemble(ModelSpec(**state["spec"]))
    except Exception as error:  # options of a wrong type meet whatever their layers do with them
        raise UserError(f"the network that {origin} describes cannot be built: {first_line(error)}") from error


def rewrapped(state: dict[str, Any], origin: str, network: nn.Module | None) -> Segmenter:
    """``network`` wrapped as the one whose weights a checkpoint holds."""
    spec, tensors = state["spec"], state["weights"]
    if isinstance(network, Wrapped):
        network = network.backbone.network  # how it was wrapped is in the file
    if network is None:
        raise UserError(
            f"{origin} holds the weights of a network of your own, {shown(spec['network'])}, and not its code; "
            f"give such a network too: {said('network')}=my_module:build, or fcn.load({str(origin)!r}, network=...) in Python"
        )
    if not {"mean", "std"} <= tensors.keys():
        raise UserError(f"{origin} is damaged: it lacks the tensor mean or std")
    mean, std = (tensors[name].double().flatten().tolist() for name in ("mean", "std"))
    words: dict[str, Any] = {key: spec[key] for key in ("output", "divisor", "labels")}
    images = from_plain(spec.get("images"))
    try:
        model = as_model(network, mean=mean, std=std, dtype=images.dtype, classes=state["labels"]["names"], **words)
    except UserError as error:
        raise UserError(f"the network given for {origin}, which is of a {shown(spec['network'])}, does not fit it: {error}") from error
    if not images.is_rgb:
        model.take(images)
    return model


def load(path: str | PathLike[str], *, device: str | torch.device = "cpu", network: nn.Module | None = None) -> Segmenter:
    """The model of a checkpoint, ready to label images.

    >>> model = fcn.load("model.pt")

    path: file that ``fcn.save`` or a training wrote: ``best.pt`` or ``last.pt`` of a run. Or a folder that ``model.save_pretrained``
        wrote, or a model on the Hugging Face hub: "hf://USER/NAME", or "hf://USER/NAME@REVISION". Or "builtin", the network of the package
        for the built-in pictures. Or an ONNX file that ``fcn.export`` wrote: it runs on the CPU, with the strategies "whole" and "windows".
    device: torch's name of the device that the model goes to, as "cuda"; default "cpu".
    network: for a file of a model that ``fcn.wrap`` made: network of the same layers, which takes the weights. No code is in the file.
        For a bare state dict: what ``fcn.wrap`` returns, with its classes.

    Returns the model in evaluation mode, with its classes as ``labels``.

    Raises FileNotFoundError for a missing file, OSError where the hub cannot be reached. Raises UserError for a damaged file or one that is
    no checkpoint, for parts of yours that are not imported, and for a missing device.
    """
    model = read_onnx(path, network=network) if is_onnx(path) else model_from_state(read_checkpoint(path, network), str(path), network)
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={str(device)!r} cannot be used here: {first_line(error)}") from error


def from_pretrained(
    name: str | PathLike[str],
    *,
    revision: str | None = None,
    device: str | torch.device = "cpu",
    network: nn.Module | None = None,
) -> Segmenter:
    """The model of a folder or of a repository on the Hugging Face hub: ``fcn.load`` under the name that other libraries use.

    >>> model = fcn.create_model("fcn8s", backbone="compact", classes=["ground", "road"])
    >>> model.save_pretrained("shared")
    >>> model = fcn.from_pretrained("shared")

    name: folder that ``model.save_pretrained`` wrote, or a repository that ``model.push_to_hub`` wrote, as "USER/NAME".
    revision: branch, tag or commit of the repository; default None: the main branch.
    device: as in ``fcn.load``; default "cpu".
    network: as in ``fcn.load``; default None.

    Returns the model in evaluation mode, with its classes as ``labels``. Raises what ``fcn.load`` raises.
    """
    if Path(name).is_dir():
        if revision is not None:
            raise UserError(f"{name} is a folder, which has no revision={revision!r}; leave it out")
        return load(name, device=device, network=network)
    word = fspath(name) if is_hub(name) else f"hf://{fspath(name)}"
    return load(word if revision is None else f"{word}@{revision}", device=device, network=network)


def save(model: Segmenter, path: str | PathLike[str]) -> None:
    """Write a model that ``fcn.load`` reads again: weights, classes and the words that it was made of.

    >>> fcn.save(model, "model.pt")

    model: network from ``fcn.create_model``, ``fcn.load`` or ``fcn.wrap``, with its classes as ``labels``. Of one from ``fcn.wrap``, the
        file holds the weights and how it was wrapped; ``fcn.load`` is given a network of the same layers.
    path: file to write; it is either the old file or the whole new one.

    Raises UserError for a model without classes (``model.labels``), and for one that neither ``fcn.create_model`` nor ``fcn.wrap`` made;
    OSError where the file cannot be written.
    """
    save_checkpoint(labelled_state(model), Path(path))
