"""Losses of a segmentation network: per-pixel logits against label maps in which ``VOID`` pixels do not count.

The loss is a weighted sum of terms. It is computed in parts, one per batch, that *add up* to the loss of everything which one optimizer
step sees, over all accumulated batches and all processes: the cross entropy is the mean over the valid pixels of the global batch, however
that was cut up. (A mean of the parts' own means would give a pixel more weight where a part has more void.) Terms that are no means over
pixels (dice, Lovasz, hard-example mining) are taken per part and weighted with its share of the valid pixels.

Sources: OHEM: Shrivastava et al. 2016, arXiv:1604.03540, per pixel as in Wu et al. 2016, arXiv:1605.06885. Dice: Milletari et al. 2016,
arXiv:1606.04797. Focal: Lin et al. 2017, arXiv:1708.02002. Lovasz-softmax: Berman et al. 2018, arXiv:1705.08790. The last three are
segmentation-models-pytorch's.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fcn.data.labels import VOID
from fcn.models.segmenter import Outputs

BatchTerm = Callable[[Tensor, Tensor], Tensor]  # (logits, labels) -> mean over the batch


class SegmentationLoss(nn.Module):
    """A weighted sum of terms; see the head of this file for how the parts add up.

    The keyword arguments are the weights of the terms; ``class_weights``: of the (hard-example) cross entropy, one per class, where the
    mean is then the weighted mean. Raises ValueError where the number of class weights is not ``num_classes``.
    """

    class_weights: Tensor | None

    def __init__(
        self,
        num_classes: int,
        *,
        cross_entropy: float = 1.0,
        ohem: float = 0.0,
        dice: float = 0.0,
        focal: float = 0.0,
        lovasz: float = 0.0,
        class_weights: Sequence[float] | None = None,
        ohem_threshold: float = 0.7,
        ohem_keep: float = 0.0625,
    ) -> None:
        super().__init__()
        if class_weights is not None and len(class_weights) != num_classes:
            raise ValueError(
                f"loss.class_weights has {len(class_weights)} numbers; the data set has {num_classes} classes: give one for each"
            )
        self.register_buffer("class_weights", None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32))
        self.cross_entropy = cross_entropy
        self.ohem_threshold, self.ohem_keep = ohem_threshold, ohem_keep
        self.batch_terms: list[tuple[float, BatchTerm]] = []
        if ohem:
            self.batch_terms.append((ohem, self.hard_examples))
        if dice or focal or lovasz:
            from segmentation_models_pytorch import losses

            for weight, term in ((dice, losses.DiceLoss), (focal, losses.FocalLoss), (lovasz, losses.LovaszLoss)):
                if weight:
                    self.batch_terms.append((weight, term("multiclass", ignore_index=VOID)))

    def counts(self, labels: Tensor) -> Tensor:
        """(2,) float64: the valid pixels of ``labels`` (N, H, W) and the sum of their class weights, what the parts are divided by."""
        valid = labels[labels != VOID]
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
            pixels_last = logits.permute(0, 2, 3, 1).flatten(0, 2)  # (N * H * W, num_classes): on CPUs faster than along dimension 1
            total = F.cross_entropy(pixels_last, labels.flatten(), weight=self.class_weights, ignore_index=VOID, reduction="sum")
            loss = loss + self.cross_entropy * total / weights
        share = (labels != VOID).sum() / pixels
        if self.batch_terms and share > 0:
            for weight, term in self.batch_terms:
                loss = loss + weight * term(logits, labels) * share
        return loss

    def hard_examples(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross entropy of the pixels whose true class has a probability below the threshold, or of the hardest ``keep`` share."""
        losses = F.cross_entropy(logits, labels, weight=self.class_weights, ignore_index=VOID, reduction="none")
        valid = labels != VOID
        with torch.no_grad():
            true = logits.detach().softmax(1).gather(1, labels.where(valid, 0)[:, None])[:, 0][valid]
            fewest = max(1, int(self.ohem_keep * true.numel()))
            limit = torch.clamp(true.kthvalue(fewest).values, min=self.ohem_threshold)
        hard = losses[valid][true <= limit]
        return hard.mean()


def with_auxiliary(loss: SegmentationLoss, outputs: Tensor | Outputs, labels: Tensor, totals: Tensor, *, weight: float) -> Tensor:
    """The loss of a network's outputs in training; where it has an auxiliary head, plus ``weight`` times that head's."""
    if isinstance(outputs, Tensor):
        return loss(outputs, labels, totals)
    return loss(outputs.logits, labels, totals) + weight * loss(outputs.auxiliary, labels, totals)
