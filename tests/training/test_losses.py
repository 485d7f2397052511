"""Losses: against torch's own on whole batches, and the sum over parts against the whole."""

import pytest
import torch
from torch.nn import functional as F

from fcn.core.labels import VOID
from fcn.models.segmenter import Outputs
from fcn.training.losses import SegmentationLoss, with_auxiliary
from fcn.training.lovasz import lovasz_softmax


def batch(seed=0, count=4):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, 3, 9, 7, generator=generator, requires_grad=True)
    labels = torch.randint(0, 3, (count, 9, 7), generator=generator, dtype=torch.uint8)
    labels[torch.rand(count, 9, 7, generator=generator) < 0.3] = VOID
    labels[0, :, :] = VOID
    labels[1, 4:] = VOID
    return logits, labels


def whole(loss, logits, labels):
    return loss(logits, labels, loss.counts(labels))


def test_cross_entropy_is_the_mean_over_valid_pixels():
    logits, labels = batch()
    expected = F.cross_entropy(logits, labels.long(), ignore_index=VOID)
    torch.testing.assert_close(whole(SegmentationLoss(3), logits, labels), expected)


def test_class_weights_give_the_weighted_mean():
    logits, labels = batch()
    weights = [0.2, 1.0, 3.0]
    expected = F.cross_entropy(logits, labels.long(), weight=torch.tensor(weights), ignore_index=VOID)
    torch.testing.assert_close(whole(SegmentationLoss(3, class_weights=weights), logits, labels), expected)


@pytest.mark.parametrize("weights", [None, [0.2, 1.0, 3.0]])
def test_parts_add_up_to_the_whole(weights):
    """One image of the batch is all void, the others have different shares: a mean of means would be wrong."""
    loss = SegmentationLoss(3, class_weights=weights)
    logits, labels = batch()
    totals = loss.counts(labels)
    parts = [loss(logits[i : i + 1], labels[i : i + 1], totals) for i in range(4)]
    torch.testing.assert_close(sum(parts), whole(loss, logits, labels))
    assert totals.tolist() == sum(loss.counts(labels[i : i + 1]) for i in range(4)).tolist()


def test_ohem_with_everything_kept_is_the_cross_entropy_and_else_the_hardest():
    logits, labels = batch()
    everything = whole(SegmentationLoss(3, {"ohem": 1}, {"ohem": {"threshold": 1.0}}), logits, labels)
    torch.testing.assert_close(everything, F.cross_entropy(logits, labels.long(), ignore_index=VOID))
    hardest = whole(SegmentationLoss(3, {"ohem": 1}, {"ohem": {"threshold": 1e-6, "keep": 0.1}}), logits, labels)
    each = F.cross_entropy(logits, labels.long(), ignore_index=VOID, reduction="none")[labels != VOID]
    kept = int(0.1 * each.numel())
    torch.testing.assert_close(hardest, each.topk(kept).values.mean())


@pytest.mark.parametrize("term", ["dice", "focal", "lovasz"])
def test_terms_ignore_void_and_fall_when_the_answer_is_right(term):
    loss = SegmentationLoss(3, {term: 1.0})
    logits, labels = batch()
    value = whole(loss, logits, labels)
    value.backward()
    assert torch.isfinite(logits.grad).all()
    assert logits.grad[0].abs().sum() == 0  # the image that is all void
    right = 40.0 * F.one_hot(labels.where(labels != VOID, 0).long(), 3).permute(0, 3, 1, 2).float() - 20.0
    assert whole(loss, right, labels) < 0.02 < value


def test_a_sum_of_terms_is_the_sum():
    logits, labels = batch()
    both = whole(SegmentationLoss(3, {"cross_entropy": 0.5, "dice": 2.0}), logits, labels)
    single = [whole(SegmentationLoss(3, {"cross_entropy": a, "dice": b}), logits, labels) for a, b in ((1.0, 0.0), (0.0, 1.0))]
    torch.testing.assert_close(both, 0.5 * single[0] + 2.0 * single[1])


@pytest.mark.parametrize("num_classes", [3, 17])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_cross_entropy_is_torchs_in_any_layout(num_classes, memory_format):
    torch.manual_seed(0)
    logits = torch.randn(2, num_classes, 5, 4).contiguous(memory_format=memory_format)
    labels = torch.randint(num_classes, (2, 5, 4))
    labels[0, :2] = VOID
    value = whole(SegmentationLoss(num_classes), logits, labels)
    torch.testing.assert_close(value, F.cross_entropy(logits, labels, ignore_index=VOID))


@pytest.mark.parametrize("absent", [False, True])
def test_lovasz_is_that_of_segmentation_models_pytorch(absent):
    from segmentation_models_pytorch.losses import LovaszLoss

    torch.manual_seed(0)
    logits = 3 * torch.randn(2, 5, 61, 47)
    labels = (logits + torch.randn_like(logits)).argmax(1)
    labels[:, :3] = VOID
    labels[labels == 2] = 1 if absent else 2
    ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    value, expected = lovasz_softmax(ours, labels), LovaszLoss("multiclass", ignore_index=VOID)(theirs, labels)
    torch.testing.assert_close(value, expected)
    value.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, atol=0.01 * theirs.grad.abs().max().item(), rtol=0.01)


@pytest.mark.parametrize("term", ["cross_entropy", "ohem", "dice", "focal", "lovasz"])
def test_nothing_but_void_is_a_loss_of_zero_with_gradients(term):
    logits = torch.randn(2, 3, 4, 4, requires_grad=True)
    labels = torch.full((2, 4, 4), VOID, dtype=torch.uint8)
    value = whole(SegmentationLoss(3, {term: 1.0}), logits, labels)
    value.backward()
    assert value == 0
    assert (logits.grad == 0).all()


def test_a_wrong_number_of_class_weights_is_refused():
    with pytest.raises(ValueError, match="class_weights has 2 numbers; the data set has 3 classes"):
        SegmentationLoss(3, class_weights=[1.0, 2.0])


def test_the_auxiliary_heads_loss_is_added_with_its_weight():
    torch.manual_seed(0)
    loss, labels = SegmentationLoss(3), torch.randint(3, (2, 4, 5))
    totals = loss.counts(labels)
    logits, auxiliary = torch.randn(2, 2, 3, 4, 5)
    expected = loss(logits, labels, totals) + 0.3 * loss(auxiliary, labels, totals)
    torch.testing.assert_close(with_auxiliary(loss, Outputs(logits, auxiliary), labels, totals, weight=0.3), expected)
    assert torch.equal(with_auxiliary(loss, logits, labels, totals, weight=0.3), loss(logits, labels, totals))
