"""What is made of a network once, kept for the next image as long as the network does the same.

Whether it does the same is found out by running a copy of it on a stand-in for the image, without numbers (``FakeTensorMode``), and writing
down each operation: its settings, and which tensors it reads. So everything counts that could change the value: layers and their settings,
hooks, methods that were replaced, plain attributes, tensors that no module has registered. The tensors that are read are summed up anew as
well. For a run over many images, ``unchanged`` spares both.
"""

import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from fcn.inference.scoring import ScoresOf, beside, one_at_a_time
from fcn.models.segmenter import Segmenter

WORDS = {"cpu": 2**16}  # words of four bytes that are summed up at once: on a CPU as many as fit its cache
WORDS_ELSEWHERE = 2**20

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Period:
    """A time in which a network is not changed. many: whether images of many sizes are expected in it."""

    many: bool


_periods: "weakref.WeakKeyDictionary[nn.Module, Period]" = weakref.WeakKeyDictionary()


@contextmanager
def unchanged(network: object, *, many: bool = False) -> Iterator[None]:
    """Within it the caller changes nothing about ``network``, so that it is looked at once and not again for every image.

    many: whether images of many sizes are expected, so that what is made for one is best made for all; default False.
    """
    if not isinstance(network, nn.Module) or network in _periods:  # a function, of which nothing is kept; or within another period
        yield
        return
    _periods[network] = Period(many)
    try:
        yield
    finally:
        _periods.pop(network, None)


def period_of(network: nn.Module) -> Period | None:
    """The time without changes that it is now; None where the network may change at any time."""
    return _periods.get(network)


@contextmanager
def reading(network: nn.Module) -> Iterator[Callable[[], nn.Module]]:
    """Within it a graph can be read: without autocast, outside of inference mode, and without gradients. Gives a function that gives the
    network to be read: for a segmenter that of its scores."""
    device = next((tensor.device.type for tensor in network.parameters()), "cpu")
    with torch.autocast(device, enabled=False), torch.inference_mode(False), torch.no_grad():
        yield lambda: ScoresOf(network) if isinstance(network, Segmenter) else network


@dataclass(frozen=True)
class ImageSpec:
    """The image that a network is run on: its shape, type and device."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device


@dataclass
class Entry(Generic[T]):
    value: T
    image: ImageSpec
    lines: list[object]  # what the network does
    content: Tensor  # sums of the tensors that it reads
    period: Period | None


class Kept(Generic[T]):
    """Values made of networks, the last ``count`` of each; ``weights``: whether they depend on the numbers that its tensors hold."""

    def __init__(self, count: int, *, weights: bool) -> None:
        self.count, self.weights = count, weights
        self.found: weakref.WeakKeyDictionary[nn.Module, dict[Hashable, Entry[T]]] = weakref.WeakKeyDictionary()

    def clear(self) -> None:
        self.found.clear()

    @one_at_a_time
    def get(self, network: nn.Module, key: Hashable, make: Callable[[Callable[[], nn.Module]], tuple[T, ImageSpec]]) -> T:
        """The value of that ``key``, made anew where there is none or the network has changed.

        make: given a function that gives the network to be read, gives the value, and the image at which the network is looked at again. It
        is called ``reading`` the network.
        """
        with reading(network) as read:
            return self._get(network, key, lambda: make(read))

    def _get(self, network: nn.Module, key: Hashable, make: Callable[[], tuple[T, ImageSpec]]) -> T:
        entries, period = self.found.setdefault(network, {}), period_of(network)
        entry = entries.get(key)
        if entry is not None:
            if period is not None and entry.period is period:
                return entry.value
            if self._same(entry, self._record(network, entry.image)):
                entry.period = period
                return entry.value
            entries.clear()  # the others are as old
        value, image = make()
        recorded = self._record(network, image)
        if recorded is not None:
            while len(entries) >= self.count:
                entries.pop(next(iter(entries)))
            entries[key] = Entry(value, image, *recorded, period)
        return value

    def _record(self, network: nn.Module, image: ImageSpec) -> tuple[list[object], Tensor] | None:
        try:
            lines, tensors = recording(network, image)
            return lines, digest(tensors if self.weights else [])
        except Exception:  # what cannot be recorded is not kept
            return None

    def _same(self, entry: Entry[T], recorded: tuple[list[object], Tensor] | None) -> bool:
        if recorded is None or recorded[0] != entry.lines:
            return False
        return recorded[1].device == entry.content.device and torch.equal(recorded[1], entry.content)


def recording(network: nn.Module, image: ImageSpec) -> tuple[list[object], list[Tensor]]:
    """What ``network`` does in evaluation mode, line by line, and the tensors with numbers that it reads."""
    copy = ScoresOf(network) if isinstance(network, Segmenter) else beside(network)
    copy.eval()
    recorder = Recorder({tensor.data_ptr() for tensor in (*network.parameters(), *network.buffers())})
    with FakeTensorMode(allow_non_fake_inputs=True), recorder:
        outputs = copy(torch.empty(image.shape, dtype=image.dtype, device=image.device))
    recorder.lines.append(recorder.described(outputs))
    return recorder.lines, recorder.tensors


@dataclass
class Recorder(TorchDispatchMode):
    """Writes down each operation. ``places``: where registered tensors lie in memory; that of another tensor is a new one in each run."""

    places: set[int]
    lines: list[object] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    numbers: dict[int, int] = field(default_factory=dict)
    alive: list[Tensor] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.lines.append((func, self.described(args), self.described(kwargs or {}), self.described(result)))
        return result

    def described(self, item: Any) -> object:
        """Something that is equal where the arguments are."""
        if isinstance(item, Tensor):
            return self._tensor(item)
        if isinstance(item, (list, tuple)):
            return tuple(self.described(entry) for entry in item)
        if isinstance(item, dict):
            return tuple((key, self.described(value)) for key, value in item.items())
        return type(item), item

    def _tensor(self, tensor: Tensor) -> object:
        number = self.numbers.get(id(tensor))
        if number is not None:
            return number
        number = self.numbers[id(tensor)] = len(self.numbers)
        self.alive.append(tensor)
        if isinstance(tensor, FakeTensor):
            return number
        self.tensors.append(tensor)
        place = tensor.data_ptr()
        shape, strides = tuple(tensor.shape), tuple(tensor.stride())
        return number, tensor.dtype, tensor.device, shape, strides, tensor.storage_offset(), place if place in self.places else None


def digest(tensors: Sequence[Tensor]) -> Tensor:
    """Eight bytes for each piece of the tensors' memory, which change with what it holds, on the device of the first.

    A tensor's version does not tell: fused optimizers and whatever writes to ``data`` leave it as it is. The memory is read as words of
    four bytes. Each is multiplied by an odd number of its own, so that places count. They are added up modulo 2^64. That is one pass over
    the weights, and nothing comes to the host.
    """
    parts = [torch.empty(0, dtype=torch.int64)]
    memories = {memory.data_ptr(): memory for memory in (tensor.untyped_storage() for tensor in tensors)}
    for memory in memories.values():
        held = torch.empty(0, dtype=torch.uint8, device=memory.device).set_(memory)
        end = len(held) // 4 * 4
        factors = multipliers(memory.device)
        sums = [(words * factors[: len(words)]).sum() for words in held[:end].view(torch.int32).split(len(factors))]
        parts += [torch.stack(sums)] if end else []
        parts.append(held[end:].to(torch.int64))
    return torch.cat([part.to(tensors[0].device) for part in parts]) if tensors else parts[0]


@cache
def multipliers(device: torch.device) -> Tensor:
    """Random odd numbers of 64 bits, the same in every run."""
    count = WORDS.get(device.type, WORDS_ELSEWHERE)
    drawn = torch.randint(-(2**63), 2**63 - 1, (count,), generator=torch.Generator().manual_seed(0), dtype=torch.int64)
    return (drawn | 1).to(device)
