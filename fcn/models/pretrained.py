"""Pretrained weights: where they come from, and what is said when they do not come or do not fit.

A backbone's are those of a classifier. A whole network's (``Weights``) come from a checkpoint of ``fcn train``, from a state dict under our
names, or from torchvision's segmentation networks, whose names are brought to ours by a rule (``renamed``).

Downloads go through torchvision, smp or timm, which verify what they fetch and keep it in their caches. A file is a state dict, as
``torch.save(model.state_dict())`` or safetensors writes it; it is read as tensors only (``weights_only=True``).
"""

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)


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


def read_file(path: str | Path) -> Any:
    """What a ``.pt`` / ``.pth`` or ``.safetensors`` file holds. Raises FileNotFoundError, or ValueError if it cannot be read."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path} to load weights from; give the path of a state dict, or null")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises what it likes
        raise ValueError(
            f"{path} cannot be read as a state dict ({type(error).__name__}); save one with torch.save(model.state_dict(), path)"
        ) from error


def as_state_dict(content: Any, path: str | Path) -> dict[str, Tensor]:
    """``content`` if it is tensors by name; else ValueError."""
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(f"{path} holds no state dict (tensors by name); save one with torch.save(model.state_dict(), path)")
    return content


def load_weights(network: nn.Module, path: str | Path) -> None:
    """Load a state dict into ``network``; ValueError naming what does not fit: missing and surplus names, and shapes that differ."""
    fit_state_dict(network, as_state_dict(read_file(path), path), str(path))


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


# --- whole networks ---


@dataclass(frozen=True)
class Weights:
    """The weights of a whole network: tensors by name, and where they are from."""

    tensors: dict[str, Tensor]
    origin: str
    spec: dict[str, Any] | None = None  # the words of the network that they belong to, where they are a checkpoint's
    torchvision: bool = False  # under torchvision's names


def network_weights(weights: str, model: str, backbone: str) -> Weights:
    """The weights that ``model.weights`` names: "torchvision" (downloaded, verified) or a file: a checkpoint of ``fcn train``, or a state
    dict under our names or torchvision's. Raises ValueError or FileNotFoundError where there is none."""
    if weights == "torchvision":
        return Weights(torchvision_network(model, backbone), f"torchvision's {model}_{backbone}", torchvision=True)
    content = read_file(weights)
    if isinstance(content, dict) and {"spec", "weights"} <= set(content):
        return Weights(content["weights"], weights, spec=content["spec"])
    tensors = as_state_dict(content, weights)
    return Weights(tensors, weights, torchvision=any(name.startswith("classifier.") for name in tensors))


def torchvision_network(model: str, backbone: str) -> dict[str, Tensor]:
    """The published state dict of torchvision's segmentation network of these words."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    if f"{model}_{backbone}" not in names:
        pairs = [f"model={name.partition('_')[0]} backbone={name.partition('_')[2]}" for name in names]
        raise ValueError(f"torchvision has no weights for model={model} backbone={backbone}; it has {', '.join(pairs)}")
    try:
        return dict(torchvision.models.get_model_weights(f"{model}_{backbone}").DEFAULT.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise ValueError(
            f"torchvision's weights of {model}_{backbone} could not be downloaded ({error}); "
            f"without a network give a file (model.weights=PATH)"
        ) from error


def torchvision_settings(model: str, backbone: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """How torchvision's segmentation networks were trained, in our words: the output stride, the options of the model and those of the
    backbone. Their last step interpolates to the size of the image, and so does the one inside LR-ASPP."""
    options: dict[str, Any] = {"resize": "size"}
    if backbone.startswith("mobilenet"):
        return 16, options | {"aux_level": -3}, {"dilate_first": True, "taps": "first"}
    return 8, options, {}


def load_network(network: nn.Module, weights: Weights, spec: dict[str, Any]) -> None:
    """Load a whole network's weights into ``network``, whose words are ``spec``, and log what was taken.

    They must fit in every name and shape, with two exceptions: an auxiliary head that ``network`` does not have is left out, and an FCN
    takes over a coarser one's (Long et al. 2015, section 4.2): all but its last up-sampling, the scores of the finer skips left at zero.
    Raises ValueError, naming what does not fit.
    """
    own = network.state_dict()
    tensors = dict(weights.tensors)
    origin = weights.origin
    if weights.torchvision:
        tensors = {renamed(name, spec["model"]): tensor for name, tensor in tensors.items()} | {name: own[name] for name in ("mean", "std")}
    if not any(name.startswith("auxiliary.") for name in own):
        extra = [name for name in tensors if name.startswith("auxiliary.")]
        for name in extra:
            del tensors[name]
        if extra:
            log.info("the auxiliary head in %s is left out; model.aux=true takes it", origin)
    if weights.spec is not None:
        origin = f"{origin} ({', '.join(f'{part}={weights.spec[part]}' for part in ('model', 'backbone', 'upsample'))})"
        if weights.spec["model"] != spec["model"]:
            tensors = staged(tensors, own, weights.spec["model"], spec["model"], origin)
    fit_state_dict(network, tensors, origin)


def renamed(name: str, model: str) -> str:
    """A tensor's name in torchvision's segmentation network, in ours. The layers keep their names; what holds them has another one."""
    part, _, rest = name.partition(".")
    if part == "backbone":  # a chain of features has lost that word there
        return f"backbone.network.features.{rest}" if rest[0].isdigit() else f"backbone.network.{rest}"
    heads = {"classifier": "decoder" if model == "lraspp" else "decoder.classifier", "aux_classifier": "auxiliary"}
    return f"{heads.get(part, part)}.{rest}"


def staged(tensors: dict[str, Tensor], own: dict[str, Tensor], coarser: str, model: str, origin: str) -> dict[str, Tensor]:
    """The weights of a coarser FCN with what it lacks taken from ``own``: a finer one's at its start."""
    strides = [re.fullmatch(r"fcn(\d+)s", name) for name in (coarser, model)]
    if not (strides[0] and strides[1] and int(strides[0][1]) > int(strides[1][1])):
        raise ValueError(f"the weights in {origin} are not for model={model}; it takes its own, or an FCN those of a coarser one")
    new = {name: value for name, value in own.items() if name.startswith("decoder.last.")}
    new |= {name: value for name, value in own.items() if name.startswith(("decoder.scores.", "decoder.ups.")) and name not in tensors}
    kept = {name: value for name, value in tensors.items() if not name.startswith("decoder.last.")}
    log.info("%d tensors from %s; new: %s", len(kept), origin, ", ".join(new) or "none")
    return kept | new
