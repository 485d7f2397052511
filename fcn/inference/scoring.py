"""A segmenter's scores on their own grid as a network, for those who read its graph; one at a time, and beside those who run it."""

from collections.abc import Callable
from functools import wraps
from threading import RLock
from typing import ParamSpec, TypeVar

from torch import Tensor, nn

from fcn.core.errors import NotStreamable, Refusal
from fcn.core.names import said
from fcn.graph.networks import copied
from fcn.models.any import Wrapped
from fcn.models.segmenter import Segmenter

P = ParamSpec("P")
T = TypeVar("T")
N = TypeVar("N", bound=nn.Module)
_reading = RLock()


def beside(network: N) -> N:
    """A copy of the layers with the very tensors of ``network``. While it is traced, stand-ins take the place of its weights, and another
    thread may run the network."""
    return copied(network, {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())})


class ScoresOf(nn.Module):
    """``forward(images)`` is ``segmenter.read(images)``, by layers that lie ``beside`` the segmenter's."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = beside(segmenter)
        self.in_channels = segmenter.in_channels

    def forward(self, images: Tensor) -> Tensor:
        return self.segmenter.read(images)


def in_its_names(error: Refusal, network: nn.Module, before: str = "") -> NotStreamable:
    """A refusal of ``ScoresOf(network)`` with the names that the layers have in the network that a user gave.

    before: what is said first; the advice is then added as well.
    """
    inner = "segmenter.backbone.network" if isinstance(network, Wrapped) else "segmenter"
    name = network.spec.network if isinstance(network, Wrapped) else type(network).__name__

    def plain(text: str) -> str:
        return text.replace(f"{inner}.", "").replace(inner, name).replace("ScoresOf", name)

    text = f"{before}{error}; use {said('inference', 'windows')}" if before else str(error)
    layer = error.layer.removeprefix(inner).removeprefix(".")
    return NotStreamable(plain(text), layer=layer, operation=error.operation, reason=plain(error.reason))


def one_at_a_time(function: Callable[P, T]) -> Callable[P, T]:
    """Threads take turns in all functions of this kind: ``torch.export`` is not made for more than one."""

    @wraps(function)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> T:
        with _reading:
            return function(*args, **kwargs)

    return guarded
