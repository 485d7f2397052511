"""Pretrained weights: where they come from, and what is said when they do not come or do not fit.

A backbone's are those of a classifier (``matching.py``), a whole network's stand in ``network_weights.py``.

Downloads go through torchvision, smp or timm, which verify what they fetch and keep it in their caches. A file is a state dict, as
``torch.save(model.state_dict())`` or safetensors writes it, or what holds one (``weight_files.py``).
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.models.matching import match_backbone, top_modules
from fcn.models.weight_files import read_tensors

log = logging.getLogger(__name__)

IN_HALVES = ("googlenet", "inception_v3")  # trained in -1..1, into which torchvision brings the usual normalisation inside of them


def in_file(weights: str | None) -> TypeGuard[str]:
    """Whether ``weights`` names a file, and not a random start (None) or what is downloaded."""
    return weights not in (None, "imagenet")


def torchvision_classifier(name: str, weights: str | None) -> Any:
    """The classifier of that name from torchvision: with its default weights ("imagenet"), else with a random start."""
    import torchvision

    if weights != "imagenet":
        # init_weights=False would save time where a constructor offers it, but the random start is the published one
        random: dict[str, Any] = {"init_weights": True} if name in IN_HALVES else {}  # which warn without it
        return torchvision.models.get_model(name, weights=None, **random)
    try:
        return published_by_torchvision(name)
    except OSError as error:  # URLError is one
        raise UserError(
            f"the imagenet weights of {name} could not be downloaded ({error}); "
            f"without a network give a file ({said('backbone.weights')}=PATH), or leave weights out and start from random ones"
        ) from error


def published_by_torchvision(name: str) -> Any:
    """The classifier of that name with torchvision's default weights. Raises OSError where they cannot be downloaded."""
    import torchvision

    return torchvision.models.get_model(name, weights="DEFAULT", **({"transform_input": False} if name in IN_HALVES else {}))


def load_weights(network: nn.Module, path: str | Path, *, head: tuple[str, ...] = (), whole: Callable[[], nn.Module] | None = None) -> None:
    """Load a classifier's state dict, or a checkpoint's backbone, from a file; see ``fit_backbone``."""
    fit_backbone(network, read_tensors(path), path, head=head, whole=whole)


def fit_backbone(
    network: nn.Module,
    state: Mapping[str, Tensor],
    path: str | Path,
    *,
    head: tuple[str, ...] = (),
    whole: Callable[[], nn.Module] | None = None,
) -> None:
    """Load a classifier's tensors into the backbone ``network``, and log what was taken from the file ``path``.

    Every tensor must be found, with its shape, but those whose names begin with one of ``head``, which the network does not use. Of the
    file only the last layers of the classifier may be left over. whole: builds that classifier; blocks of it that the backbone lacks
    count as last layers. Raises UserError naming what does not fit.
    """
    unused = {name: value for name, value in network.state_dict().items() if head and name.startswith(head)}
    own = {name: value for name, value in network.state_dict().items() if name not in unused}
    surplus = {name for name in state if head and name.startswith(head)}
    try:
        match = match_backbone(own, {name: value for name, value in state.items() if name not in surplus})
    except UserError as error:
        raise UserError(f"the weights in {path} cannot be told apart: {error}") from error
    foreign = match.foreign
    if foreign and not match.missing and whole is not None:
        shapes = {name: tensor.shape for name, tensor in whole().state_dict().items()}
        foreign = [name for name in foreign if shapes.get(name.removeprefix(match.prefix)) != state[name].shape]
    problems = misfits(own, match.tensors, missing=match.missing, surplus=foreign)
    if problems:
        raise UserError(
            f"the weights in {path} belong to another network: {'; '.join(problems)}; give the state dict of the classifier of this name"
        )
    network.load_state_dict(match.tensors | unused)
    left = top_modules([*match.left, *match.foreign, *surplus], match.prefix)
    log.info(
        "%s: %d tensors for the backbone%s%s",
        path,
        len(match.tensors),
        f", under '{match.prefix}'" if match.prefix else "",
        f"; left out: {', '.join(left)}" if left else "",
    )


def fit_state_dict(network: nn.Module, state: Mapping[str, Tensor], origin: str) -> None:
    """Load ``state`` into ``network`` if names, shapes and types agree; else UserError naming what does not, ``network`` untouched."""
    own = network.state_dict()
    problems = misfits(own, state, missing=[name for name in own if name not in state], surplus=[name for name in state if name not in own])
    if problems:
        raise UserError(f"the weights in {origin} belong to another network: {'; '.join(problems)}")
    network.load_state_dict(state)


def misfits(own: Mapping[str, Tensor], state: Mapping[str, Tensor], *, missing: list[str], surplus: list[str]) -> list[str]:
    """What keeps ``state`` from being loaded into a network whose tensors are ``own``, in words, some names of each kind."""
    both = [(name, own[name], state[name]) for name in own if name in state]
    shapes = [f"{name} is {tuple(b.shape)} there and {tuple(a.shape)} here" for name, a, b in both if a.shape != b.shape]
    kinds = [f"{name} holds {b.dtype} where {a.dtype} is expected" for name, a, b in both if not castable(a, b)]
    broken = [] if shapes or kinds else [name for name, a, b in both if a.is_floating_point() and finite(a) and not finite(b)]
    problems = []
    if missing:
        problems.append(f"it lacks {len(missing)} of {len(own)} tensors ({some(missing, ', ')})")
    if surplus:
        problems.append(f"it has {len(surplus)} that this network lacks ({some(surplus, ', ')})")
    if shapes:
        problems.append(f"{len(shapes)} differ in shape ({some(shapes, '; ')})")
    if kinds:
        problems.append(f"{len(kinds)} differ in type ({some(kinds, '; ')})")
    if broken and not problems:
        problems.append(f"{len(broken)} hold nan or infinity ({some(broken, ', ')})")
    return problems


def some(words: list[str], separator: str) -> str:
    return separator.join([*words[:3], *["..."] * (len(words) > 3)])


def castable(own: Tensor, given: Tensor) -> bool:
    """Whether a tensor's values mean the same in the type of ``own``: floats of 16 bits and more for floats, integers for integers."""
    if given.layout != torch.strided or given.is_quantized:
        return False
    if own.is_floating_point():
        return given.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
    return not given.is_floating_point() and not given.is_complex()


def finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
