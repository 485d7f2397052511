"""Pretrained weights: where they come from, and what is said when they do not come or do not fit.

A backbone's are those of a classifier (``matching.py``). A whole network's (``Weights``) come from a checkpoint of ``fcn train``, a state
dict under our names, or torchvision's segmentation networks. A rule (``renamed``) brings torchvision's names to ours.

Downloads go through torchvision, smp or timm, which verify what they fetch and keep it in their caches. A file is a state dict, as
``torch.save(model.state_dict())`` or safetensors writes it, or what holds one (``weight_files.py``).
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.images import RGB
from fcn.core.names import said
from fcn.models.matching import class_axes, match_backbone, top_modules, with_classes_of
from fcn.models.spec import is_wrap_spec
from fcn.models.weight_files import as_state_dict, is_checkpoint, read_file, read_tensors

log = logging.getLogger(__name__)


def in_file(weights: str | None) -> TypeGuard[str]:
    """Whether ``weights`` names a file, and not a random start (None) or what is downloaded."""
    return weights not in (None, "imagenet")


def torchvision_classifier(name: str, weights: str | None) -> Any:
    """The classifier of that name from torchvision: with its default weights ("imagenet"), else with a random start."""
    import torchvision

    # init_weights=False would save time where a constructor offers it, but the random start is the published one
    random: dict[str, Any] = {"init_weights": True} if name in ("googlenet", "inception_v3") else {}  # which warn without it
    if weights != "imagenet":
        return torchvision.models.get_model(name, weights=None, **random)
    try:
        return torchvision.models.get_model(name, weights="DEFAULT", **({"transform_input": False} if random else {}))
    except OSError as error:  # URLError is one
        raise UserError(
            f"the imagenet weights of {name} could not be downloaded ({error}); "
            f"without a network give a file ({said('backbone.weights')}=PATH), or leave weights out and start from random ones"
        ) from error


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


# --- whole networks ---


@dataclass(frozen=True)
class Weights:
    """The weights of a whole network: tensors by name, and where they are from."""

    tensors: dict[str, Tensor]
    origin: str
    spec: dict[str, Any] | None = None  # the words of the network that they belong to, where they are a checkpoint's
    classes: tuple[str, ...] | None = None  # their names, where they are a checkpoint's
    torchvision: bool = False  # under torchvision's names

    @property
    def channels(self) -> int:
        """Channels of the images of the network that they belong to."""
        return len(self.tensors["mean"]) if "mean" in self.tensors and not self.torchvision else RGB.channels


def network_weights(weights: str, model: str, backbone: str) -> Weights:
    """The weights that ``model.weights`` names: "torchvision" (downloaded, verified) or a file: a checkpoint of ``fcn train``, or a state
    dict under our names or torchvision's. Raises UserError or FileNotFoundError where there is none."""
    if weights == "torchvision":
        return Weights(torchvision_network(model, backbone), f"torchvision's {model}_{backbone}", torchvision=True)
    content = read_file(weights)
    if is_checkpoint(content):
        if is_wrap_spec(content["spec"]):
            raise UserError(
                f"{weights} holds the weights of a network of a user's own; they fit no model=, only fcn.load(PATH, network=...)"
            )
        return Weights(content["weights"], weights, spec=content["spec"], classes=tuple(content["labels"]["names"]))
    tensors = as_state_dict(content, weights)
    return Weights(tensors, weights, torchvision=any(name.startswith("classifier.") for name in tensors))


def torchvision_network(model: str, backbone: str) -> dict[str, Tensor]:
    """The published state dict of torchvision's segmentation network of these words."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    if f"{model}_{backbone}" not in names:
        pairs = [f"model={name.partition('_')[0]} backbone={name.partition('_')[2]}" for name in names]
        raise UserError(f"torchvision has no weights for model={model} backbone={backbone}; it has {', '.join(pairs)}")
    try:
        return dict(torchvision.models.get_model_weights(f"{model}_{backbone}").DEFAULT.get_state_dict(progress=True, check_hash=True))
    except OSError as error:
        raise UserError(
            f"torchvision's weights of {model}_{backbone} could not be downloaded ({error}); "
            f"without a network give a file ({said('model.weights')}=PATH)"
        ) from error


def torchvision_settings(model: str, backbone: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """How torchvision's segmentation networks were trained, in our words: the output stride, the options of the model and those of the
    backbone. Their last step interpolates to the size of the image, and so does the one inside LR-ASPP."""
    options: dict[str, Any] = {"resize": "size"}
    if backbone.startswith("mobilenet"):
        return 16, options | {"aux_level": -3}, {"dilate_first": True, "taps": "first"}
    return 8, options, {}


def load_network(
    network: nn.Module,
    weights: Weights,
    spec: dict[str, Any],
    classes: Sequence[str] | None,
    other: Callable[[], nn.Module],
) -> None:
    """Load a whole network's weights into ``network``, whose words are ``spec``, and log what was taken.

    classes: the names of its classes, where they are known. other: builds the same network with another number of classes.

    The weights must fit in every name and shape, with three exceptions. An auxiliary head that ``network`` does not have is left out. An
    FCN takes over a coarser one's (Long et al. 2015, section 4.2): all but its last up-sampling, the scores of the finer skips left at
    zero. And layers that score classes take over those classes that both networks have by name (``reclassed``).
    Raises UserError, naming what does not fit.
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
            log.info("the auxiliary head in %s is left out; %s takes it", origin, said("model.aux", True))
    if weights.spec is not None:
        origin = f"{origin} ({', '.join(f'{part}={weights.spec[part]}' for part in ('model', 'backbone', 'upsample'))})"
        if weights.spec["model"] != spec["model"]:
            tensors = staged(tensors, own, weights.spec["model"], spec["model"], origin)
    if other_classes(weights, tensors, own, spec, classes):
        tensors = reclassed(tensors, own, class_axes(own, other().state_dict()), weights.classes, classes, origin)
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
        raise UserError(f"the weights in {origin} are not for model={model}; it takes its own, or an FCN those of a coarser one")
    new = {name: value for name, value in own.items() if name.startswith("decoder.last.")}
    new |= {name: value for name, value in own.items() if name.startswith(("decoder.scores.", "decoder.ups.")) and name not in tensors}
    kept = {name: value for name, value in tensors.items() if not name.startswith("decoder.last.")}
    log.info("%d tensors from %s; new: %s", len(kept), origin, ", ".join(new) or "none")
    return kept | new


def other_classes(
    weights: Weights, tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], spec: dict[str, Any], classes: Sequence[str] | None
) -> bool:
    """Whether weights are for other classes than those of ``spec``: another number, other names, or another order."""
    if weights.spec is None:  # whose number is not told: seen by the shapes
        return any(name in own and own[name].shape != tensor.shape for name, tensor in tensors.items())
    return weights.spec["num_classes"] != spec["num_classes"] or (classes is not None and weights.classes != tuple(classes))


def reclassed(
    tensors: dict[str, Tensor],
    own: Mapping[str, Tensor],
    axes: Mapping[str, Sequence[int]],
    theirs: Sequence[str] | None,
    ours: Sequence[str] | None,
    origin: str,
) -> dict[str, Tensor]:
    """``tensors`` with the layers that count classes (along ``axes``) as in ``own``, but for the classes that both have by name."""
    pairs = [(ours.index(name), theirs.index(name)) for name in ours if name in theirs] if ours and theirs else []
    scoring = [name for name in axes if name in tensors and tensors[name] is not own[name]]
    result = dict(tensors)
    for name in scoring:
        counts = (len(ours), len(theirs)) if ours and theirs else (1, 1)
        result[name] = with_classes_of(own[name], tensors[name], axes[name], counts, pairs)
    if pairs and ours and theirs:
        new = [name for name in ours if name not in theirs]
        log.info("%s: %d of %d classes keep their weights, by name; new: %s", origin, len(pairs), len(ours), ", ".join(new) or "none")
    else:
        why = "no class has the same name" if ours and theirs else "the names of the classes are not known on both sides"
        log.info("%s: the layers that score classes start anew (%s): %s", origin, why, ", ".join(scoring) or "none")
    return result
