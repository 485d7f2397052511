"""Losses of a segmentation network: per-pixel logits against label maps in which void pixels do not count.

The loss is a weighted sum of terms. It is computed in parts, one per batch. They *add up* to the loss of all that one optimizer step sees,
over all accumulated batches and all processes. The cross entropy is the mean over the valid pixels of the global batch, however that was
cut up. A mean of the parts' own means would differ: a pixel would have more weight where a part has more void. Every other term (dice,
focal, Lovasz, hard-example mining, a user's own) is a mean over its part, and is weighted with the part's share of the valid pixels.

Sources: OHEM: Shrivastava et al. 2016, arXiv:1604.03540, per pixel as in Wu et al. 2016, arXiv:1605.06885. Dice: Milletari et al. 2016,
arXiv:1606.04797. Focal: Lin et al. 2017, arXiv:1708.02002. These two are segmentation-models-pytorch's. Lovasz-softmax: Berman et al. 2018,
arXiv:1705.08790, in ``lovasz.py``.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.core.labels import void_index
from fcn.core.registry import build, find, register
from fcn.core.settings import interval, nonnegative
from fcn.models.segmenter import Outputs
from fcn.training.lovasz import lovasz_softmax
from fcn.training.terms import CROSS_ENTROPY, check_terms

Term = Callable[[Tensor, Tensor], Tensor]  # (logits (N, C, H, W), labels (N, H, W)) -> mean over the batch


class SegmentationLoss(nn.Module):
    """A weighted sum of terms; see the head of this file for how the parts add up.

    class_weights: weight of each class in cross_entropy and ohem, as [0.5,1,1]; auto: by median frequency balancing; null: all equal.

    terms: weight of each term, by its name. options: settings of the terms, as ``{"ohem": {"keep": 0.1}}``. Raises UserError for unknown
    terms and options, where the number of class weights is not ``num_classes``, and where nothing would be learnt from.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        num_classes: int,
        terms: Mapping[str, float] | None = None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        class_weights: Annotated[list[float], nonnegative()] | Literal["auto"] | None = None,
    ) -> None:
        super().__init__()
        if isinstance(class_weights, str):
            raise UserError(f"class_weights={class_weights!r} is for a training, which counts the classes; here give a number for each")
        weights = {name: weight for name, weight in (terms or {CROSS_ENTROPY: 1.0}).items() if weight}
        if class_weights is not None and len(class_weights) != num_classes:
            raise UserError(f"class_weights has {len(class_weights)} numbers; the data set has {num_classes} classes: give one for each")
        check_terms(weights, options or {}, class_weights=class_weights is not None)
        takers = [name for name in weights if "class_weights" in find("loss", name).own]
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32))
        self.void = void_index(num_classes)
        self.cross_entropy = weights.pop(CROSS_ENTROPY, 0.0)
        self.terms: list[tuple[float, Term]] = []
        for name, weight in weights.items():
            given = dict((options or {}).get(name, {})) | ({"class_weights": class_weights} if name in takers else {})
            self.terms.append((weight, build("loss", name, **given)))
        self.parts = nn.ModuleList(term for _, term in self.terms if isinstance(term, nn.Module))

    def counts(self, labels: Tensor) -> Tensor:
        """(2,) float64: the valid pixels of ``labels`` (N, H, W) and the sum of their class weights, what the parts are divided by."""
        valid = labels[labels != self.void]
        total = torch.tensor(float(valid.numel()), dtype=torch.float64, device=labels.device)
        weights = total if self.class_weights is None else self.class_weights.to(torch.float64)[valid.long()].sum()
        return torch.stack([total, weights])

    def forward(self, logits: Tensor, labels: Tensor, totals: Tensor) -> Tensor:
        """The share of this batch in the loss of the whole step.

        logits (N, num_classes, H, W) of any float type, labels (N, H, W) integer; totals (2,): ``counts`` summed over the batches of
        the step.
        """
        logits, labels = logits.float(), labels.long()
        pixels, weights = totals.to(logits.dtype).clamp(min=torch.finfo(logits.dtype).tiny)
        loss = logits.sum() * 0.0 if not self.cross_entropy else logits.new_zeros(())
        if self.cross_entropy:
            scores, truth = (logits.permute(0, 2, 3, 1).flatten(0, 2), labels.flatten()) if pixels_lie_last(logits) else (logits, labels)
            total = F.cross_entropy(scores, truth, weight=self.class_weights, ignore_index=self.void, reduction="sum")
            loss = loss + self.cross_entropy * total / weights
        share = (labels != self.void).sum() / pixels
        if self.terms and share > 0:
            for weight, term in self.terms:
                loss = loss + weight * term(logits, labels) * share
        return loss


def pixels_lie_last(logits: Tensor) -> bool:
    """Whether the classes of a pixel lie side by side, and fill the processor's vectors: then torch is faster pixel by pixel, else along
    dimension 1 (by a third and more, on a CPU)."""
    return logits.shape[1] >= 16 and logits.is_contiguous(memory_format=torch.channels_last)


@register("loss", "cross_entropy")
class CrossEntropy(nn.Module):
    """Cross entropy, averaged over the valid pixels."""

    weights: Tensor | None

    def __init__(self, *, class_weights: list[float] | None) -> None:
        super().__init__()
        self.register_buffer("weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32))

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, weight=self.weights, ignore_index=void_index(logits.shape[1]))


@register("loss", "ohem")
class HardExamples(nn.Module):
    """Cross entropy of the hardest pixels only.

    threshold: upper bound of the true class's probability; easier pixels are left out.
    keep: lower bound of the share of pixels that are kept.
    """

    weights: Tensor | None

    def __init__(
        self,
        *,
        class_weights: list[float] | None,
        threshold: Annotated[float, interval(0, 1)] = 0.7,
        keep: Annotated[float, interval(0, 1)] = 0.0625,
    ) -> None:
        super().__init__()
        self.register_buffer("weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32))
        self.threshold, self.keep = threshold, keep

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        void = void_index(logits.shape[1])
        losses = F.cross_entropy(logits, labels, weight=self.weights, ignore_index=void, reduction="none")
        valid = labels != void
        with torch.no_grad():
            true = logits.detach().softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0][valid]
            fewest = max(1, int(self.keep * true.numel()))
            limit = torch.clamp(true.kthvalue(fewest).values, min=self.threshold)
        return losses[valid][true <= limit].mean()


@register("loss", "dice")
def dice() -> Term:
    """One minus the soft Dice coefficient, averaged over all classes; one that does not occur counts 0."""
    from segmentation_models_pytorch.losses import DiceLoss

    return without_void(DiceLoss)


@register("loss", "focal")
def focal() -> Term:
    """Focal loss of each class against the rest (by sigmoid), summed over the classes: pixels that are surely right count less."""
    from segmentation_models_pytorch.losses import FocalLoss

    return without_void(FocalLoss)


@register("loss", "lovasz")
def lovasz() -> Term:
    """Lovasz-softmax: a convex surrogate of the intersection over union."""
    return lovasz_softmax


def without_void(loss: Callable[..., Term]) -> Term:
    """A loss of segmentation-models-pytorch over several classes, whose void is that of their number."""
    return lambda logits, labels: loss("multiclass", ignore_index=void_index(logits.shape[1]))(logits, labels)


def with_auxiliary(loss: SegmentationLoss, outputs: Tensor | Outputs, labels: Tensor, totals: Tensor, *, weight: float) -> Tensor:
    """The loss of a network's outputs in training; where it has an auxiliary head, plus ``weight`` times that head's."""
    if isinstance(outputs, Tensor):
        return loss(outputs, labels, totals)
    return loss(outputs.logits, labels, totals) + weight * loss(outputs.auxiliary, labels, totals)
