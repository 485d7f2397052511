import pytest
import torch
from torch.nn import functional as F

from fcn.core.labels import VOID
from fcn.data.shapes import shapes
from fcn.tools.ceiling import measure as ceiling
from fcn.tools.ceiling.measure import METHODS, ceilings, class_shares, matrix_through_cells, rows_of, through_cells
from fcn.training.metrics import confusion_matrix, metrics


@pytest.mark.parametrize("method", METHODS)
def test_stride_one_loses_nothing(method):
    truth = torch.randint(0, 7, (37, 53), dtype=torch.uint8)
    assert torch.equal(through_cells(truth, 1, method), truth)


@pytest.mark.parametrize("method", METHODS)
def test_cells_of_one_class_are_kept(method):
    truth = torch.full((19, 30), 3, dtype=torch.uint8)
    assert torch.equal(through_cells(truth, 8, method), truth)
    assert through_cells(torch.full((5, 5), VOID, dtype=torch.uint8), 4, method).shape == (5, 5)


def test_shares_by_hand():
    truth = torch.tensor([[2, 2, 0, VOID, 5], [2, 0, 0, 0, VOID]], dtype=torch.uint8)
    shares = class_shares(truth, 2, torch.tensor([0, 2, 5]))
    assert shares.tolist() == [[[0.25, 1.0, 0.0]], [[0.75, 0.0, 0.0]], [[0.0, 0.0, 1.0]]]
    assert class_shares(torch.full((3, 2), VOID, dtype=torch.uint8), 2, torch.tensor([0, 2])).tolist() == [[[0.0], [0.0]]] * 2


def test_a_pure_cell_at_the_border_loses_nothing():
    truth = torch.zeros(40, 64, dtype=torch.uint8)
    truth[32:] = 1
    assert torch.equal(through_cells(truth, 32), truth)
    assert torch.equal(through_cells(truth.T, 32), truth.T)


def test_beside_void_the_neighbours_say_what_is_there():
    truth = torch.full((4, 12), VOID, dtype=torch.uint8)
    truth[:, :4], truth[:, 9:] = 3, 7  # the cell between them, void, has no say
    assert through_cells(truth, 4)[0].tolist() == [3] * 6 + [7] * 6
    truth[:, 4:8] = VOID
    truth[0, 4] = 7  # one pixel is all that is known of a cell
    assert through_cells(truth, 4)[0].tolist() == [3] * 4 + [7] * 8
    assert matrix_through_cells(truth, 4, "shares", 8).diagonal().sum() == (truth != VOID).sum()


@pytest.mark.parametrize("stride", [2, 3, 8, 20])
@pytest.mark.parametrize("work", [2**20, 500, 1])
def test_shares_are_interpolated_as_scores_are_in_bands_or_not(stride, work, monkeypatch):
    monkeypatch.setattr(ceiling, "WORK", work)
    truth = torch.randint(0, 4, (9, 7)).repeat_interleave(7, 0).repeat_interleave(9, 1).to(torch.uint8)
    truth[5:31, 20:45] = VOID
    whole = F.pad(truth, (0, -truth.shape[1] % stride, 0, -truth.shape[0] % stride), value=VOID)
    counts = F.avg_pool2d((whole == torch.arange(4)[:, None, None]).double(), stride, divisor_override=1)
    dense = F.interpolate((counts / counts.sum(0).clamp(min=1))[None], scale_factor=stride, mode="bilinear")[0, :, :63, :63]
    first, second = dense.topk(2, 0).values
    clear = first - second > 1e-6
    assert clear.float().mean() > 0.5
    assert torch.equal(through_cells(truth, stride)[clear], dense.argmax(0)[clear].to(torch.uint8))
    filled = counts.argmax(0).repeat_interleave(stride, 0).repeat_interleave(stride, 1)[:63, :63]
    valid = truth != VOID
    assert torch.equal(through_cells(truth, stride, "majority")[valid], filled[valid].to(torch.uint8))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stride", [30, 8000, 65536])
def test_a_stride_beyond_the_map_is_one_cell_of_all_of_it(stride, method):
    truth = torch.tensor([4, 2, VOID, 4, 2, 4], dtype=torch.uint8).repeat(20, 5)
    assert through_cells(truth, stride, method).unique().tolist() == [4]


@pytest.mark.parametrize("work", [2**20, 100])
def test_the_matrix_is_that_of_the_whole_map(work, monkeypatch):
    monkeypatch.setattr(ceiling, "WORK", work)
    truth = torch.randint(0, 3, (37, 53), dtype=torch.uint8)
    truth[3:9, 40:] = VOID
    assert torch.equal(matrix_through_cells(truth, 4, "shares", 3), confusion_matrix(truth, through_cells(truth, 4), 3))


def test_majority_by_hand():
    truth = torch.tensor([[2, 2, 0, VOID, 5], [2, 0, 0, 0, VOID]], dtype=torch.uint8)
    assert through_cells(truth, 2, "majority").tolist() == [[2, 2, 0, 0, 5], [2, 2, 0, 0, 5]]


def test_finer_strides_lose_less_and_wires_go_first():
    split = shapes("val", count=12)
    results = {stride: metrics(matrix) for stride, matrix in ceilings(split, (32, 16, 8, 4, 2, 1)).items()}
    mious = [result.miou for result in results.values()]
    assert mious == sorted(mious)
    assert mious[-1] == 1
    wire = split.labels.index("wire")
    assert results[8].iou[wire] < min(iou for index, iou in enumerate(results[8].iou) if index != wire)
    header, rows, total = rows_of(results, split.labels.names)
    assert header == ["output stride", "32", "16", "8", "4", "2", "1"]
    assert [row[0] for row in rows] == [*split.labels.names, "pixel accuracy"]
    assert total[-1] == "100.00"
