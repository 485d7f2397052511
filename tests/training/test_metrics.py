"""Scores against scikit-learn's definitions written out in NumPy, and the published worked facts about means."""

import math

import numpy as np
import pytest
import torch

from fcn.core.labels import VOID
from fcn.training.metrics import confusion_matrix, metrics, table


def test_confusion_matrix_counts_every_pair_and_no_void():
    generator = torch.Generator().manual_seed(0)
    truth = torch.randint(0, 5, (37, 23), generator=generator, dtype=torch.uint8)
    truth[torch.rand(37, 23, generator=generator) < 0.2] = VOID
    prediction = torch.randint(0, 5, (37, 23), generator=generator, dtype=torch.uint8)
    matrix = confusion_matrix(truth, prediction, 5)
    assert matrix.dtype == torch.int64
    for t in range(5):
        for p in range(5):
            assert matrix[t, p] == ((truth == t) & (prediction == p)).sum()
    assert matrix.sum() == (truth != VOID).sum()


def test_scores_against_sets_of_pixels():
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 4, 500), rng.integers(0, 4, 500)
    result = metrics(confusion_matrix(torch.from_numpy(truth), torch.from_numpy(prediction), 4))
    for index in range(4):
        t, p = set(np.flatnonzero(truth == index)), set(np.flatnonzero(prediction == index))
        assert result.iou[index] == pytest.approx(len(t & p) / len(t | p))
        assert result.accuracy[index] == pytest.approx(len(t & p) / len(t))
        assert result.precision[index] == pytest.approx(len(t & p) / len(p))
        assert result.dice[index] == pytest.approx(2 * len(t & p) / (len(t) + len(p)))
        harmonic = 2 / (1 / result.precision[index] + 1 / result.accuracy[index])
        assert result.dice[index] == pytest.approx(harmonic)
    assert result.miou == pytest.approx(np.mean(result.iou))
    assert result.mean_accuracy == pytest.approx(np.mean(result.accuracy))
    assert result.pixel_accuracy == pytest.approx(np.mean(truth == prediction))
    shares = np.bincount(truth, minlength=4) / 500
    assert result.frequency_weighted_iou == pytest.approx(shares @ np.array(result.iou))


def test_absent_classes_are_left_out_of_the_means():
    matrix = torch.tensor([[6, 2, 0, 0], [1, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    result = metrics(matrix)
    assert math.isnan(result.iou[2])
    assert result.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    assert result.as_dict(["a", "b", "c", "d"])["classes"]["c"] == dict.fromkeys(("iou", "accuracy", "precision", "dice"))
    predicted_only = matrix.clone()
    predicted_only[0, 2] = 1  # a class that is predicted though absent counts, with an IoU of 0
    assert metrics(predicted_only).miou == pytest.approx((6 / 10 + 3 / 6 + 0) / 3)
    assert metrics(predicted_only).mean_accuracy == pytest.approx((6 / 9 + 3 / 4) / 2)


def test_one_matrix_is_not_the_mean_over_images():
    """Two images, one of them with a single pixel of class 1: the mean of the images' scores would be another number."""
    first = confusion_matrix(torch.zeros(100), torch.zeros(100), 2)
    second = confusion_matrix(torch.tensor([1.0, 0]), torch.tensor([0.0, 0]), 2)
    assert metrics(first + second).miou == pytest.approx((101 / 102 + 0) / 2)


def test_nothing_to_score_is_no_number_and_no_error():
    result = metrics(torch.zeros(3, 3, dtype=torch.int64))
    assert math.isnan(result.miou)
    assert "-" in table(result, torch.zeros(3, 3, dtype=torch.int64), ["a", "b", "c"])


def test_table_names_every_class_and_the_means():
    matrix = torch.tensor([[6, 2], [1, 3]])
    text = table(metrics(matrix), matrix, ["sky", "bicyclist"])
    assert "bicyclist   50.00   66.67      60.00   75.00            33.33" in text
    assert "mean        58.33   73.33      72.86   75.00" in text
    assert "mIoU 58.33" in text
