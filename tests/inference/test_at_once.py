"""Several small images at once: for which networks, in which order, with how many threads."""

import threading

import pytest
import torch
from torch import nn

import fcn
from fcn.core import registry
from fcn.inference.at_once import images_at_once, in_order, keeps_nothing, one_thread, own_threads
from fcn.inference.strategies import create_strategy


@pytest.fixture
def model():
    return fcn.create_model("fcn8s", backbone="mobilenet_v2", num_classes=3).eval()


@pytest.fixture
def four_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)


class Remembers(nn.Conv2d):
    """As users write them: the size of the image is written down on the way in, and read on the way out."""

    def forward(self, image):
        self.size = image.shape[-2:]
        return super().forward(image)


def test_a_network_of_known_layers_takes_as_many_images_as_there_are_threads(model, four_threads):
    assert images_at_once(model, create_strategy("auto"), 4) == 4
    assert images_at_once(model, create_strategy("auto"), 3) == 1
    assert images_at_once(model, create_strategy("stream", memory=0.5), 4) == 1
    assert images_at_once(lambda images: images, create_strategy("windows"), 4) == 1
    assert images_at_once(model.to("meta"), create_strategy("auto"), 4) == 1


def test_a_network_that_may_keep_something_takes_one(model, four_threads):
    wrapped = fcn.wrap(nn.Sequential(Remembers(3, 2, 3, padding=1)), mean=(0, 0, 0), std=(1, 1, 1))
    assert images_at_once(wrapped, create_strategy("auto"), 4) == 1
    assert keeps_nothing(fcn.wrap(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1)), mean=(0, 0, 0), std=(1, 1, 1)))
    handle = model.backbone.register_forward_hook(lambda *_: None)
    assert not keeps_nothing(model)
    handle.remove()
    assert keeps_nothing(model)
    model.decoder.forward = model.decoder.forward
    assert not keeps_nothing(model)


def test_a_strategy_of_a_user_is_asked_for_one_image_at_a_time(model, four_threads, monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @fcn.register("inference", "mine")
    def strategy(model, image):
        """Mine."""

    assert images_at_once(model, create_strategy("mine"), 4) == 1


def test_small_items_are_computed_at_once_others_here_and_all_come_in_order():
    together, here = threading.Barrier(2, timeout=20), set()

    def compute(item):
        if threading.current_thread() is threading.main_thread():
            here.add(item)
        else:
            together.wait()
        return item, torch.is_autocast_enabled("cpu"), torch.get_autocast_dtype("cpu")

    with torch.autocast("cpu", torch.float16):
        found = list(in_order(range(9), compute, small=lambda item: item != 4, at_once=2))
    assert found == [(item, True, torch.float16) for item in range(9)]
    assert here == {4}


@pytest.mark.parametrize("at_once", [1, 3])
def test_an_error_comes_in_its_turn(at_once):
    def compute(item):
        if item in (5, 6):
            raise ValueError(f"item {item}")
        return item

    found = []
    with pytest.raises(ValueError, match="item 5"):
        found.extend(in_order(range(40), compute, small=lambda _: True, at_once=at_once))  # extends as far as it comes
    assert found == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("broken", [range(40), (item for item in [*range(9), None] if item is not None or 1 / 0)])
def test_what_is_raised_here_comes_after_all_that_was_before(broken):
    """By an item that is computed by the calling thread, or by whoever gives the items."""

    def compute(item):
        if item == 9:
            raise ZeroDivisionError
        return item

    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(in_order(broken, compute, small=lambda item: item != 9, at_once=4))
    assert found == list(range(9))


def test_large_items_are_not_kept():
    alive, most = [], []

    def compute(item):
        alive.append(item)
        most.append(len(alive))
        return item

    for item in in_order(range(20), compute, small=lambda _: False, at_once=8):
        alive.remove(item)
    assert max(most) == 1


def test_threads_are_given_back():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with own_threads():
            worker = threading.Thread(target=one_thread)
            worker.start()
            worker.join()
        later = []
        worker = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
        worker.start()
        worker.join()
        assert (torch.get_num_threads(), later) == (2, [2])
    finally:
        torch.set_num_threads(before)
