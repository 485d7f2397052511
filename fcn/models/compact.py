"""Compact: a classifier of 0.29 M parameters for small pictures, in which every kind of convolution has its place.

It answers a well-known course assignment on 32x32 pictures of ten classes: fewer than a million parameters, a receptive field of more than
44 pixels. It has a depthwise separable and a dilated convolution, global average pooling, and only one fully connected layer, the last. Its
features make a small backbone.

    stage  cells in  layers                                                     channels  field  stride
    1      32        3x3; 3x3, stride 2                                         32, 64        5       2
    2      16        3x3, separable; 3x3, separable, stride 2                   64, 128      13       4
    3       8        3x3, dilated by 2; 3x3, separable, stride 2                128, 256     37       8
    4       4        3x3, separable, dilated by 2                               256          69       8
    head    4        global average pooling, linear                             classes     all

Strided convolutions take the place of pools (Springenberg et al. 2015, arXiv:1412.6806); depthwise separable ones cost about a ninth
(Howard et al. 2017, arXiv:1704.04861). ``fcn inspect classifier=compact`` prints it layer by layer.
"""

from torch import Tensor, nn

from fcn.core.errors import UserError
from fcn.core.names import said
from fcn.models.pretrained import fit_backbone
from fcn.models.weight_files import read_tensors


def conv_block(in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution that keeps the size but for its stride, batch norm, ReLU."""
    conv = nn.Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU())


def separable_block(in_channels: int, out_channels: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """The same with ``9 C_in + C_in C_out`` weights instead of ``9 C_in C_out``: 3x3 per channel, then 1x1 across channels."""
    depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, dilation, dilation, groups=in_channels, bias=False)
    pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(depthwise, nn.BatchNorm2d(in_channels), pointwise, nn.BatchNorm2d(out_channels), nn.ReLU())


class Compact(nn.Module):
    """``forward(images)``: (N, 3, H, W), of any size, to logits (N, num_classes); see the head of this file.

    ``features`` holds the four stages, of ``channels`` channels each.
    """

    channels = (64, 128, 256, 256)

    def __init__(self, num_classes: int = 10) -> None:
        super().__init__()
        first, second, third, fourth = self.channels
        self.features = nn.Sequential(
            nn.Sequential(conv_block(3, 32), conv_block(32, first, stride=2)),
            nn.Sequential(separable_block(first, first), separable_block(first, second, stride=2)),
            nn.Sequential(conv_block(second, second, dilation=2), separable_block(second, third, stride=2)),
            separable_block(third, fourth, dilation=2),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(fourth, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))


def compact(*, num_classes: int = 10, weights: str | None = None) -> Compact:
    """The classifier with a random start, or with the weights in a file, which then says how many classes it tells apart.

    Raises UserError for "imagenet", for which no weights were published, and for a file of another network.
    """
    if weights is None:
        return Compact(num_classes)
    if weights == "imagenet":
        raise UserError(
            f"nobody has published imagenet weights of compact; give a file ({said('backbone.weights')}=PATH), or leave weights out"
        )
    state = read_tensors(weights)
    last = state.get("classifier.weight")
    network = Compact(num_classes if last is None or last.ndim != 2 else last.shape[0])
    fit_backbone(network, state, weights)
    return network
