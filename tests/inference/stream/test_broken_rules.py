"""The comparison notices a rule that is wrong by one row, one phase or one cell of padding: each is broken here on purpose."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from fcn.graph.axis import Resize, Transposed, Window
from fcn.graph.ops import TABLE, convolutions, pads, pools, resizes
from fcn.graph.ops.blocks import Cut, Rule
from fcn.graph.ops.statistics import Moments
from fcn.inference.stream import plan, prepare, run
from fcn.inference.stream.prepare import programs
from tests.inference.stream.compare import differs, lively


class Crop(nn.Module):
    def forward(self, x):
        return x[..., 1:-2, 3:]


NETWORK = nn.Sequential(
    nn.Conv2d(3, 4, 7, stride=2, padding=3),
    nn.BatchNorm2d(4),
    nn.ReLU(),
    nn.MaxPool2d(3, 2, 1),
    nn.Conv2d(4, 4, 3, padding=2, dilation=2),
    nn.GroupNorm(2, 4),
    nn.Upsample(scale_factor=2, mode="bilinear"),
    nn.ReplicationPad2d(1),
    nn.ConvTranspose2d(4, 4, 4, stride=2, padding=3),
    nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    nn.ReflectionPad2d(2),
    nn.Conv2d(4, 16, 3),
    nn.PixelShuffle(2),
    Crop(),
    nn.Upsample(scale_factor=2, mode="bicubic"),
)
IMAGE = torch.randn(1, 3, 53, 47, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def network():
    return lively(NETWORK)


def shifted_phase(monkeypatch):
    """A window whose padding is taken for one less where it does not begin at the border."""
    beyond = Cut.beyond.fget
    monkeypatch.setattr(Cut, "beyond", property(lambda cut: (beyond(cut)[0] + (cut.first > 0), max(beyond(cut)[1] - 1, 0))))


def padding_inside(monkeypatch):
    """Zeros between bands instead of the rows that are there."""
    of = Cut.of

    def cut(axis, first, end):
        found = of(axis, first, end)
        if isinstance(axis, Window) and axis.kernel == 3 and found.low > 0:
            return Cut(axis, first, end, found.low + 1, found.high)
        return found

    monkeypatch.setattr(run, "Cut", type("Wrong", (), {"of": staticmethod(cut)}))


def wrong_row_held(monkeypatch):
    """Rows move to the front of their buffer by one too few."""
    room = run.Buffer.room

    def late(buffer, start, rows):
        if start > buffer.start and buffer.held > start - buffer.start:
            buffer.memory.copy_(buffer.memory.roll(1, buffer.dim))
        return room(buffer, start, rows)

    monkeypatch.setattr(run.Buffer, "room", late)


def local_coordinates(monkeypatch):
    """A resize as if each band were an image of its own."""

    def alone(x, cuts):
        return nn.functional.interpolate(x, size=[cut.cells for cut in cuts], mode="bilinear")

    monkeypatch.setattr(resizes, "resized", alone)


def transposed_phase(monkeypatch):
    surplus = convolutions.surplus
    monkeypatch.setattr(convolutions, "surplus", lambda cut: (surplus(cut)[0] + 1, surplus(cut)[1] - 1))


def all_cells_counted(monkeypatch):
    """An average that counts padding which it should not."""
    seen = pools.seen
    monkeypatch.setattr(pools, "seen", lambda cut, counted: seen(cut, True))


def border_off_by_one(border):
    """What stands beyond a border is taken from the cell next to the right one."""

    def fault(monkeypatch):
        standing = pads.standing

        def beside(cut):
            cells, place = standing(cut), np.arange(cut.first, cut.end) - cut.map.padding[0]
            wrong = np.clip(cells + (place < 0) - (place >= cut.map.n_in), cut.low, cut.high - 1)
            return wrong if cut.map.border == border else cells

        monkeypatch.setattr(pads, "standing", beside)

    fault.__name__ = f"{border}_off_by_one"
    return fault


def one_row_off(op):
    """A rule that is wrong by one row in all blocks but the first."""

    def fault(monkeypatch):
        make = TABLE[op].block

        def off(call):
            run = make(call).run
            return Rule(lambda blocks, cuts: run(blocks, cuts).roll(int(cuts[0][0].first > 0), -2))

        monkeypatch.setitem(TABLE, op, replace(TABLE[op], block=off))

    fault.__name__ = f"{op}_one_row_off"
    return fault


def bicubic_phase(monkeypatch):
    """The weights of a cubic resize in reverse: those of the other phase."""
    taps = resizes.source_taps

    def other_phase(axis, cut, real):
        cells, weights = taps(axis, cut, real)
        return cells, weights[:, ::-1].copy() if axis.mode == "cubic" else weights

    monkeypatch.setattr(resizes, "source_taps", other_phase)


def unmerged_variance(monkeypatch):
    """Variances of parts summed up without the term between them."""
    add = Moments.add

    def lacking(self, block, rows, columns):
        before, mean = self.spread, self.mean
        add(self, block, rows, columns)
        if before.dim():
            self.spread = before + ((block.reshape(2, -1) - block.reshape(2, -1).mean(1, keepdim=True)) ** 2).sum(1)
            del mean

    monkeypatch.setattr(Moments, "add", lacking)


def test_the_network_itself_is_streamed_right(network):
    for band in (1, 5, 16):
        assert differs(network, IMAGE, band=band, strips=2) < 1e-12


@pytest.mark.parametrize(
    "fault",
    [
        shifted_phase,
        padding_inside,
        wrong_row_held,
        local_coordinates,
        transposed_phase,
        all_cells_counted,
        border_off_by_one("replicate"),
        border_off_by_one("reflect"),
        bicubic_phase,
        *map(one_row_off, ("slice", "max_pool2d", "avg_pool2d", "pixel_shuffle", "upsample_bicubic2d", "pad")),
        unmerged_variance,
    ],
)
def test_a_fault_is_noticed(fault, network, monkeypatch):
    fault(monkeypatch)
    programs.clear()
    try:
        assert 1e-4 < differs(network, IMAGE, band=5, strips=2) < float("inf")
    finally:
        programs.clear()


def test_a_schedule_that_lets_go_of_a_row_too_early_is_noticed(network, monkeypatch):
    reads = plan.reads
    monkeypatch.setattr(plan, "reads", lambda *given: (reads(*given)[0], reads(*given)[1] + 1))
    with pytest.raises((RuntimeError, AssertionError, IndexError)):
        differs(network, IMAGE, band=5)


def test_maps_of_the_network_are_all_of_the_kinds_that_are_broken(network):
    kinds = {
        type(axis)
        for instruction in prepare(network, 53, 47).program.instructions.values()
        for read in instruction.reads
        for axis in read.maps or ()
    }
    assert kinds >= {Window, Transposed, Resize}
