"""Dilation: strides traded for dilation, so that a network keeps its weights and its field of view and answers on a denser grid.

A unit that strides skips cells. Where it no longer strides, every cell is there. What follows reads them at the old distance: its dilation
and its padding are multiplied by the lost stride. The unit that loses its stride keeps the dilation that it had, since it reads the same
map as before (Chen et al. 2015, arXiv:1412.7062; Yu and Koltun 2016, arXiv:1511.07122). Original cell ``i`` is then dilated cell ``i d``:
sampled at every ``d``-th cell, the dilated network is the original.

The rewriting works on the traced graph (``fcn.rewrite.editable``), for modules and functions alike.

- It is exact at every cell and any size where layers round sizes up (windows padded to their size, pools with ``ceil_mode``).
- Some layers drop what does not fill a window (a 2x2 pool on an odd size). Without its stride, such a layer may reach over the border, so
  that the map covers the image. At sizes that the stride divides nothing is dropped and nothing differs. At others, cells near the bottom
  and the right border differ, as they do where borders are reflected.
- A resize back to the size of a map (the gates of GhostNetV2) is done at the original's sizes, and its cells are repeated. One that
  interpolates, where its result would have to be denser, is refused.
- Statistics over the whole map (squeeze-and-excitation, group norm) are taken over the dilated map, which has more cells than the
  original's. The gates then differ a little, and the sampled cells with them; with the same gates they are equal.
- What computes with the number of cells of a dilated map, or with their places (coordinates, embeddings of positions), is refused.
"""

from torch import fx, nn

from fcn.core.errors import NotDilatable
from fcn.rewrite.dilate.measure import Spread
from fcn.rewrite.dilate.reading import Lost, Reading
from fcn.rewrite.editable import editable

__all__ = ["Reading", "dilate", "rewrite"]


def dilate(network: nn.Module, output_stride: int, *, dilate_first: bool = False, in_channels: int | None = None) -> nn.Module:
    """A copy of a network with denser maps: strides become dilation, and the weights stay.

    >>> trunk = torchvision.models.resnet18()
    >>> trunk = torch.nn.Sequential(*list(trunk.children())[:-2]).eval()
    >>> fine = fcn.dilate(trunk, output_stride=8)  # fine(images)[..., ::4, ::4] is trunk(images)

    network: network from images (N, C, H, W) to maps, or a list of them. It is left as it was.
    output_stride: upper bound of the maps' stride (pixels per cell), a divisor of the network's own.
    dilate_first: also dilate convolutions that lose their stride, as torchvision's dilated MobileNetV3 was trained; default False. The
        copy's cells are then no longer those of the network.
    in_channels: channels of the image; default: the first likely number with which the network runs.

    Returns the copy, with the same parameter names, mode and trainability. Hooks that change what layers give, and a layer's own
    ``forward``, become part of it; wrappers of the network (DataParallel, ``torch.compile``) do not. Chen et al. 2015, arXiv:1412.7062.

    Raises NotDilatable for an ``output_stride`` that the network cannot have, and, naming
    the layer, for what cannot be dilated.
    """
    copy = editable(network)
    rewrite(copy, output_stride, dilate_first=dilate_first, in_channels=in_channels)
    return copy


def rewrite(
    network: fx.GraphModule,
    output_stride: int | None,
    *,
    dilate_first: bool = False,
    in_channels: int | None = None,
    spreads: dict[fx.Node, list[Spread]] | None = None,
) -> Reading:
    """Dilate a graph in place; returns where its tensors stand. None leaves it as it is.

    spreads: the layouts of the graph's tensors, where they are measured already; None: they are measured here.
    """
    reading = Reading(network, spreads=spreads, in_channels=in_channels)
    own = reading.stride()
    if output_stride is None or output_stride == own:
        return reading
    possible = [value for value in range(1, int(own) + 1) if own % value == 0]
    if output_stride not in possible:
        allowed = f"can have {', '.join(map(str, possible))}" if possible else "no whole number divides it"
        raise NotDilatable(f"output_stride={output_stride} is not possible: the network has stride {own}, and {allowed}")
    reading = Reading(network, output_stride, dilate_first=dilate_first, spreads=reading.spreads)
    if reading.stride_now() != output_stride:
        raise NotDilatable(f"output_stride={output_stride} is not possible: the strides of the layers make {reading.stride_now()} of it")
    for node in reading.outputs():
        placement = reading.placements[node]
        if isinstance(placement, Lost) and placement.dilated:
            raise NotDilatable(f"cells are mixed in {placement.by}, whose result the network returns; that cannot be dilated")
    network.graph.lint()
    network.delete_all_unused_submodules()
    network.recompile()
    return reading
