"""Weights of whole networks: from a checkpoint of ``fcn train``, a state dict, or another library's segmentation network.

What can be taken over:

- the same words (model, backbone, up-sampler): everything; of other classes all but the layers that score them, whose rows are matched by
  the names of the classes,
- a coarser FCN's weights for a finer FCN (Long et al. 2015, section 4.2),
- torchvision's ``fcn``, ``deeplabv3`` and ``lraspp``, for the models of these names and the backbone that they have there,
- a network of segmentation-models-pytorch, for ``model=smp`` of the same architecture and encoder.

Rules of names (``torchvision_name``, ``smp_name``) bring theirs to ours. Of any other network the backbone alone can be taken, as a
classifier's: see ``pretrained.py``.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.images import RGB
from fcn.core.names import said
from fcn.models.matching import class_axes, class_pairs, prefixes, same_classes, top_modules, with_classes_of
from fcn.models.pretrained import fit_state_dict
from fcn.models.spec import is_wrap_spec
from fcn.models.weight_files import as_state_dict, is_checkpoint, read_file

log = logging.getLogger(__name__)

HEADS = {"segmentation_head.": "smp", "classifier.": "torchvision", "decoder.": None}  # what tells whose names a state dict has


@dataclass(frozen=True)
class Weights:
    """The weights of a whole network: tensors by name, and where they are from."""

    tensors: dict[str, Tensor]
    origin: str
    spec: dict[str, Any] | None = None  # the words of the network that they belong to, where they are a checkpoint's
    classes: tuple[str, ...] | None = None  # their names, where they are known
    library: str | None = None  # whose names the tensors have: "torchvision", "smp", None: ours
    path: str | None = None  # of the file

    @property
    def channels(self) -> int:
        """Channels of the images of the network that they belong to."""
        return len(self.tensors["mean"]) if "mean" in self.tensors and self.library is None else RGB.channels


def network_weights(weights: str, model: str, backbone: str) -> Weights:
    """The weights that ``model.weights`` names: "torchvision" (downloaded, verified) or a file: a checkpoint of ``fcn train``, or a state
    dict under our names, torchvision's or smp's. Raises UserError or FileNotFoundError where there is none."""
    if weights == "torchvision":
        tensors, names = torchvision_network(model, backbone)
        return Weights(tensors, f"torchvision's {model}_{backbone}", classes=names, library="torchvision")
    content = read_file(weights)
    if is_checkpoint(content):
        if is_wrap_spec(content["spec"]):
            raise UserError(
                f"{weights} holds the weights of a network of a user's own; they fit no model=, only fcn.load(PATH, network=...)"
            )
        return Weights(content["weights"], weights, spec=content["spec"], classes=tuple(content["labels"]["names"]), path=weights)
    tensors, library = of_the_network(as_state_dict(content, weights), weights)
    return Weights(tensors, weights, library=library, path=weights)


def of_the_network(state: dict[str, Tensor], path: str) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of the segmentation network in a state dict, which may stand beside others (a loss, a program's own mean), and the
    library whose names they have."""
    found = {prefix for name in state for prefix in prefixes(name) if name.removeprefix(prefix).startswith(tuple(HEADS))}
    prefix = min(sorted(found), key=len, default="")
    inside = {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}
    if prefix:
        left = top_modules([name for name in state if not name.startswith(prefix)], "")
        log.info("%s: the network under '%s' is read%s", path, prefix, f"; left out: {', '.join(left)}" if left else "")
    libraries = [library for begin, library in HEADS.items() if any(name.startswith(begin) for name in inside)]
    return inside, libraries[0] if libraries else None


def torchvision_network(model: str, backbone: str) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The published state dict of torchvision's segmentation network of these words, and the names of its classes."""
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models.segmentation)
    if f"{model}_{backbone}" not in names:
        pairs = [f"model={name.partition('_')[0]} backbone={name.partition('_')[2]}" for name in names]
        raise UserError(f"torchvision has no weights for model={model} backbone={backbone}; it has {', '.join(pairs)}")
    try:
        weights: Any = torchvision.models.get_model_weights(f"{model}_{backbone}").DEFAULT
        return dict(weights.get_state_dict(progress=True, check_hash=True)), tuple(weights.meta["categories"])
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
    tensors = in_our_names(weights, spec["model"], own)
    origin = weights.origin
    if not any(name.startswith("auxiliary.") for name in own):
        extra = [name for name in tensors if name.startswith("auxiliary.")]
        for name in extra:
            del tensors[name]
        if extra:
            log.info("the auxiliary head in %s is left out; %s takes it", origin, said("model.aux", True))
    if weights.spec is not None:
        origin = f"{origin} ({', '.join(f'{part}={weights.spec[part]}' for part in ('model', 'backbone', 'upsample'))})"
    try:
        if weights.spec is not None and weights.spec["model"] != spec["model"]:
            tensors = staged(tensors, own, weights.spec["model"], spec["model"], origin)
        if other_classes(weights, tensors, own, spec, classes):
            tensors = reclassed(tensors, own, class_axes(own, other().state_dict()), weights.classes, classes, origin)
        elif weights.classes is None and classes is not None:
            log.info("%s does not name its classes; they are taken to be %s, in this order", origin, ", ".join(classes))
        fit_state_dict(network, tensors, origin)
    except UserError as error:
        fits = all(name in tensors and tensors[name].shape == own[name].shape for name in own if name.startswith("backbone."))
        if weights.path is None or not fits:
            raise
        raise UserError(f"{error}; to start from its backbone alone, write {said('backbone.weights', weights.path)}") from error
    taken = sum(tensors[name] is not value for name, value in own.items())
    log.info("%s: %d of %d tensors of the network", origin, taken, len(own))


def in_our_names(weights: Weights, model: str, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under our names. Mean and deviation, which another library's files lack, are those of ``own``."""
    if weights.library is None:
        return dict(weights.tensors)
    if weights.library == "torchvision":
        tensors = {torchvision_name(name, model): tensor for name, tensor in weights.tensors.items()}
    elif model == "smp":
        tensors = {smp_name(name): tensor for name, tensor in weights.tensors.items() if not name.startswith("classification_head.")}
    else:
        raise UserError(
            f"the weights in {weights.origin} are of a network of segmentation-models-pytorch; they fit model=smp with the same "
            f"{said('model.arch')} and backbone; to start from its encoder alone, write {said('backbone.weights', weights.path)}"
        )
    return tensors | {name: own[name] for name in ("mean", "std")}


def smp_name(name: str) -> str:
    """A tensor's name in a network of segmentation-models-pytorch, in ours."""
    for theirs, ours in (("encoder.", "backbone.network."), ("decoder.", "decoder.decoder."), ("segmentation_head.0.", "decoder.head.")):
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


def torchvision_name(name: str, model: str) -> str:
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
    if weights.classes is None:  # whose number is not told: seen by the shapes
        return any(name in own and own[name].shape != tensor.shape for name, tensor in tensors.items())
    return len(weights.classes) != spec["num_classes"] or (classes is not None and not same_classes(classes, weights.classes))


def reclassed(
    tensors: dict[str, Tensor],
    own: Mapping[str, Tensor],
    axes: Mapping[str, Sequence[int]],
    theirs: Sequence[str] | None,
    ours: Sequence[str] | None,
    origin: str,
) -> dict[str, Tensor]:
    """``tensors`` with the layers that count classes (along ``axes``) as in ``own``, but for the classes that both have by name."""
    pairs = class_pairs(ours, theirs) if ours and theirs else []
    scoring = [name for name in axes if name in tensors and tensors[name] is not own[name]]
    result = dict(tensors)
    for name in scoring:
        counts = (len(ours), len(theirs)) if ours and theirs else (1, 1)
        result[name] = with_classes_of(own[name], tensors[name], axes[name], counts, pairs)
    if pairs and ours and theirs:
        kept, known = {pair[0] for pair in pairs}, {pair[1] for pair in pairs}
        new = [name for index, name in enumerate(ours) if index not in kept]
        left = [name for index, name in enumerate(theirs) if index not in known]
        log.info(
            "%s: %d of %d classes keep their weights, by name; new: %s; left out: %s",
            origin,
            len(pairs),
            len(ours),
            ", ".join(new) or "none",
            ", ".join(left) or "none",
        )
    else:
        why = "no class has the same name" if ours and theirs else "the names of the classes are not known on both sides"
        log.info("%s: the layers that score classes start anew (%s): %s", origin, why, ", ".join(scoring) or "none")
    return result
