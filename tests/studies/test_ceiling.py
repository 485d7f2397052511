import pytest
import torch

from fcn.data.labels import VOID
from fcn.data.shapes import shapes
from fcn.studies.ceiling import METHODS, ceilings, class_shares, rows_of, through_cells
from fcn.training.metrics import scores


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
    classes, shares = class_shares(truth, 2)
    assert classes.tolist() == [0, 2, 5]
    assert shares[0].tolist() == [[[0.25, 0.75, 0.0]], [[0.75, 0.0, 0.0]], [[0.0, 0.0, 0.25]]]


def test_majority_by_hand():
    truth = torch.tensor([[2, 2, 0, VOID, 5], [2, 0, 0, 0, VOID]], dtype=torch.uint8)
    assert through_cells(truth, 2, "majority").tolist() == [[2, 2, 0, 0, 5], [2, 2, 0, 0, 5]]


def test_finer_strides_lose_less_and_wires_go_first():
    split = shapes("val", count=12)
    results = {stride: scores(matrix) for stride, matrix in ceilings(split, (32, 16, 8, 4, 2, 1)).items()}
    mious = [result.miou for result in results.values()]
    assert mious == sorted(mious)
    assert mious[-1] == 1
    wire = split.labels.index("wire")
    assert results[8].iou[wire] < min(iou for index, iou in enumerate(results[8].iou) if index != wire)
    header, rows, total = rows_of(results, split.labels.names)
    assert header == ["output stride", "32", "16", "8", "4", "2", "1"]
    assert [row[0] for row in rows] == [*split.labels.names, "pixel accuracy"]
    assert total[-1] == "100.00"
