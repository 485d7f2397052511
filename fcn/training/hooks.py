"""What a training tells to functions of the caller."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fcn.models.segmenter import Segmenter


@dataclass(frozen=True)
class Step:
    """An optimizer step that was done.

    step: steps done. epoch: epochs done, with the fraction. loss: loss of the step. lr: learning rate of the step.
    """

    step: int
    epoch: float
    loss: float
    lr: float


@dataclass(frozen=True)
class Epoch:
    """An epoch that was done, with its checkpoint written.

    epoch: epochs done. step: steps done. scores: of the validation, as in ``metrics.jsonl``; None after an epoch without one. best: the
    highest mean IoU so far. model: the network in training; with ``ema``, its moving average.
    """

    epoch: int
    step: int
    scores: dict[str, Any] | None
    best: float
    model: Segmenter


@dataclass(frozen=True)
class Hooks:
    """Functions that are called after every step and every epoch, in the main process. What they raise ends the training."""

    on_step: Callable[[Step], object] | None = None
    on_epoch: Callable[[Epoch], object] | None = None


NO_HOOKS = Hooks()
