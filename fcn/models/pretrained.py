"""Pretrained weights: where they come from, and what is said when they do not come or do not fit.

Downloads go through torchvision, smp or timm, which verify what they fetch and keep it in their caches. A file is a state dict, as
``torch.save(model.state_dict())`` or safetensors writes it; it is read as tensors only (``weights_only=True``).
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def torchvision_classifier(name: str, weights: str | None) -> Any:
    """The classifier of that name from torchvision: random (None), "imagenet" (its default weights) or from the file ``weights``."""
    import torchvision

    # init_weights=False would save time where a constructor offers it, but the random start is the published one
    random: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # which warn without it
    if weights is None:
        return torchvision.models.get_model(name, weights=None, **random)
    if weights != "imagenet":
        network = torchvision.models.get_model(name, weights=None, **random)
        load_weights(network, weights)
        return network
    try:
        return torchvision.models.get_model(name, weights="DEFAULT", **({"transform_input": False} if random else {}))
    except OSError as error:  # URLError is one
        raise ValueError(
            f"the imagenet weights of {name} could not be downloaded ({error}); "
            f"without a network give a file (backbone.weights=PATH) or start from random weights (backbone.weights=null)"
        ) from error


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a ``.pt`` / ``.pth`` or ``.safetensors`` file by name. Raises FileNotFoundError, or ValueError if it holds none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to load weights from; allowed are 'imagenet', null and the path of a state dict")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises what it likes
        raise ValueError(
            f"{path} cannot be read as a state dict ({type(error).__name__}); save one with torch.save(model.state_dict(), path)"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ValueError(f"{path} holds no state dict (tensors by name); save one with torch.save(model.state_dict(), path)")
    return state


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a state dict into ``network``; ValueError naming what does not fit: missing and surplus names, and shapes that differ."""
    fit_state_dict(network, read_state_dict(path), str(path))


def fit_state_dict(network: nn.Module, state: dict[str, Tensor], origin: str) -> None:
    """Load ``state`` into ``network`` if names and shapes agree; else ValueError naming the first that do not, ``network`` untouched."""
    own = network.state_dict()
    missing = [name for name in own if name not in state]
    surplus = [name for name in state if name not in own]
    shapes = [
        f"{name} is {tuple(state[name].shape)} there and {tuple(own[name].shape)} here"
        for name in own
        if name in state and state[name].shape != own[name].shape
    ]
    problems = []
    if missing:
        problems.append(f"it lacks {len(missing)} of {len(own)} tensors ({', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''})")
    if surplus:
        problems.append(f"it has {len(surplus)} that are not ours ({', '.join(surplus[:3])}{', ...' if len(surplus) > 3 else ''})")
    if shapes:
        problems.append(f"{len(shapes)} differ in shape ({'; '.join(shapes[:3])}{'; ...' if len(shapes) > 3 else ''})")
    if problems:
        raise ValueError(f"the weights in {origin} belong to another network: {'; '.join(problems)}")
    network.load_state_dict(state)
