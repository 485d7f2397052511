"""Any convolutional classifier as a fully convolutional network with the same weights.

A classifier sees one window. Its body slides over the window (convolutions, pools). Its head takes all of the window's cells together (a
pool, a flatten) and classifies them (linear layers). Done in every window at once, the head slides too, and neighbouring windows share the
body's arithmetic (Sermanet et al. 2014, arXiv:1312.6229; Long et al. 2015, section 3.1, arXiv:1411.4038).
"""

import warnings
from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, fx, nn

from fcn.core.errors import NotConvertible, UserError
from fcn.graph.image import input_shape
from fcn.graph.networks import evaluating, unwrapped
from fcn.rewrite.convolutionalize.body import check_body
from fcn.rewrite.convolutionalize.head import Dense, Head
from fcn.rewrite.convolutionalize.padding import fix_pads, moving_pads
from fcn.rewrite.convolutionalize.rules import POOLS, covers, rule_of
from fcn.rewrite.convolutionalize.shapes import Facts, erase_unused, measure, only_for
from fcn.rewrite.convolutionalize.trained_size import trained_size
from fcn.rewrite.editable import editable, free_name
from fcn.rewrite.names import names_of, where

Padding = Literal["image", "window"]


def convolutionalize(
    classifier: nn.Module,
    *,
    dense: Dense = "window",
    input_size: int | Sequence[int] | None = None,
    in_channels: int | None = None,
    padding: Padding = "image",
) -> nn.Module:
    """A fully convolutional network with the weights of a classifier.

    >>> classifier = torchvision.models.resnet18().eval()
    >>> network = fcn.convolutionalize(classifier)
    >>> network(torch.zeros(1, 3, 256, 288)).shape  # (1, 1000, 2, 3): the classifier on windows of 224 x 224 pixels
    >>> pixels = fcn.convolutionalize(classifier, dense="pixel")  # every cell of the features is classified

    classifier: network from images (N, C, H, W) to scores (N, classes). It is left as it was.
    dense: "window" or "pixel"; default "window".
        "window": a pool over all cells becomes a pool of the size that it has at the trained size, which slides by one cell. At the trained
        size the result is the classifier's (h = w = 1). On a larger image each cell is one window; smaller images are refused. Without
        padding in the classifier a cell is exactly what the classifier gives for its window, cut out. With padding it is not: inside an
        image the layers read what surrounds the window; around the window alone they read zeros.
        "pixel": such a pool is dropped, and every cell of the features is classified. The mean of the cells is the classifier's result, at
        any size, if all that follows the pool is linear. Else a warning names what is not (MobileNetV3: an activation, ConvNeXt: a norm).
        Where the features are flattened instead (AlexNet, VGG), a cell is a window as above, and a warning says so.
    input_size: trained size in pixels, (height, width) or one number; default: what timm's or torchvision's records say, else 224.
    in_channels: channels of the image; default: the first likely number with which the classifier runs.
    padding: "image" or "window"; default "image".
        "image": layers pad as they do in the classifier. "SAME" padding, of networks that come from TensorFlow, depends on the image's
        size. The places of the cells then depend on it too; a warning says so for ``dense="window"``.
        "window": such layers pad, at any size, what they pad at the trained size. Cell (i, j) then lies on the same pixels in every image,
        and inside an image its scores do not depend on the image's size. At the trained size both are the classifier. Other padding is
        left as it is, and so are networks without padding of this kind.

    Returns a network from images (N, C, H, W) to scores (N, classes, h, w). It has the parameters' names (those of linear layers are
    reshaped), the mode and the types of the classifier. Hooks that change what layers give, and a layer's own ``forward``, become part of
    it; wrappers of the classifier (DataParallel, ``torch.compile``) do not. Squeeze-and-excitation, and norms with statistics over space,
    still see the whole image: a warning names them. Long et al. 2015, section 3.1, arXiv:1411.4038.

    Raises NotConvertible, naming the layer and the reason, for what does more than slide: attention, a flatten outside the head. Raises
    UserError for networks without scores, and for an ``input_size`` at which the classifier does not run.
    """
    classifier = unwrapped(classifier)
    name = type(classifier).__name__
    if dense not in get_args(Dense):
        raise UserError(f"dense={dense!r} is not known; allowed: {', '.join(get_args(Dense))}")
    if padding not in get_args(Padding):
        raise UserError(f"padding={padding!r} is not known; allowed: {', '.join(get_args(Padding))}")
    if getattr(classifier, "num_classes", None) == 0:
        raise NotConvertible(
            f"{name} has no classes (num_classes=0), so there is nothing to classify cells with; give a network with its head"
        )
    given = input_shape(classifier, trained_size(classifier) if input_size is None else input_size, in_channels)
    if len(given) != 4:
        raise NotConvertible(f"{name} has {len(given) - 2} axes of space; only classifiers of images can be converted")
    network = editable(classifier)
    with evaluating(network):
        facts = measure(network, given)
        moving = moving_pads(network, facts)
        if moving and padding == "window":
            fix_pads(network, facts, moving)
            facts = measure(network, given)
        elif moving and dense == "window":
            _warn_of_padding(network, moving, facts, name)
        images = next(iter(facts))
        _, channels, height, width = facts[images].shape
        output, nodes, sources = split(network, facts, name)
        check_body(
            network, only_for(nodes, facts), {source: facts[source].axes for source in sources}, (1, channels, 2 * height, 2 * width)
        )
    head = Head(network, facts, nodes, dense)
    head.rewrite(sources, rule_of)
    scores = head.values[output]
    if scores.space or scores.layout[0] != "n" or scores.layout[1:2] not in (("c",), ("",)) or any(scores.layout[2:]):
        raise NotConvertible(f"{name} gives numbers of shape {facts[output].shape[1:]} for an image, and not one score for each class")
    next(node for node in network.graph.nodes if node.op == "output").args = (scores.node,)
    erase_unused(only_for(nodes, facts))
    if head.windows:
        _refuse_smaller(network, images, (height, width))
    network.graph.lint()
    network.delete_all_unused_submodules()
    network.recompile()
    if dense == "pixel":
        _warn_of_pixels(head, name)
    return network


def split(network: fx.GraphModule, facts: dict[fx.Node, Facts], name: str) -> tuple[fx.Node, list[fx.Node], list[fx.Node]]:
    """The output, the nodes of the head in order, and the maps that it reads."""
    output = next(node for node in network.graph.nodes if node.op == "output").args[0]
    if not isinstance(output, fx.Node) or not facts[output].is_tensor:
        raise NotConvertible(f"{name} gives several outputs; give a classifier with one tensor of scores")
    from_image = {next(iter(facts))}
    for node, found in facts.items():
        if found.has_tensors and from_image & set(node.all_input_nodes):
            from_image.add(node)
    if output not in from_image:
        raise UserError(f"the output of {name} does not depend on the image")
    sources, head, queue = set(), set(), [output]
    while queue:
        node = queue.pop()
        if _is_map(network, facts, node):
            sources.add(node)
        elif node not in head:
            head.add(node)
            queue += [source for source in node.all_input_nodes if source in from_image]
    sizes = {facts[source].cells for source in sources}
    if len(sizes) > 1:
        listed = " and ".join(f"{height} x {width}" for height, width in sorted(sizes))
        raise NotConvertible(
            f"{name} cannot be converted: its head reads maps of different sizes ({listed}), whose cells are different windows"
        )
    return output, [node for node in facts if node in head], [node for node in facts if node in sources]


def _is_map(network: fx.GraphModule, facts: dict[fx.Node, Facts], node: fx.Node) -> bool:
    """Whether a node gives a map of features, and not what a pool with the kernel of the trained size makes of one."""
    if not facts[node].axes:
        return False
    if facts[node].cells == (1, 1) and set(names_of(network, node)) & set(POOLS):
        source = node.all_input_nodes[0]
        return facts[source].cells == (1, 1) or not covers(network, facts, node, facts[source].cells)
    return True


class AtLeast(nn.Module):
    """Passes images on, and refuses those that are smaller than a window of ``size`` (height, width) pixels."""

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        return at_least(images, self.size)

    def extra_repr(self) -> str:
        return f"{self.size[0]} x {self.size[1]} pixels"


@fx.wrap
def at_least(images: Tensor, size: tuple[int, int]) -> Tensor:
    if images.shape[-2] < size[0] or images.shape[-1] < size[1]:
        raise UserError(
            f"an image of {images.shape[-2]} x {images.shape[-1]} pixels is smaller than the window of {size[0]} x {size[1]} that this "
            "network classifies; give larger images, or convert with dense='pixel' if it pools its features"
        )
    return images


def _refuse_smaller(network: fx.GraphModule, images: fx.Node, size: tuple[int, int]) -> None:
    name = free_name(network, "at_least")
    network.add_module(name, AtLeast(size))
    with network.graph.inserting_after(images):
        checked = network.graph.call_module(name, (images,))
    images.replace_all_uses_with(checked, lambda user: user is not checked)


def _warn_of_padding(network: fx.GraphModule, moving: list[fx.Node], facts: dict[fx.Node, Facts], name: str) -> None:
    height, width = next(iter(facts.values())).shape[-2:]
    warnings.warn(
        f"{name} pads by an amount that depends on the image's size ({len(moving)} times; the first: {where(network, moving[0])}): "
        f"its cells move with that size; with padding='window' every image is padded as one of {height} x {width} pixels, and cells stay",
        stacklevel=3,
    )


def _warn_of_pixels(head: Head, name: str) -> None:
    if head.flattened:
        warnings.warn(
            f"{name} has no single cells to classify, for {head.flattened[0]} reads a flattened window; "
            "with dense='pixel' each cell of the result is such a window, as with dense='window', unless one axis of it is pooled",
            stacklevel=3,
        )
    if head.curved:
        warnings.warn(
            f"{head.curved[0]} of {name} is not linear in what is pooled, so the mean of the cells is not exactly the classifier's result",
            stacklevel=3,
        )
