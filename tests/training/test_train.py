"""Training: what a run leaves behind, going on where it was cut, and several processes as one."""

import json
import math
import os
import shutil
import time
from importlib.metadata import version

import numpy as np
import pytest
import torch
from torch import nn

from fcn.cli.main import run
from fcn.core.labels import VOID, LabelSet
from fcn.data.shapes import shapes
from fcn.models.segmenter import create_model
from fcn.models.weight_files import model_state
from fcn.tools.train.resume import read_last
from fcn.training.batches import Augmented, Plan
from fcn.training.checkpoint import load, model_from_state, read_checkpoint, save_checkpoint
from fcn.training.devices import create_accelerator
from fcn.training.losses import SegmentationLoss
from fcn.training.train import State, run_training, train_step
from tests.cli.test_commands import cut, make_folder
from tests.conftest import TINY
from tests.faults.children import attempt, begin, command, kill
from tests.two_processes import TWO_PROCESSES


def lines(folder, kind):
    return [line for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if line["kind"] == kind]


def assert_same_weights(a, b, **tolerance):
    first, second = read_checkpoint(a)["weights"], read_checkpoint(b)["weights"]
    assert first.keys() == second.keys()
    for name in first:
        if tolerance:
            torch.testing.assert_close(first[name], second[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}")
        else:
            assert torch.equal(first[name], second[name]), name


class TestWhatARunLeavesBehind:
    def test_all_files(self, tiny_run):
        left = {path.name for path in tiny_run.iterdir()}
        assert left == {"last.pt", "best.pt", "metrics.jsonl", "config.yaml", "environment.txt", "curves.png", "samples.png"}
        assert f"fcn-toolkit {version('fcn-toolkit')}\n" in (tiny_run / "environment.txt").read_text()

    def test_metrics_of_every_epoch(self, tiny_run):
        assert [line["epoch"] for line in lines(tiny_run, "val")] == [1, 2]
        assert [line["step"] for line in lines(tiny_run, "train")] == [4, 8]
        assert all(line["loss"] > 0 and line["images_per_second"] > 0 for line in lines(tiny_run, "train"))
        assert set(lines(tiny_run, "val")[0]["classes"]) == {"background", "disk", "ring", "triangle", "rectangle", "star", "wire"}

    def test_the_checkpoint_rebuilds_the_model(self, tiny_run):
        model = load(tiny_run / "best.pt")
        assert not model.training
        assert model.labels.names[-1] == "wire"
        assert torch.equal(model.state_dict()["mean"].flatten(), torch.tensor([0.485, 0.456, 0.406]))

    def test_a_run_is_never_written_over(self, tiny_run, capsys):
        assert run(["train", *TINY, f"output={tiny_run}"]) == 1
        assert f"output={tiny_run} holds something already" in capsys.readouterr().err

    def test_same_seed_same_weights_other_seed_other_weights(self, tiny_run, tmp_path):
        assert run(["train", *TINY, f"output={tmp_path / 'same'}"]) == 0
        assert_same_weights(tiny_run / "last.pt", tmp_path / "same" / "last.pt")
        assert run(["train", *TINY, "seed=1", f"output={tmp_path / 'other'}"]) == 0
        with pytest.raises(AssertionError):
            assert_same_weights(tiny_run / "last.pt", tmp_path / "other" / "last.pt")

    def test_it_ends_early_without_a_better_score(self, tmp_path, capsys):
        words = [*TINY, "epochs=12", "optim.lr=1e-7", "patience=1"]
        assert run(["train", *words, f"output={tmp_path / 'run'}"]) == 0
        scores = [line["miou"] for line in lines(tmp_path / "run", "val")]
        better = [score > max([-1, *scores[:place]]) for place, score in enumerate(scores)]
        assert better == [True] * (len(scores) - 1) + [False]
        assert f"no better mIoU for 1 validations: the training ends after epoch {len(scores)} of 12" in capsys.readouterr().err
        before = (tmp_path / "run" / "metrics.jsonl").read_text()
        assert run(["train", f"resume={tmp_path / 'run'}"]) == 0  # which has nothing left to do
        assert (tmp_path / "run" / "metrics.jsonl").read_text() == before

    def test_a_moving_average_is_what_is_kept(self, tmp_path):
        assert run(["train", *TINY, "ema=0.9", f"output={tmp_path / 'run'}"]) == 0
        last = read_checkpoint(tmp_path / "run" / "last.pt")
        average = last["training"]["average"]
        key = "decoder.scores.0.weight"
        assert not torch.equal(last["weights"][key], average[f"module.{key}"])
        best = read_checkpoint(tmp_path / "run" / "best.pt")
        if best["epoch"] == 2:
            assert torch.equal(best["weights"][key], average[f"module.{key}"])


class TestResume:
    def test_a_run_killed_again_and_again_ends_with_the_same_weights(self, tmp_path):
        """Killed with SIGKILL at moments that fall into steps, validation and the writing of checkpoints (one after every step)."""
        words = [*TINY, "epochs=3", "data.train_count=12", "ema=0.9", "save_seconds=0", "workers=1"]
        words += [
            "loss.class_weights=auto",
            "augment.focus=0.5",
            "augment.rotation=20",
            'augment.transforms=["RandomInvert(p=0.3)"]',
        ]
        assert attempt(command, str(tmp_path), "train", *words, f"output={tmp_path / 'whole'}").value == 0
        cut = tmp_path / "cut"
        call = ["train", *words, f"output={cut}"]
        kills = 0
        for awaited, delay in (("config.yaml", 0.0), ("last.pt", 0.0), ("last.pt", 0.2)):
            file = cut / awaited  # the first kill comes before the first checkpoint
            before = file.stat().st_mtime_ns if file.exists() else 0
            process, receiver = begin(command, str(tmp_path), *call)
            while process.is_alive() and not (file.exists() and file.stat().st_mtime_ns > before):
                time.sleep(0.01)
            time.sleep(delay)
            kills += process.is_alive()
            kill(process)
            receiver.close()
            call = ["train", f"resume={cut}"]
        assert kills >= 2
        if not (cut / "last.pt").exists():
            pytest.fail("no checkpoint was written")
        assert attempt(command, str(tmp_path), *call).value == 0
        assert_same_weights(tmp_path / "whole" / "last.pt", cut / "last.pt")
        whole, resumed = (read_checkpoint(tmp_path / name / "last.pt")["training"] for name in ("whole", "cut"))
        for name in whole["average"]:
            assert torch.equal(whole["average"][name], resumed["average"][name])
        assert [(line["step"], line["miou"]) for line in lines(tmp_path / "whole", "val")] == [
            (line["step"], line["miou"]) for line in lines(cut, "val")
        ]
        assert [(line["step"], line["loss"]) for line in lines(tmp_path / "whole", "train")] == [
            (line["step"], line["loss"]) for line in lines(cut, "train")
        ]
        assert not list(cut.glob(".*"))  # nothing half-written is left

    def test_what_cannot_be_resumed_is_refused(self, tiny_run, tmp_path, capsys):
        def message(*words):
            assert run(["train", *words]) == 2
            return capsys.readouterr().err

        assert "is no run: there is no" in message(f"resume={tmp_path}")
        assert "epochs=5 cannot be given with resume" in message(f"resume={tiny_run}", "epochs=5")
        (tmp_path / "config.yaml").write_text((tiny_run / "config.yaml").read_text())
        (tmp_path / "config.yaml").write_text("model: 3")
        assert "is damaged" in message(f"resume={tmp_path}")

    @pytest.fixture
    def copied(self, tiny_run, tmp_path):
        return shutil.copytree(tiny_run, tmp_path / "copied")

    def refused(self, folder, capsys):
        """The sentence that answers resume=, which leaves all files as they are."""
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert run(["train", f"resume={folder}"]) == 1
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        (sentence,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("fcn: ")]
        return sentence

    def test_a_run_without_its_last_checkpoint_does_not_begin_again_over_what_it_learnt(self, copied, capsys):
        (copied / "last.pt").write_bytes((copied / "last.pt").read_bytes()[:-999])
        start_anew = "to start a new run from its weights: fcn train ... model.weights="
        assert f"without it the run cannot go on: {start_anew}" in self.refused(copied, capsys)
        (copied / "last.pt").unlink()
        sentence = self.refused(copied, capsys)
        assert f"{copied} has no last.pt to go on from, and still holds best.pt (epoch 1, mIoU " in sentence
        assert "metrics.jsonl (4 lines), which a new start would replace" in sentence
        (copied / "best.pt").unlink()
        assert "still holds metrics.jsonl (4 lines)" in self.refused(copied, capsys)
        (copied / "metrics.jsonl").unlink()
        assert run(["train", f"resume={copied}"]) == 0  # as a run that was cut before it began

    def test_a_damaged_best_checkpoint_is_told_and_a_missing_one_replaced_if_epochs_are_to_come(self, copied, capsys):
        (copied / "best.pt").write_bytes(b"PK nonsense")
        assert "best.pt cannot be read as a checkpoint" in self.refused(copied, capsys)
        (copied / "best.pt").unlink()
        assert f"{copied} is finished and its best.pt is gone; last.pt holds the weights of the last step" in self.refused(copied, capsys)
        state = read_last(copied)
        assert (state["training"]["best"], state["training"]["stale"]) == (-math.inf, 0)

    @pytest.mark.parametrize(
        ("setting", "other", "reason"),
        [
            (
                "  name: fcn8s",
                "  name: fcn16s",
                "it has model=fcn8s (now fcn16s); undo the change",
            ),
            ("  weight_decay: 0.01", "  weight_decay: 0.5", "its weight_decay is 0.01 (now 0.5)"),
        ],
    )
    def test_a_last_checkpoint_of_other_settings_is_refused(self, setting, other, reason, copied, capsys):
        text = (copied / "config.yaml").read_text()
        assert setting in text
        (copied / "config.yaml").write_text(text.replace(setting, other))
        assert reason in self.refused(copied, capsys)

    def test_a_last_checkpoint_of_before_losses_were_kept_is_gone_on_from(self, copied):
        state = torch.load(copied / "last.pt", weights_only=True)
        del state["training"]["losses"], state["digest"]
        torch.save(state, copied / "last.pt")
        assert run(["train", f"resume={copied}"]) == 0

    def test_resuming_a_finished_run_changes_nothing(self, tiny_run):
        before = read_checkpoint(tiny_run / "last.pt")["weights"]
        assert run(["train", f"resume={tiny_run}"]) == 0
        after = read_checkpoint(tiny_run / "last.pt")["weights"]
        assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("together", TWO_PROCESSES)
def test_two_processes_equal_one_with_the_doubled_batch(together, tmp_path):
    """Losses and weights to rounding, for a network without batch statistics, with void spread unevenly; every image scored once."""
    words = [
        *TINY,
        "backbone=alexnet",
        "augment.crop_size=64",
        "epochs=1",
        "data.val_count=5",
        "optim=sgd",
        "optim.lr=0.01",
        "accumulate=2",
    ]
    well, errors = together(tmp_path, ["train", *words, "batch_size=1", f"output={tmp_path / 'two'}"])
    assert well, errors
    assert run(["train", *words, "batch_size=2", f"output={tmp_path / 'one'}"]) == 0
    for first, second in zip(lines(tmp_path / "one", "train"), lines(tmp_path / "two", "train"), strict=True):
        assert first["loss"] == pytest.approx(second["loss"], rel=1e-4)
    assert_same_weights(tmp_path / "one" / "last.pt", tmp_path / "two" / "last.pt", rtol=1e-3, atol=1e-5)
    last = f"checkpoint={tmp_path / 'two' / 'last.pt'}"
    well, errors = together(tmp_path, ["evaluate", last, "device=cpu", "workers=0", f"output={tmp_path / 'scores'}"])
    assert well, errors
    split = shapes("val", count=5)
    pixels = sum(int((split[index][1] != VOID).sum()) for index in range(5))
    assert np.sum(json.loads((tmp_path / "scores" / "metrics.json").read_text())["confusion"]) == pixels  # every image once
    trained, scored = lines(tmp_path / "two", "val")[-1], json.loads((tmp_path / "scores" / "metrics.json").read_text())
    assert all(values.items() <= scored["classes"][name].items() for name, values in trained["classes"].items())


def test_an_auxiliary_head_trains_goes_with_the_checkpoint_and_stays_out_of_the_scores(tmp_path):
    words = [
        "model=deeplabv3",
        "backbone=compact",
        "output_stride=8",
        "aux=true",
        "channels=16",
        "augment.crop_size=64",
        "epochs=1",
        f"output={tmp_path / 'run'}",
    ]
    assert run(["train", *TINY, *words]) == 0
    best = read_checkpoint(tmp_path / "run" / "best.pt")
    model = model_from_state(best)
    assert model.auxiliary is not None
    norm = model.auxiliary[1]
    assert norm.num_batches_tracked == 4
    assert (norm.weight != 1).all()  # where they start
    assert model(torch.randn(1, 3, 40, 50)).shape == (1, 7, 40, 50)
    assert run(["evaluate", f"checkpoint={tmp_path / 'run' / 'best.pt'}", "device=cpu", "workers=0", f"output={tmp_path / 'scores'}"]) == 0


def test_accumulated_batches_equal_the_large_batch():
    def step(parts):
        torch.manual_seed(0)
        model = create_model("fcn32s", backbone="alexnet", upsample="transposed", num_classes=3).eval()
        nn.init.normal_(model.decoder.scores[0].weight)
        accelerator = create_accelerator("cpu", "fp32")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(0, 256, (4, 3, 64, 64), generator=generator, dtype=torch.uint8)
        labels = torch.randint(0, 3, (4, 64, 64), generator=generator, dtype=torch.uint8)
        labels[:2, 5:] = 255
        batches = [(images[i : i + 4 // parts], labels[i : i + 4 // parts]) for i in range(0, 4, 4 // parts)]
        return train_step(model, optimizer, batches, SegmentationLoss(3), accelerator), model.state_dict()

    (loss, weights), (loss_of_parts, weights_of_parts) = step(1), step(4)
    assert loss == pytest.approx(loss_of_parts, rel=1e-5)
    for name in weights:
        torch.testing.assert_close(weights[name], weights_of_parts[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("together", TWO_PROCESSES)
def test_an_error_of_a_later_process_is_told_by_it(together, tmp_path):
    root = make_folder(tmp_path / "mine", count=4)
    cut(root / "images" / "p3.jpg")  # the only image of val is p3; of train, process 1 meets it
    (root / "train.txt").write_text("p0\np3\n")
    (root / "val.txt").write_text("p1\n")
    words = [
        "model=fcn8s",
        "backbone=compact",
        "epochs=1",
        "batch_size=1",
        "augment.crop_size=64",
        "workers=1",
        "device=cpu",
        "data=folder",
        "data.verify=none",
    ]
    well, errors = together(tmp_path, ["train", *words, f"data.root={root}", f"output={tmp_path / 'run'}"])
    assert not well
    (line,) = [line for line in errors.splitlines() if "p3.jpg" in line]
    assert line.split("fcn", 1)[1].startswith((": ", " (process 1): "))
    assert "worker" not in line


def test_a_run_is_resumed_only_as_it_was_begun(tiny_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(tiny_run, folder)
    text = (folder / "config.yaml").read_text()
    (folder / "config.yaml").write_text(text.replace("train_count: 8", "train_count: 10"))
    assert run(["train", f"resume={folder}"]) == 1
    assert "cannot be resumed: it began with samples 8 (now 10)" in capsys.readouterr().err


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path, capsys):
    words = [*TINY, "optim=sgd", "optim.lr=1e18", "clip_norm=null", "schedule=constant", "schedule.warmup=0", "save_seconds=0"]
    assert run(["train", *words, f"output={tmp_path / 'run'}"]) == 1
    error = capsys.readouterr().err
    assert "the loss became" in error or "no longer finite" in error
    assert "lower optim.lr" in error
    if (tmp_path / "run" / "last.pt").exists():  # then of a step before the ruin
        weights = read_checkpoint(tmp_path / "run" / "last.pt")["weights"]
        assert all(value.abs().max() < 1e6 for name, value in weights.items() if value.is_floating_point())


class TestCheckpoints:
    def test_what_is_no_checkpoint_is_refused(self, tmp_path, tiny_run):
        with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
            load(tmp_path / "none.pt")
        with pytest.raises(ValueError, match=r"is a folder; give .*best\.pt"):
            load(tiny_run)
        (tmp_path / "comparison" / "cells" / "nearest-0").mkdir(parents=True)
        (tmp_path / "comparison" / "cells" / "nearest-0" / "best.pt").touch()
        with pytest.raises(ValueError, match=r"is a folder; give .*comparison/cells/nearest-0/best\.pt"):
            load(tmp_path / "comparison")
        (tmp_path / "cut.pt").write_bytes((tiny_run / "best.pt").read_bytes()[:10_000])
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            load(tmp_path / "cut.pt")
        torch.save(nn.Linear(2, 2).state_dict(), tmp_path / "bare.pt")
        with pytest.raises(ValueError, match="is no checkpoint of fcn train"):
            load(tmp_path / "bare.pt")

    def test_code_in_a_checkpoint_is_not_run(self, tmp_path):
        class Evil:
            def __reduce__(self):
                return (os.mkdir, (str(tmp_path / "ran"),))

        torch.save({"format": 1, "spec": Evil()}, tmp_path / "evil.pt")
        with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
            load(tmp_path / "evil.pt")
        assert not (tmp_path / "ran").exists()

    def test_weights_of_another_network_are_refused(self, tmp_path):
        labels = LabelSet(("a", "b"))
        state = model_state(create_model("fcn8s", backbone="resnet18", num_classes=2), labels)
        state["spec"]["backbone"] = "resnet34"
        save_checkpoint(state, tmp_path / "mixed.pt")
        with pytest.raises(ValueError, match=r"mixed\.pt belong to another network: it lacks"):
            load(tmp_path / "mixed.pt")


@pytest.mark.parametrize(
    ("values", "scored", "message"),
    [((0, VOID), (0, 1), "training split hold one class"), ((0, 1), (VOID,), "validation split hold nothing")],
)
def test_nothing_to_learn_or_to_score_is_refused_from_python_too(tmp_path, values, scored, message):
    class Painted:
        labels, names = LabelSet(("a", "b")), ("x",)

        def __init__(self, values):
            self.values = torch.tensor([values], dtype=torch.uint8)

        def __len__(self):
            return 1

        def truth(self, index):
            return self.values

        def __getitem__(self, index):
            return torch.zeros(3, *self.values.shape, dtype=torch.uint8), self.values

    model = create_model("fcn8s", backbone="compact", num_classes=2)
    state = State(model, torch.optim.SGD(model.parameters(), lr=0.1))
    parts = {"loss": SegmentationLoss(2), "schedule": None, "strategy": None, "workers": 0}
    with pytest.raises(ValueError, match=message):
        run_training(
            state,
            Augmented(Painted(values), lambda *sample: sample, 0),
            Painted(scored),
            plan=Plan(1, 1, 1),
            accelerator=create_accelerator("cpu", "fp32"),
            folder=tmp_path / "run",
            **parts,
        )
    assert not (tmp_path / "run").exists()
