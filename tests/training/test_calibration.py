"""The expected calibration error, against the definition pixel by pixel."""

import numpy as np
import pytest
import torch

from fcn.core.labels import VOID
from fcn.training.calibration import calibration, confidence_counts


def drawn(seed: int, *, size: tuple[int, int] = (40, 50)) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    truth, prediction = (rng.integers(0, 4, size, dtype=np.uint8) for _ in range(2))
    truth[rng.random(size) < 0.2] = VOID
    return torch.from_numpy(truth), torch.from_numpy(prediction), torch.from_numpy(rng.integers(0, 256, size, dtype=np.uint8))


def by_definition(truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray, bins: int) -> tuple[float, list[int]]:
    """Guo et al. 2017, equation 3: bin m holds the confidences above (m - 1) / M and up to m / M; that of 0 is in the first."""
    scored = truth != VOID
    right, sure = (prediction == truth)[scored], confidence[scored] / 255
    error, counts = 0.0, []
    for m in range(1, bins + 1):
        inside = (sure * bins > m - 1 + 1e-9) & (sure * bins <= m + 1e-9) | ((m == 1) & (sure == 0))
        counts.append(int(inside.sum()))
        if inside.any():
            error += inside.sum() / len(sure) * abs(right[inside].mean() - sure[inside].mean())
    return error, counts


@pytest.mark.parametrize("bins", [15, 10, 1, 255, 7])
def test_equals_the_definition(bins):
    truth, prediction, confidence = drawn(0)
    found = calibration(confidence_counts(truth, prediction, confidence), bins)
    error, counts = by_definition(truth.numpy(), prediction.numpy(), confidence.numpy(), bins)
    assert found.error == pytest.approx(error)
    assert [each.pixels for each in found.bins] == [count for count in counts if count]
    scored = truth != VOID
    assert found.accuracy == pytest.approx((truth == prediction)[scored].double().mean().item())
    assert found.confidence == pytest.approx(confidence[scored].double().mean().item() / 255)
    for each in found.bins:
        assert each.low - 1e-9 <= each.confidence <= each.high + 1e-9


def test_counts_of_images_add_up():
    parts = [drawn(seed) for seed in range(3)]
    whole = confidence_counts(*(torch.cat(maps) for maps in zip(*parts, strict=True)))
    assert torch.equal(sum(confidence_counts(*part) for part in parts), whole)
    assert whole.sum() == sum((truth != VOID).sum() for truth, _, _ in parts)


def test_who_is_as_sure_as_right_has_no_error_and_who_is_always_sure_that_of_the_wrong():
    truth = torch.zeros(1, 255, dtype=torch.uint8)
    prediction = (torch.arange(255) >= 204)[None].to(torch.uint8)  # 80 % are right
    sure = torch.full((1, 255), 204, dtype=torch.uint8)
    assert calibration(confidence_counts(truth, prediction, sure)).error == pytest.approx(0, abs=1e-12)
    certain = calibration(confidence_counts(truth, prediction, torch.full_like(sure, 255)))
    assert certain.error == pytest.approx(0.2)
    assert "too sure" in str(certain)


def test_nothing_but_void_has_none():
    void = torch.full((3, 3), VOID, dtype=torch.uint8)
    assert calibration(confidence_counts(void, void * 0, void)) is None
