"""What changes while a run goes on, and how it is taken over from a checkpoint, bit for bit."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, cast

import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from fcn.core.errors import UserError
from fcn.models.pretrained import fit_state_dict
from fcn.models.segmenter import Segmenter
from fcn.models.weight_files import is_state_dict
from fcn.training.batches import Plan
from fcn.training.optim import keeps_moments, load_optimizer

_NEWER = ("losses", "stale")  # entries that older checkpoints lack
_AGAIN = "resume with the same settings, or start a new run"


@dataclass
class State:
    """What changes while a run goes on."""

    model: Segmenter
    optimizer: torch.optim.Optimizer
    average: AveragedModel | None = None
    step: int = 0  # steps done
    best: float = -math.inf  # the highest mIoU so far
    losses: list[float] = field(default_factory=list)  # of the steps since the last record
    stale: int = 0  # validations since the best one

    @property
    def scored(self) -> Segmenter:
        """The model that is scored and kept: the moving average where there is one."""
        return self.model if self.average is None else cast(Segmenter, self.average.module)

    def checkpoint(self, plan: Plan) -> dict[str, Any]:
        return {
            "plan": asdict(plan),
            "optimizer": self.optimizer.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
            "step": self.step,
            "best": self.best,
            "losses": list(self.losses),
            "stale": self.stale,
        }

    def restore(self, state: dict[str, Any], plan: Plan, origin: str) -> None:
        """Take over a checkpoint's ``weights`` and ``training`` entries; origin: its name, for messages.

        Raises UserError where it was made under another plan or with other parts, or where an entry is none that a run writes.
        """
        training = state.get("training")
        check_training(training, plan, origin)
        assert training is not None
        changed = [f"{key} {value} (now {getattr(plan, key)})" for key, value in training["plan"].items() if getattr(plan, key) != value]
        if (training["average"] is None) != (self.average is None):
            changed.append("ema (now none)" if self.average is None else "no ema (now with it)")
        if changed:
            raise UserError(f"{origin} cannot be resumed: it began with {', '.join(changed)}; {_AGAIN}")
        fit_state_dict(self.model, state["weights"], origin)
        try:
            if training["step"] and not training["optimizer"].get("state") and keeps_moments(self.optimizer):
                raise UserError(f"it lacks the moments of {training['step']} steps")
            load_optimizer(self.optimizer, training["optimizer"])
        except ValueError as error:
            raise UserError(f"the optimizer in {origin} is not the one of this run: {error}; {_AGAIN}") from error
        if self.average is not None:
            fit_state_dict(self.average, training["average"], origin)
        self.step, self.best, self.losses = training["step"], training["best"], list(training.get("losses", []))
        self.stale = training.get("stale", 0)


def check_training(training: Any, plan: Plan, origin: str) -> None:
    """Raises UserError where the entry ``training`` of a checkpoint does not have what ``State.checkpoint`` writes."""

    def fits(key: str, value: Any) -> bool:
        if key == "plan":
            return isinstance(value, dict) and value.keys() == asdict(plan).keys()
        if key in ("step", "stale"):
            return type(value) is int and value >= 0
        if key == "best":
            return isinstance(value, float) and (value == -math.inf or 0 <= value <= 1)
        if key == "average":
            return value is None or is_state_dict(value)
        if key == "losses":
            return isinstance(value, list) and all(isinstance(loss, float) and math.isfinite(loss) for loss in value)
        return isinstance(value, dict)

    if not isinstance(training, dict):
        raise UserError(f"{origin} does not hold what a run goes on from (no entry training); give the folder of a run with its last.pt")
    for key in ("plan", "optimizer", "average", "step", "best", "losses", "stale"):
        if key not in training and key not in _NEWER:
            raise UserError(f"{origin} is damaged, or of another version of fcn: the entry training lacks {key}")
        if key in training and not fits(key, training[key]):
            raise UserError(f"{origin} is damaged, or of another version of fcn: {key} in the entry training is {training[key]!r:.60}")
    if training["plan"] == asdict(plan) and training["step"] > plan.steps:
        raise UserError(f"{origin} is damaged: it is of step {training['step']}, and the run has {plan.steps}")


def moving_average(model: Segmenter, decay: float) -> AveragedModel:
    """An exponential moving average of the weights and buffers (Tarvainen and Valpola 2017, arXiv:1703.01780)."""
    return AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
