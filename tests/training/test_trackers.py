"""Trackers: TensorBoard's own reader as the oracle, and packages that stand in for the others."""

import json
import sys
from types import ModuleType, SimpleNamespace

import pytest

from fcn.cli.main import run
from fcn.training.trackers import Tracker, check_tracker
from tests.conftest import TINY
from tests.training.test_train import lines


def test_tensorboard_gets_what_the_records_get(tmp_path, capsys):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    assert run(["train", *TINY, "tracker=tensorboard", f"output={tmp_path / 'run'}"]) == 0
    events = accumulator.EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    for kind, name in (("train", "loss"), ("val", "miou")):
        told = [(event.step, event.value) for event in events.Scalars(f"{kind}/{name}")]
        assert told == [(line["step"], pytest.approx(line[name])) for line in lines(tmp_path / "run", kind)]


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
def service(monkeypatch, request):
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
