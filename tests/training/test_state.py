"""What a run takes over from a checkpoint: all of it, or nothing where it is another run's or damaged."""

import copy

import pytest
import torch

from fcn.models.segmenter import create_model
from fcn.training.batches import Plan
from fcn.training.optim import create_optimizer
from fcn.training.state import State, moving_average

PLAN = Plan(8, 2, 2)


def begun(optim="adamw", *, ema=False, **options):
    """A run of a small network that has done a step."""
    torch.manual_seed(0)
    model = create_model("fcn", backbone="compact", num_classes=3)
    settings = {"lr": 0.01, "head_lr_factor": 1.0, "weight_decay": 0.1} | options
    state = State(model, create_optimizer(optim, model, **settings), moving_average(model, 0.9) if ema else None)
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    state.optimizer.step()
    state.step, state.best, state.losses = 3, 0.25, [0.5, 0.125]
    return state


@pytest.fixture(scope="module")
def kept():
    state = begun()
    return {"weights": state.model.state_dict(), "training": state.checkpoint(PLAN)}


def test_all_is_taken_over(kept):
    again = begun()
    again.step, again.best, again.losses = 0, 0.0, []
    for parameter in again.model.parameters():
        torch.nn.init.zeros_(parameter)
    again.restore(kept, PLAN, "last.pt")
    assert (again.step, again.best, again.losses) == (3, 0.25, [0.5, 0.125])
    assert all(torch.equal(value, kept["weights"][name]) for name, value in again.model.state_dict().items())
    for index, values in again.optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, kept["training"]["optimizer"]["state"][index][key]) for key, value in values.items())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda state: state.pop("training"), "does not hold what a run goes on from"),
        (lambda state: state["training"].pop("plan"), "the entry training lacks plan"),
        (lambda state: state["training"].update(plan=3), "plan in the entry training is 3"),
        (lambda state: state["training"].update(step="8"), "step in the entry training is '8'"),
        (lambda state: state["training"].update(step=9), "it is of step 9, and the run has 8"),
        (lambda state: state["training"].update(best=None), "best in the entry training is None"),
        (lambda state: state["training"].update(best=7.0), "best in the entry training is 7.0"),
        (lambda state: state["training"].update(best=float("nan")), "best in the entry training is nan"),
        (lambda state: state["training"]["optimizer"].update(state={}), "lacks the moments of 3 steps"),
        (lambda state: state["training"].update(losses=[float("nan")]), "losses in the entry training"),
        (lambda state: state["training"].update(average={"x": 1}), "average in the entry training"),
        (lambda state: state["training"].update(optimizer=[]), "optimizer in the entry training"),
        (lambda state: state["training"]["optimizer"].update(param_groups=[]), "groups of parameters"),
        (lambda state: state["training"]["optimizer"]["state"].update(x={}), "an entry for the parameter 'x'"),
        (lambda state: state["training"]["optimizer"]["state"][0]["exp_avg"].fill_(float("nan")), "exp_avg of parameter 0 holds nan"),
        (lambda state: state["training"]["optimizer"]["state"][0].update(exp_avg=torch.zeros(3)), "exp_avg of parameter 0 is"),
        (lambda state: state["weights"]["mean"].fill_(float("nan")), "hold nan or infinity (mean)"),
    ],
)
def test_what_is_damaged_is_named(change, reason, kept):
    spoilt = copy.deepcopy(kept)
    change(spoilt)
    with pytest.raises(ValueError, match=r"last\.pt") as raised:
        begun().restore(spoilt, PLAN, "last.pt")
    assert reason in str(raised.value)


def test_an_optimizer_from_outside_may_keep_what_has_no_parameter_s_shape():
    """Adafactor keeps means over rows and columns."""
    state = begun()
    state.optimizer = torch.optim.Adafactor(state.model.parameters(), lr=0.01)
    state.optimizer.step()
    checkpoint = {"weights": state.model.state_dict(), "training": copy.deepcopy(state.checkpoint(PLAN))}
    again = begun()
    again.optimizer = torch.optim.Adafactor(again.model.parameters(), lr=0.01)
    again.restore(checkpoint, PLAN, "last.pt")
    for index, values in again.optimizer.state_dict()["state"].items():
        assert all(torch.equal(value, checkpoint["training"]["optimizer"]["state"][index][key]) for key, value in values.items())


@pytest.mark.parametrize(
    ("other", "plan", "reason"),
    [
        ({}, Plan(8, 2, 2, seed=1), "seed 0 (now 1)"),
        ({"ema": True}, PLAN, "no ema (now with it)"),
        ({"optim": "sgd"}, PLAN, "its momentum is 'missing' (now 0.9)"),
        ({"lr": 0.02}, PLAN, "its peak_lr is 0.01 (now 0.02)"),
        ({"weight_decay": 0.2}, PLAN, "its weight_decay is 0.1 (now 0.2)"),
        ({"betas": (0.5, 0.9)}, PLAN, "its betas is (0.9, 0.999) (now (0.5, 0.9))"),
    ],
)
def test_another_run_is_refused(other, plan, reason, kept):
    with pytest.raises(ValueError, match=r"resume with the same settings, or start a new run") as raised:
        begun(**other).restore(kept, plan, "last.pt")
    assert reason in str(raised.value)


def test_a_checkpoint_of_before_the_losses_were_kept_is_taken(kept):
    older = copy.deepcopy(kept)
    del older["training"]["losses"]
    again = begun()
    again.restore(older, PLAN, "last.pt")
    assert (again.step, again.losses) == (3, [])
