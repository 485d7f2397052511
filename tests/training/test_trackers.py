"""Trackers: TensorBoard's own reader as the oracle, and packages that stand in for the others."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from fcn.training.records import Records, read_lines
from fcn.training.trackers import Tracker, check_tracker


def test_tensorboard_gets_what_the_records_get_and_a_run_that_goes_on_replaces_what_it_does_again(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for begin, losses in ((0, {2: 0.9, 4: 0.8}), (2, {4: 0.7, 6: 0.6})):
        with Records(tmp_path, step=begin, tracker=Tracker("tensorboard", tmp_path, step=begin)) as records:
            for step, loss in losses.items():
                records.add("train", step=step, epoch=step / 2, loss=loss, lr=0.1)
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    told = [(event.step, pytest.approx(event.value)) for event in events.Scalars("train/loss")]
    assert told == [(2, 0.9), (4, 0.7), (6, 0.6)] == [(line["step"], line["loss"]) for line in read_lines(tmp_path / "metrics.jsonl")]


class Service:
    """Stands in for wandb and trackio."""

    def __init__(self, fails=False):
        self.begun, self.settings, self.told, self.fails = [], {}, [], fails
        self.config = SimpleNamespace(update=lambda values, **_: self.settings.update(values))

    def init(self, **options):
        self.begun.append(options)
        return self

    def log(self, values, step):
        if self.fails:
            raise ConnectionError("no network")
        self.told.append((step, values))

    def finish(self):
        self.told.append("finished")


@pytest.fixture
def service(monkeypatch):
    service = Service()
    module = ModuleType("wandb")
    module.init, module.config = service.init, service.config
    monkeypatch.setitem(sys.modules, "wandb", module)
    return service


def test_a_training_that_goes_on_goes_on_in_the_tracker(service, tmp_path):
    first = Tracker("wandb", tmp_path, settings={"epochs": 2, "optim": {"lr": 0.1, "name": None}})
    first.log({"train/loss": 0.5}, 3)
    first.finish()
    Tracker("wandb", tmp_path, step=3, settings={"epochs": 5})
    one, other = service.begun
    assert one == other
    assert (one["project"], one["name"], one["resume"]) == ("fcn", tmp_path.name, "allow")
    assert one["id"] == json.loads((tmp_path / "tracker.json").read_text())["run"]
    assert service.settings == {"epochs": 2, "optim.lr": 0.1, "optim.name": "None"}
    assert service.told == [(3, {"train/loss": 0.5}), "finished"]


def test_a_service_that_fails_ends_no_training(service, tmp_path, caplog):
    tracker = Tracker("wandb", tmp_path)
    service.fails = True
    tracker.log({"train/loss": 0.5}, 1)
    tracker.log({"train/loss": 0.4}, 2)
    tracker.finish()
    assert caplog.text.count("wandb takes no more values (no network); the training goes on without it") == 1


def test_one_that_cannot_start_is_told(service, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["wandb"], "init", lambda **_: 1 / 0)
    with pytest.raises(ValueError, match="tracker='wandb' cannot start: division by zero; set it up, or leave it out"):
        Tracker("wandb", tmp_path)


def test_a_package_that_is_missing_is_named():
    check_tracker(None)
    with pytest.raises(ValueError, match="tracker='trackio' needs the package trackio: pip install trackio, or leave it out"):
        check_tracker("trackio")
