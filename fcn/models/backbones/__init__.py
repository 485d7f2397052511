"""Backbones: classifiers as lists of feature maps, shallow to deep.

A backbone is a module with

- ``forward(images) -> list[Tensor]``: images (N, 3, H, W), normalised, H and W multiples of ``divisor``; feature ``i`` is
  (N, channels[i], ceil(H / strides[i]), ceil(W / strides[i])),
- ``channels`` and ``strides``: tuples of one number per feature. Strides never fall. With an ``output_stride``, the stages that lost theirs
  have features of the same one (ResNet-50 at 8: strides 2, 4, 8, 8, 8),
- ``divisor``: 1 where the layers cope with any size, else what the sides must be multiples of,
- ``mean`` and ``std``: what images in 0..1 are normalised with, per channel,
- ``offsets``: for each feature the pixel on which the field of its first cell is centred.

Torchvision's classifiers and the project's own ``compact`` are read as graphs and cut where they down-sample. Every other name is looked
for among the encoders of segmentation-models-pytorch and timm. A backbone of a user's own is any module that gives a list of features
(``measured``).
"""

from typing import Annotated, Any, Literal

from torch import nn

from fcn.core.errors import UserError
from fcn.core.names import a_type, suggest
from fcn.core.registry import Part, bound, find, is_part, list_parts
from fcn.core.settings import at_least, check_options
from fcn.models.backbones.contract import Backbone
from fcn.models.backbones.encoders import encoder_name
from fcn.models.backbones.freezing import freeze as freeze_layers
from fcn.models.backbones.measured import measured

__all__ = ["Backbone", "backbone_part", "create_backbone"]


def create_backbone(
    name: str,
    *,
    weights: str | None = None,
    output_stride: Annotated[int, at_least(1)] | None = None,
    dilate_first: bool | None = None,
    freeze: Annotated[int, at_least(1)] | Literal[True, False] = False,
    freeze_norm: bool = False,
    **options: Any,
) -> Backbone:
    """The backbone of that name: one that is registered, else an encoder of smp or timm.

    ``torchvision/NAME`` and ``timm/NAME`` are of that library.

    weights: weights of the backbone: null (random), imagenet (downloaded, or from a package), or the file of the classifier's state dict.
    output_stride: stride of the deepest feature (pixels per cell), by dilation; null: the network's own.
    dilate_first: also dilate the convolution that loses its stride; null: no, or as the model's weights need it.
    freeze: layers that keep their weights in training; true: all, N: those of the first N features.
    freeze_norm: keep weights and statistics of every batch norm in training, as for batches of few images.

    Raises UserError for unknown names and options, and for what cannot be dilated.
    """
    part = backbone_part(name)
    common: dict[str, Any] = {"weights": weights, "output_stride": output_stride, "dilate_first": dilate_first}
    check_options(part.settings, common | options | {"freeze": freeze, "freeze_norm": freeze_norm}, ("backbone", name))
    if dilate_first and output_stride is None:
        raise UserError("dilate_first=true needs strides that become dilation; give output_stride=8 or 16 with it")
    try:
        built = bound(part)(**{key: value for key, value in common.items() if key in part.own}, **options)
        if not isinstance(built, nn.Module):
            raise UserError(f"backbone={name} gave {a_type(built)}; a backbone is a module whose forward gives a list of features")
        if not isinstance(built, Backbone):
            built = measured(built, name, **{key: value for key, value in common.items() if key not in part.own})
    except UserError as error:
        if str(error).startswith("the weights in ") and is_part("backbone", name) and in_timm(name):
            raise UserError(f"{error}; timm's network of that name is backbone=tu-{name}") from error
        if output_stride is None or str(error).startswith(("backbone=", "the weights", "the imagenet weights")):
            raise
        raise UserError(f"backbone={name} with output_stride={output_stride}: {error}") from error
    if freeze or freeze_norm:
        freeze_layers(built, freeze, norm=freeze_norm)
    return built


def in_timm(name: str) -> bool:
    import timm

    return bool(timm.is_model(name))


def backbone_part(name: str) -> Part:
    """The part that builds the backbone of that name. Raises UserError, with the close names, if nobody has it."""
    here = name.removeprefix("torchvision/")
    if here != name and not is_part("backbone", here):
        raise UserError(f"backbone={name} is not known; {suggest(here, list_parts('backbone'))}")
    part = find("backbone", here)
    if not is_part("backbone", here):
        encoder_name(here, None)
    return part
