"""The project's own small classifier as a backbone: features of 64, 128 and 256 channels at the strides 2, 4 and 8."""

from torch import Tensor, nn

from fcn.core.registry import register
from fcn.models.backbones.contract import IMAGENET_MEAN, IMAGENET_STD, Backbone, from_graph
from fcn.models.compact import Compact, compact
from fcn.models.pretrained import in_file, load_weights
from fcn.rewrite.dilate import rewrite
from fcn.rewrite.editable import editable


@register("backbone", "compact")
def compact_features(*, weights: str | None, output_stride: int | None, dilate_first: bool | None) -> Backbone:
    """The project's own small classifier: 64, 128 and 256 channels at the strides 2, 4 and 8."""
    network = editable(Features(compact(weights=None if in_file(weights) else weights)))
    if in_file(weights):
        load_weights(network, weights)
    return from_graph(network, rewrite(network, output_stride, dilate_first=bool(dilate_first)), mean=IMAGENET_MEAN, std=IMAGENET_STD)


class Features(nn.Module):
    """The stages, the fourth with the third, whose stride it has."""

    def __init__(self, classifier: Compact) -> None:
        super().__init__()
        self.features = classifier.features

    def forward(self, images: Tensor) -> list[Tensor]:
        first, second, third, fourth = self.features
        shallow = first(images)
        middle = second(shallow)
        return [shallow, middle, fourth(third(middle))]
