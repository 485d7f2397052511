"""Torchvision's classifiers as backbones: their graph, cut where it down-samples.

Each feature is the last tensor at its stride through which all that follows must pass. It stands before the block that strides: the output
of a residual layer, of a dense block, of an inverted residual. The deepest is the last map before the classes. VGG's features are those
after its pools. It keeps its classifier, as convolutions (fc6: 7x7, fc7: 1x1; padded, so that the stride's grid stays whole). The deepest
feature has 4096 channels, as in the paper (Long et al. 2015, section 4.1, arXiv:1411.4038).
"""

from fractions import Fraction
from typing import Any, Literal

from torch import Tensor, fx, nn

from fcn.core.errors import UserError
from fcn.core.registry import register
from fcn.models.backbones.contract import Backbone, from_graph
from fcn.models.pretrained import IN_HALVES, in_file, load_weights, torchvision_classifier
from fcn.rewrite.convolutionalize import linear_to_conv
from fcn.rewrite.dilate import Reading, rewrite
from fcn.rewrite.editable import editable

CLASSIFIERS = (
    "alexnet", "convnext_tiny", "convnext_small", "convnext_base", "convnext_large",
    "densenet121", "densenet161", "densenet169", "densenet201",
    "efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3", "efficientnet_b4", "efficientnet_b5",
    "efficientnet_b6", "efficientnet_b7", "efficientnet_v2_s", "efficientnet_v2_m", "efficientnet_v2_l", "googlenet",
    "inception_v3", "mnasnet0_5", "mnasnet0_75", "mnasnet1_0", "mnasnet1_3", "mobilenet_v2",
    "mobilenet_v3_small", "mobilenet_v3_large",
    "regnet_x_400mf", "regnet_x_800mf", "regnet_x_1_6gf", "regnet_x_3_2gf", "regnet_x_8gf", "regnet_x_16gf",
    "regnet_x_32gf",
    "regnet_y_400mf", "regnet_y_800mf", "regnet_y_1_6gf", "regnet_y_3_2gf", "regnet_y_8gf", "regnet_y_16gf",
    "regnet_y_32gf", "regnet_y_128gf",
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
    "shufflenet_v2_x0_5", "shufflenet_v2_x1_0", "shufflenet_v2_x1_5", "shufflenet_v2_x2_0", "squeezenet1_0", "squeezenet1_1",
)  # fmt: skip
VGGS = ("vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn")
HALF = (0.5, 0.5, 0.5)


@register("backbone", *CLASSIFIERS)
def classifier(
    name: str,
    *,
    weights: str | None,
    output_stride: int | None,
    dilate_first: bool | None,
    taps: Literal["last", "first"] | None = None,
) -> Backbone:
    """Any convolutional classifier of torchvision.

    taps: block of each stage whose output is the feature; null: last, or as the model's weights need it.

    The first block of a stage is the one that strides: torchvision's segmentation networks take that on MobileNetV3. The deepest feature
    is the last one either way.
    """
    network = editable(torchvision_classifier(name, weights))
    whole = Reading(network)
    keep_features(network, stage_features(network, whole, taps or "last"))
    if in_file(weights):
        load_weights(network, weights)
    mean, std = normalization(name)
    reading = rewrite(network, output_stride, dilate_first=bool(dilate_first), spreads=whole.spreads)  # which its features keep
    return from_graph(network, reading, mean=mean, std=std)


@register("backbone", *VGGS)
def vgg(
    name: str, *, weights: str | None, output_stride: int | None, dilate_first: bool | None, classifier: bool | None = None
) -> Backbone:
    """VGG, a feature after each of its five pools, which round sizes up so that no row or column of the image is dropped.

    classifier: keep fc6 and fc7 as convolutions (4096 channels); false: end with pool5; null: keep them.
    """
    whole = torchvision_classifier(name, weights)
    kept = classifier is not False
    if in_file(weights):
        load_weights(whole, weights, head=("classifier.6.",) if kept else ("classifier.",))
    network = editable(VGG(whole, kept))
    mean, std = normalization(name)
    return from_graph(network, rewrite(network, output_stride, dilate_first=bool(dilate_first)), mean=mean, std=std)


class VGG(nn.Module):
    """Torchvision's VGG, its layers under their own names, its first two linear layers as convolutions."""

    def __init__(self, network: Any, classifier: bool) -> None:
        super().__init__()
        self.features = network.features
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                layer.ceil_mode = True
        self.classifier = nn.Sequential()
        if classifier:
            fc6, relu6, drop6, fc7, relu7, drop7 = list(network.classifier)[:6]
            self.classifier = nn.Sequential(linear_to_conv(fc6, kernel_size=7, padding=3), relu6, drop6, linear_to_conv(fc7), relu7, drop7)

    def forward(self, x: Tensor) -> list[Tensor]:
        features = []
        for layer in self.features:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                features.append(x)
        for layer in self.classifier:
            x = layer(x)
        return [*features[:-1], x]


def normalization(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """What torchvision's own weights of that classifier were trained with."""
    import torchvision

    if name in IN_HALVES:
        return HALF, HALF
    transform = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    return tuple(transform.mean), tuple(transform.std)


def stage_features(network: fx.GraphModule, reading: Reading, taps: str = "last") -> list[fx.Node]:
    """The nodes to hand out as features, one for each stride above 1, shallow to deep. UserError where the graph has none."""
    order = {node: place for place, node in enumerate(network.graph.nodes)}
    strides: dict[fx.Node, Fraction] = {}
    for node in order:
        axes = reading.axes(node)
        if axes is not None and reading.spreads[node][0].is_map:
            strides[node] = max(axis.original.stride for axis in axes)
    narrow = bottlenecks(order, strides)
    features: dict[Fraction, fx.Node] = {}
    begun = {Fraction(1)}
    for node, stride in strides.items():  # in the order of the graph: the first node at a new stride begins a stage
        before = max((strides[source] for source in node.all_input_nodes if source in strides), default=stride)
        if stride in begun:
            continue
        begun.add(stride)
        block = block_of(node, before, strides, narrow)
        inside = [other for other in strides if other is node or (block and block in other.meta.get("nn_module_stack", {}))]
        if taps == "last" and before > 1:
            features[before] = next(source for source in inside[0].all_input_nodes if source in strides)
        features[stride] = inside[-1]
    last = last_map(network, order, strides, narrow)
    features[strides[last]] = last
    return [features[stride] for stride in sorted(features)]


def bottlenecks(order: dict[fx.Node, int], strides: dict[fx.Node, Fraction]) -> set[fx.Node]:
    """The maps that all later ones are made from: nothing computed before them is read after them."""
    found, reach = set(), -1
    for node in order:
        if node in strides:
            if reach <= order[node]:
                found.add(node)
            reach = max(reach, *(order[user] for user in node.users), order[node])
    return found


def block_of(node: fx.Node, stride: Fraction, strides: dict[fx.Node, Fraction], narrow: set[fx.Node]) -> str:
    """The outermost module that strides with ``node`` and no further, and reads one bottleneck of ``stride``; "" where there is none."""
    for path in node.meta.get("nn_module_stack", {}):
        inside = {other for other in strides if path and path in other.meta.get("nn_module_stack", {})}
        read = {source for other in inside for source in other.all_input_nodes if source in strides} - inside
        further = any(strides[other] > strides[node] for other in inside)
        if len(read) == 1 and read <= narrow and not further and all(strides[source] == stride for source in read):
            return path
    return ""


def last_map(network: fx.GraphModule, order: dict[fx.Node, int], strides: dict[fx.Node, Fraction], narrow: set[fx.Node]) -> fx.Node:
    """The deepest map that is not made of classes already: what the pool reads, or the convolution that makes the classes."""
    weighted = [
        node for node in order if node.op == "call_module" and any(True for _ in network.get_submodule(str(node.target)).parameters())
    ]
    end = order[weighted[-1]] if weighted and weighted[-1] in strides else len(order)
    maps = [node for node in strides if node in narrow and order[node] < end and node.op != "placeholder"]
    if not maps:
        raise UserError("no map of features leads to its classes; a backbone is a convolutional network")
    last = maps[-1]
    while last.op == "call_module" and isinstance(network.get_submodule(str(last.target)), nn.Dropout):
        last = last.all_input_nodes[0]
    return last


def keep_features(network: fx.GraphModule, features: list[fx.Node]) -> None:
    """Let the graph return ``features`` and end there; what only its old result needed goes, with its parameters."""
    (output,) = network.graph.find_nodes(op="output")
    output.args = (list(features),)
    for feature in features:
        for user in feature.users:  # which may not write over what is handed out
            if user.op == "call_module" and getattr(network.get_submodule(str(user.target)), "inplace", False):
                network.get_submodule(str(user.target)).inplace = False  # type: ignore[assignment]
            elif user.kwargs.get("inplace"):
                user.kwargs = {**user.kwargs, "inplace": False}
    place = {node: index for index, node in enumerate(network.graph.nodes)}
    end = max(place[feature] for feature in features)
    for node in reversed(list(network.graph.nodes)):
        writes = node.op == "call_method" and str(node.target).endswith("_") and place[node] < end
        if not node.users and node.op not in ("placeholder", "output") and not writes:
            network.graph.erase_node(node)
    network.delete_all_unused_submodules()
    network.recompile()
