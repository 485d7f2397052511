"""What a comparison adds up to: by hand, or pixel by pixel."""

import json
from statistics import fmean

import numpy as np
import pytest
import torch
from torch import nn

from fcn.core.labels import VOID, LabelSet
from fcn.models.segmenter import create_model
from fcn.models.upsample import create_upsampler
from fcn.tools.compare import cells
from fcn.tools.compare.cells import (
    QUALITY,
    costs,
    equalities,
    final_model,
    latency,
    multiply_adds,
    read_results,
    score_cell,
    spread,
    summarize,
)
from fcn.tools.compare.equal import AUGMENTED, BACKBONE, DECODER, KINDS, ORDER, STEP_SIZE, STEPS
from fcn.tools.compare.settings import CompareConfig, Comparison, folder_name
from fcn.tools.measure import Timing
from fcn.training.batches import Plan
from fcn.training.checkpoint import model_state, save_checkpoint
from fcn.training.devices import create_accelerator
from fcn.training.state import State, moving_average
from tests.tools.compare.drawn import Drawn

# --- one cell ---


class TestFinalModel:
    @pytest.fixture
    def state(self):
        """A network after a step that changed every number of it, with the mean of before and after as its average."""
        torch.manual_seed(0)
        model = create_model("fcn8s", backbone="compact", num_classes=3)
        average = moving_average(model, 0.5)
        average.update_parameters(model)
        with torch.no_grad():
            for value in model.state_dict().values():
                value += 1
        average.update_parameters(model)
        return State(model, torch.optim.SGD(model.parameters(), 0.1), average)

    @pytest.mark.parametrize("averaged", [True, False])
    def test_is_the_moving_average_where_there_is_one(self, state, averaged, tmp_path):
        if not averaged:
            state.average = None
        labels = LabelSet(("ground", "disk", "wire"))
        save_checkpoint({**model_state(state.model, labels), "training": state.checkpoint(Plan(8, 2, 1))}, tmp_path / "last.pt")
        found = final_model(tmp_path)
        offset = -0.5 if averaged else 0.0
        for name, value in state.model.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(found.state_dict()[name], value + offset, rtol=0, atol=1e-5)
        assert not found.training
        assert found.labels == labels


CLASSES = ("ground", "disk", "wire", "rail", "mast", "ghost")  # no mast anywhere, a ghost in predictions only
WIDTHS = [(2, 1), (1, 1)]  # of the bands, 2 % and 1 % of the diagonals, 120 and 40 pixels


def blocks(seed, rows, columns, values):
    return np.random.default_rng(seed).choice(np.array(values, np.uint8), (rows, columns)).repeat(8, 0).repeat(8, 1)


@pytest.fixture(scope="module")
def drawn():
    """A split of two images, and label maps that miss it here and there."""
    truths = [blocks(0, 9, 12, [0, 1, 2]), blocks(1, 3, 4, [0, 2, 3])]
    guesses = [np.roll(truths[0], (1, 3), (0, 1)), np.roll(truths[1], 1, 0)]
    guesses[0][20:30, 20:30] = CLASSES.index("ghost")
    truths[0][14:19, 30:50] = VOID
    return Drawn(CLASSES, truths), guesses


def score(split, guesses, thin=()):
    def strategy(model, image):
        return torch.from_numpy(guesses[image[0, 0, 0]])

    return score_cell(nn.Identity(), split, strategy, create_accelerator("cpu", "fp32"), thin=thin, workers=0)


def at_edge(labels, row, column, width, *, border=False):
    """Whether a pixel has another label, or, with ``border``, the outside, within ``width`` pixels of it."""
    square = labels[max(0, row - width) : row + width + 1, max(0, column - width) : column + width + 1]
    return (border and square.size < (2 * width + 1) ** 2) or (square != labels[row, column]).any()


def overlaps(truths, guesses):
    """The IoU of each class by sets of pixels: of all, of the two bands, and of the truth's narrow band."""
    sets = {kind: [(set(), set()) for _ in CLASSES] for kind in ("all", "boundary", "band")}
    for index, (truth, guess, (wide, narrow)) in enumerate(zip(truths, guesses, WIDTHS, strict=True)):
        seen = np.where(truth == VOID, VOID, guess)
        for row, column in np.argwhere(truth != VOID):
            edges = [at_edge(labels, row, column, wide, border=True) for labels in (truth, seen)]
            for kind, inside in (("all", [True, True]), ("boundary", edges), ("band", 2 * [at_edge(truth, row, column, narrow)])):
                for which, labels in enumerate((truth, guess)):
                    if inside[which]:
                        sets[kind][labels[row, column]][which].add((index, row, column))
    return {kind: [len(one & other) / len(one | other) if one | other else None for one, other in pairs] for kind, pairs in sets.items()}


def mean(values):
    return fmean(value for value in values if value is not None)


class TestScoreCell:
    def test_equals_sets_of_pixels(self, drawn):
        split, guesses = drawn
        found, _ = score(split, guesses)
        expected = overlaps([truth.numpy() for truth in split.truths], guesses)
        assert [found["classes"][name]["iou"] for name in CLASSES] == pytest.approx(expected["all"])
        assert [found["boundary_iou_of_classes"][name] for name in CLASSES] == pytest.approx(expected["boundary"])
        assert found["miou"] == pytest.approx(mean(expected["all"]))
        assert found["boundary_iou"] == pytest.approx(mean(expected["boundary"]))
        assert found["band_iou"] == pytest.approx(mean(expected["band"]))

    def test_a_class_that_does_not_occur_has_no_score(self, drawn):
        found, _ = score(*drawn)
        assert found["classes"]["mast"]["iou"] is found["boundary_iou_of_classes"]["mast"] is None
        assert found["classes"]["ghost"]["iou"] == found["boundary_iou_of_classes"]["ghost"] == 0

    @pytest.mark.parametrize(
        ("thin", "occur"),
        [(["wire"], ["wire"]), (["wire", "rail"], ["wire", "rail"]), (["mast", "rail"], ["rail"]), (["mast"], []), ([], [])],
    )
    def test_thin_iou_is_the_mean_of_the_thin_classes_that_occur(self, drawn, thin, occur):
        found, _ = score(*drawn, thin)
        assert found["thin_iou"] == (pytest.approx(fmean(found["classes"][name]["iou"] for name in occur)) if occur else None)

    def test_no_edge_no_band_iou(self):
        flat = np.zeros((8, 8), np.uint8)
        found, _ = score(Drawn(CLASSES, [flat]), [flat])
        assert (found["miou"], found["boundary_iou"], found["band_iou"]) == (1, 1, None)

    @pytest.mark.parametrize(("most", "chosen"), [(2, [0, 2]), (3, [0, 1, 3]), (60, [0, 1, 2, 3, 4])])
    def test_what_is_kept_is_spread_over_the_split(self, monkeypatch, most, chosen):
        monkeypatch.setattr(cells, "KEPT", most)
        guesses = [np.full((3, 4), index, np.uint8) for index in range(5)]
        _, kept = score(Drawn(CLASSES, [np.zeros((3, 4), np.uint8)] * 5), guesses)
        assert list(kept) == [str(index) for index in chosen]
        for index in chosen:
            np.testing.assert_array_equal(kept[str(index)], guesses[index])


class TestCosts:
    def find(self, folder, speeds):
        """The costs of a convolution and an up-sampler."""
        at = {"step": 1, "epoch": 1}
        lines = [{"kind": "train", **at, "loss": 1.0, "lr": 0.1, "images_per_second": speed} for speed in speeds]
        lines.insert(2, {"kind": "val", **at, "miou": 0.5, "pixel_accuracy": 0.5, "mean_accuracy": 0.5})
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        up = create_upsampler("transposed")(2, 2, 2)
        return costs(nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), up), folder, torch.zeros(3, 6, 8))

    def test_latency_is_the_median_of_passes(self, monkeypatch):
        """Timed by a watch of the test's own."""
        passes = []

        def in_turns(calls, **_):
            calls["pass"]()
            return {"pass": Timing((0.1, 0.9, 0.2))}

        monkeypatch.setattr(cells, "time_in_turns", in_turns)
        model, image = nn.Identity(), torch.zeros(3, 6, 8)
        assert latency(model, image, lambda *arguments: passes.append(arguments), create_accelerator("cpu", "fp32")) == 0.2
        assert passes == [(model, image)]

    def test_by_hand(self, tmp_path):
        found = self.find(tmp_path, [1, 40, 10, 20])
        convolution, own = 2 * 3 * 3**2, 2 * 2 * 4**2
        assert found == {
            "parameters": convolution + 2 + own,
            "upsampler_parameters": own,
            "multiply_adds": convolution * 6 * 8 + own * (6 + 2) * (8 + 2),  # one cell is repeated round the map
            "image_size": [6, 8],
            "images_per_second": 20,  # of 40, 10 and 20
        }

    def test_one_speed_is_taken_though_it_is_the_first(self, tmp_path):
        assert self.find(tmp_path, [7])["images_per_second"] == 7

    def test_a_network_whose_graph_cannot_be_read_has_no_multiply_adds(self):
        class Spectrum(nn.Conv2d):
            def forward(self, x):
                return torch.fft.fft2(super().forward(x)).real

        assert multiply_adds(Spectrum(3, 2, 3), 6, 8) is None


# --- all cells ---


def comparison(compared, seeds=(0, 1, 2)):
    return Comparison(CompareConfig(seeds=list(seeds)), compared, {}, [])


def keep(folder, training, seed, start, scored):
    """The files of a finished cell."""
    folder.mkdir(parents=True)
    scores = {name: {"quality": {"miou": miou}, "latency_seconds": miou / 10, "kept": "kept.npz"} for name, miou in scored.items()}
    result = {"training": training, "seed": seed, "scored": scores, "cost": {"parameters": 5}, "files": {}}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "start.json").write_text(json.dumps({"checkerboard": None, "equal": start}))


START = {BACKBONE: {"a": "1"}, DECODER: {"b": "1"}, STEPS: 8, STEP_SIZE: 2, ORDER: "1", AUGMENTED: "1"}


class TestReadResults:
    def test_tells_what_is_finished_from_what_failed_and_what_was_not_begun(self, tmp_path):
        keep(tmp_path / "cells" / "bilinear-0", "bilinear", 0, START, {"bilinear": 0.5})
        failed = tmp_path / "cells" / "bilinear-1"
        failed.mkdir()
        (failed / "error.txt").write_text("no luck today\n")
        results, reasons = read_results(tmp_path, comparison({"upsample": ["bilinear"]}))
        assert list(results) == ["bilinear-0"]
        assert results["bilinear-0"]["quality"] == {"miou": 0.5}
        assert reasons == {"bilinear-1": "no luck today", "bilinear-2": "it was not begun"}

    def test_a_training_that_was_scored_twice_is_two_results(self, tmp_path):
        found = comparison({"loss.dice": ["0", "1"], "inference.flip": ["false", "true"]}, [3])
        assert found.cells == ["loss.dice=0-3", "loss.dice=1-3"]
        for dice, scores in (("0", (0.5, 0.6)), ("1", (0.7, 0.8))):
            names = [f"loss.dice={dice},inference.flip={flip}" for flip in ("false", "true")]
            keep(tmp_path / "cells" / f"loss.dice={dice}-3", f"loss.dice={dice}", 3, START, dict(zip(names, scores, strict=True)))
        results, failed = read_results(tmp_path, found)
        assert failed == {}
        assert [one["quality"]["miou"] for one in results.values()] == [0.5, 0.6, 0.7, 0.8]
        assert [one["cost"]["latency_seconds"] for one in results.values()] == pytest.approx([0.05, 0.06, 0.07, 0.08])
        assert [one["variant"] for one in results.values()] == list(found.choices)
        assert {one["cell"] for one in results.values()} == set(found.cells)
        assert equalities(tmp_path, found, found.cells) == dict.fromkeys(KINDS, True)

    def test_what_must_be_equal_depends_on_what_two_trainings_differ_in(self, tmp_path):
        """fcn8s and unet have other decoders; the two with dice are of one model, and one of them started from another decoder."""
        found = comparison({"model": ["fcn8s", "unet"], "loss.dice": ["0", "1"]}, [0])
        decoders = {"fcn8s,loss.dice=0": "1", "fcn8s,loss.dice=1": "1", "unet,loss.dice=0": "2", "unet,loss.dice=1": "3"}
        for name, weight in decoders.items():
            keep(tmp_path / "cells" / f"{name}-0", name, 0, START | {DECODER: {"b": weight}}, {name: 0.5})
        results, failed = read_results(tmp_path, found)
        assert set(results) == {f"{name}-0" for name in list(decoders)[:3]}
        assert "unet,loss.dice=0-0 and unet,loss.dice=1-0 did not start equal: their weights of the decoder" in failed["unet,loss.dice=1-0"]
        assert equalities(tmp_path, found, [one["cell"] for one in results.values()]) == dict.fromkeys(KINDS, True) | {DECODER: False}


class TestComparison:
    def test_a_grid_by_hand(self):
        found = comparison({"model": ["fcn8s", "unet"], "loss.dice": ["0", "1"], "inference.flip": ["false", "true"]}, [0, 5])
        assert len(found.choices) == 8
        assert found.baseline == "fcn8s,loss.dice=0,inference.flip=false"
        assert found.cells[:4] == ["fcn8s,loss.dice=0-0", "fcn8s,loss.dice=1-0", "unet,loss.dice=0-0", "unet,loss.dice=1-0"]
        assert len(found.cells) == 8
        assert found.training_of("unet,loss.dice=1-5") == ("unet,loss.dice=1", 5)
        assert found.trainings["unet,loss.dice=1"] == [f"unet,loss.dice=1,inference.flip={flip}" for flip in ("false", "true")]
        assert found.differing("unet,loss.dice=1-5", "fcn8s,loss.dice=1-5") == ["model"]

    def test_what_is_scored_only_is_trained_once(self):
        found = comparison({"inference": ["whole", "stream"]}, [0, 1])
        assert found.cells == ["training-0", "training-1"]
        assert found.trainings == {"training": ["whole", "stream"]}

    def test_names_are_those_of_files_and_differ(self):
        names = ["model.weights=a/b.pt", "model.weights=a_b.pt", "augment.scale=[0.5,2]"]
        assert [folder_name(name, names) for name in names] == ["model.weights=a_b.pt", "model.weights=a_b.pt_2", "augment.scale=_0.5,2_"]


def cell(upsample, seed, miou, boundary, band, thin, *, before=0.0, after=0.0, cost=1.0, multiply_adds=None, memory=None):
    return {
        "variant": upsample,
        "seed": seed,
        "quality": dict(zip(QUALITY, (miou, boundary, band, thin), strict=True)),
        "checkerboard": {"before": before, "after": after},
        "cost": {
            "parameters": 100 * cost,
            "upsampler_parameters": 10 * cost,
            "multiply_adds": multiply_adds,
            "images_per_second": cost,
            "latency_seconds": cost / 100,
            "peak_memory": memory,
        },
    }


CELLS = [  # the baseline's cell of seed 3 is missing
    cell("nearest", 0, 0.60, 0.40, 0.50, None, after=0.1, cost=1, memory=7),
    cell("nearest", 1, 0.62, 0.38, 0.52, 0.23, after=0.2, cost=2),
    cell("nearest", 2, 0.67, 0.33, 0.57, 0.26, after=0.6, cost=9, memory=9),
    cell("nearest", 3, 0.99, 0.99, 0.99, 0.99, after=0.3, cost=4, memory=2),
    cell("bilinear", 0, 0.50, 0.50, 0.47, 0.20, cost=3, multiply_adds=8),
    cell("bilinear", 1, 0.52, 0.48, 0.49, 0.21, cost=1, multiply_adds=8),
    cell("bilinear", 2, 0.54, 0.46, 0.51, None, cost=1, multiply_adds=8),
]
METHODS = ["bilinear", "nearest", "carafe"]


class TestSummarize:
    @pytest.fixture
    def summary(self):
        results = {f"{one['variant']}-{one['seed']}": one for one in reversed(CELLS)}
        return summarize(results, METHODS, "bilinear")

    def test_names_the_methods_that_have_a_cell_in_their_order(self, summary):
        assert list(summary) == ["bilinear", "nearest"]
        assert summary["bilinear"]["seeds"] == [0, 1, 2]
        assert summary["nearest"]["seeds"] == [0, 1, 2, 3]

    def test_mean_and_deviation(self, summary):
        assert summary["bilinear"]["miou"] == {"mean": pytest.approx(0.52), "deviation": pytest.approx(0.02), "values": [0.50, 0.52, 0.54]}
        assert summary["nearest"]["miou"]["mean"] == pytest.approx((0.60 + 0.62 + 0.67 + 0.99) / 4)
        assert summary["nearest"]["thin_iou"]["mean"] == pytest.approx((0.23 + 0.26 + 0.99) / 3)
        assert summary["nearest"]["thin_iou"]["values"] == [None, 0.23, 0.26, 0.99]
        assert summary["nearest"]["checkerboard_after"]["mean"] == pytest.approx(0.3)
        assert summary["nearest"]["checkerboard_before"]["mean"] == 0

    @pytest.mark.parametrize(
        ("key", "center", "verdict"), [("miou", 0.11, "higher"), ("boundary_iou", -0.11, "lower"), ("band_iou", 0.04, "not told apart")]
    )
    def test_differences_are_the_methods_less_the_baselines_of_the_same_seed(self, summary, key, center, verdict):
        """Two are alike and one is 0.03 from them: a standard error of 0.01, and Student's t of 2 degrees of freedom is 4.3027."""
        found = summary["nearest"][f"{key}_difference"]
        assert found == {
            "mean": pytest.approx(center),
            "pairs": 3,
            "low": pytest.approx(center - 0.043027, abs=1e-6),
            "high": pytest.approx(center + 0.043027, abs=1e-6),
            "verdict": verdict,
        }

    def test_a_pair_of_which_either_has_no_score_does_not_count(self, summary):
        found = summary["nearest"]["thin_iou_difference"]
        assert found == {"mean": pytest.approx(0.02), "pairs": 1, "low": None, "high": None, "verdict": "too few seeds"}

    def test_the_baseline_differs_from_nothing(self, summary):
        assert not any(key.endswith("difference") for key in summary["bilinear"])

    def test_without_a_common_seed_there_is_no_difference(self):
        found = summarize({"a": CELLS[3], "b": CELLS[4]}, METHODS, "bilinear")
        assert found["nearest"]["miou_difference"] is None
        assert found["nearest"]["miou"]["mean"] == 0.99

    def test_costs_are_medians_of_what_is_known(self, summary):
        row = summary["nearest"]
        assert [row[key] for key in ("parameters", "upsampler_parameters", "images_per_second")] == [300, 30, 3]  # of 1, 2, 4 and 9
        assert row["latency_seconds"] == pytest.approx(0.03)
        assert row["peak_memory"] == 7  # of 2, 7 and 9
        assert row["multiply_adds"] is None
        assert [summary["bilinear"][key] for key in ("images_per_second", "multiply_adds", "peak_memory")] == [1, 8, None]


def test_spread_of_few():
    assert spread([None, None]) == {"mean": None, "deviation": None, "values": [None, None]}
    assert spread([None, 0.3]) == {"mean": 0.3, "deviation": None, "values": [None, 0.3]}
    assert spread([0.3, 0.5])["deviation"] == pytest.approx(0.02**0.5)
