"""Several small images labelled at once, each by one thread.

That is faster on a CPU than all threads at one image: over small tensors they wait for each other, and for threads that read and write.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from torch import nn

from fcn.inference.strategies import Strategy
from fcn.models.onnx_model import OnnxModel

SMALL = 2**19  # pixels of an image that is labelled by one thread, at most
PIXELS = 2**22  # of all images that are labelled at once
MOST = 16  # images at once
STATELESS = ("fcn", "torch", "torchvision", "timm", "segmentation_models_pytorch")  # their layers keep nothing in evaluation mode

T = TypeVar("T")
R = TypeVar("R")


def images_at_once(model: object, strategy: object, count: int) -> int:
    """How many small images of ``count`` are labelled at once: on a CPU, as many as torch has threads here, up to ``MOST``.

    One where there are fewer images, where the network or the strategy may keep something between images, and where the memory is limited
    by a setting.
    """
    threads = torch.get_num_threads()
    if count < threads or not isinstance(strategy, Strategy) or strategy.alone:
        return 1
    if not isinstance(model, nn.Module) or not keeps_nothing(model):
        return 1
    on_cpu = all(tensor.device.type == "cpu" for tensor in (*model.parameters(), *model.buffers()))
    return min(threads, MOST) if on_cpu else 1


def small_pixels(at_once: int) -> int:
    """Pixels up to which an image is small, where so many are labelled at once."""
    return min(SMALL, PIXELS // at_once)


def keeps_nothing(network: nn.Module) -> bool:
    """Whether it is sure that ``network`` keeps nothing between images: it has layers of known libraries alone, without hooks. Layers of a
    user's own may write down what their image was."""
    return all(
        type(module).__module__.partition(".")[0] in STATELESS
        and not isinstance(module, OnnxModel)
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        for module in network.modules()
    )


def one_thread() -> None:
    """The calling thread, and those that start after it, compute alone."""
    torch.set_num_threads(1)


@contextmanager
def own_threads() -> Iterator[None]:
    """Threads that start after it have as many threads for their computing as before, whatever ``one_thread`` did within it."""
    count = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(count)


def in_order(items: Iterable[T], compute: Callable[[T], R], *, small: Callable[[T], bool], at_once: int) -> Iterator[R]:
    """``compute(item)`` for each item, in order; that of small ones ``at_once``, each by a thread, and of others here.

    What is raised for an item is raised in its turn. Autocast is what it is here.
    """
    if at_once == 1:
        yield from map(compute, items)
        return
    autocast = _autocast()

    def apart(item: T) -> R:
        with autocast():
            return compute(item)

    going: deque[Future[R]] = deque()
    with own_threads(), ThreadPoolExecutor(at_once, initializer=one_thread) as pool:
        try:
            for item in coming(items):
                if isinstance(item, Failed) or not small(item):
                    while going:
                        yield going.popleft().result()
                if isinstance(item, Failed):
                    raise item.error
                if small(item):
                    going.append(pool.submit(apart, item))
                else:
                    yield compute(item)
                while going and (len(going) > 2 * at_once or going[0].done()):
                    yield going.popleft().result()
            while going:
                yield going.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class Failed(NamedTuple):
    """That the next item could not be had."""

    error: Exception


def coming(items: Iterable[T]) -> Iterator[T | Failed]:
    try:
        yield from items
    except Exception as error:
        yield Failed(error)


def _autocast() -> Callable[[], AbstractContextManager[object]]:
    """What makes autocast on a CPU, which belongs to a thread, what it is in this one."""
    return partial(torch.autocast, "cpu", dtype=torch.get_autocast_dtype("cpu"), enabled=torch.is_autocast_enabled("cpu"))
