"""The architectures of segmentation-models-pytorch, with their own encoders, as a backbone and a decoder.

Their heads end with bilinear interpolation between aligned corners, whose scale depends on the size of the image. Here the scores go from
the decoder's stride to the image as in every other model. What they interpolate inside stays as it is. So does their way to an output
stride: the layer that loses its stride is dilated as well (``dilate_first`` in ``fcn.dilate``).
"""

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import first_line, lookup, said
from fcn.core.registry import register
from fcn.graph.networks import evaluating
from fcn.models.backbones import Backbone
from fcn.models.backbones.encoders import encoder_name, from_hub, load_encoder_weights, normalization, not_downloaded
from fcn.models.decoders.levels import Decoder, Levels, last_step
from fcn.models.layers import PooledBatchNorm
from fcn.models.upsample import Upsampler

REFUSALS = (KeyError, ValueError, RuntimeError, TypeError, AttributeError, AssertionError, IndexError, ImportError)
LARGEST_DIVISOR = 8  # times the encoder's stride; PAN halves its deepest feature three times more


class SMPDecoder(Decoder):
    """An architecture's decoder and its last convolution, then our up-sampler from there."""

    def __init__(self, decoder: nn.Module, head: nn.Module, upsample: Upsampler, num_classes: int, *, stride: int) -> None:
        super().__init__()
        self.decoder, self.head = decoder, head
        for module in decoder.modules():
            if type(module) is nn.BatchNorm2d:  # some stand behind a global pool
                module.__class__ = PooledBatchNorm
        self.last, self.stride = last_step(num_classes, upsample, Levels((num_classes,), (stride,), (None,)), 0)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        return self.last(self.head(self.decoder(features)))


def architectures() -> dict[str, Any]:
    """The architectures that there are, by the names that they have in smp."""
    import segmentation_models_pytorch as smp

    return {architecture.__name__: architecture for architecture in smp.MODEL_ARCHITECTURES_MAPPING.values()}


@register("model", "smp", whole=True)
def smp_parts(
    backbone: str,
    num_classes: int,
    upsample: Upsampler,
    output_stride: int | None = None,
    weights: str | None = None,
    *,
    arch: str = "Unet",
) -> tuple[Backbone, SMPDecoder]:
    """An architecture of segmentation-models-pytorch, with one of its encoders.

    arch: architecture, as Unet, UnetPlusPlus, MAnet, Linknet, FPN, PSPNet, DeepLabV3, DeepLabV3Plus, PAN, UPerNet or Segformer.

    backbone: an encoder of smp, or of timm (with or without smp's "tu-"); output_stride: where the architecture offers one; weights: of
    the encoder: None, "imagenet", or a file. Raises UserError for what smp does not offer, naming what it does.
    """
    table = architectures()
    architecture = lookup(table, arch, said("model.arch"))
    if arch == "DPT":
        raise UserError(
            f"{said('model.arch', 'DPT')} takes a vision transformer whose images have one size, and this toolkit takes any; "
            f"choose one of {', '.join(name for name in table if name != 'DPT')}"
        )
    strided = {} if output_stride is None else {"encoder_output_stride": output_stride}
    if strided and "encoder_output_stride" not in inspect.signature(architecture.__init__).parameters:
        takes = [name for name, other in table.items() if "encoder_output_stride" in inspect.signature(other.__init__).parameters]
        raise UserError(
            f"{said('model.arch', arch)} keeps its encoder's stride; leave out output_stride={output_stride}, or choose {', '.join(takes)}"
        )
    name = encoder_name(backbone, weights)
    try:
        network = architecture(encoder_name=name, encoder_weights=from_hub(name, weights), in_channels=3, classes=num_classes, **strided)
        divisor = smallest_divisor(network)
    except REFUSALS as error:
        raise UserError(
            f"{said('model.arch', arch)} does not take backbone={backbone}{f' at output stride {output_stride}' if strided else ''} "
            f"({first_line(error)}); {fitting(table, name, backbone)}"
        ) from error
    except OSError as error:
        raise not_downloaded(backbone, name, error) from error
    load_encoder_weights(network.encoder, name, weights)
    freeze_idle(network, divisor)
    with evaluating(network):
        features = network.encoder(torch.zeros(1, 3, divisor, divisor))  # the image itself first, as the decoder wants them
    channels = [feature.shape[1] for feature in features]
    strides = [divisor // feature.shape[-1] if feature.shape[1] else 1 for feature in features]
    mean, std = normalization(name, weights)
    encoder = Backbone(network.encoder, channels, strides, divisor=divisor, mean=mean, std=std)
    head = network.segmentation_head[0]
    stride = divisor // scores_size(network, divisor)
    if stride == 1 and any(True for _ in upsample(num_classes, num_classes, 2).parameters()):
        raise UserError(
            f"{said('model.arch', arch)} arrives at the image's size by itself and leaves the up-sampler no work; use upsample=bilinear"
        )
    return encoder, SMPDecoder(network.decoder, head, upsample, num_classes, stride=stride)


def scores_size(network: Any, side: int) -> int:
    """Cells along one side of the scores, before the head interpolates, of an image of ``side`` pixels a side."""
    with evaluating(network):
        return int(network.segmentation_head[0](network.decoder(network.encoder(torch.zeros(1, 3, side, side)))).shape[-1])


def smallest_divisor(network: Any) -> int:
    """What the sides of an image must be multiples of: the encoder's stride, or the least multiple of it that the decoder copes with."""
    side = network.encoder.output_stride
    while True:
        try:
            scores_size(network, side)
        except RuntimeError:
            if side >= LARGEST_DIVISOR * network.encoder.output_stride:
                raise
            side *= 2
        else:
            return int(side)


def freeze_idle(network: Any, side: int) -> None:
    """Take the parameters on which no score depends out of the training: several processes would wait for their gradients."""
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    with evaluating(network), torch.enable_grad():
        scores = network.segmentation_head[0](network.decoder(network.encoder(torch.zeros(1, 3, side, side))))
        gradients = torch.autograd.grad(scores.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def fitting(table: dict[str, Any], encoder: str, backbone: str) -> str:
    """Which architectures take an encoder, in words."""
    fits = []
    for name, architecture in table.items():
        try:
            smallest_divisor(architecture(encoder_name=encoder, encoder_weights=None, classes=2))
        except REFUSALS:
            continue
        fits.append(name)
    return f"with this backbone: {', '.join(fits)}" if fits else f"none takes backbone={backbone}; choose another, as resnet34"
