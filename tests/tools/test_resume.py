"""Whether a checkpoint is of the run whose settings and data are there."""

from dataclasses import asdict

import pytest

from fcn.cli.composing import compose
from fcn.core.labels import LabelSet
from fcn.models.spec import ModelSpec
from fcn.tools.train.resume import check_same, read_last

LABELS = LabelSet(("ground", "road", "sky"))
WORDS = ("model=unet", "backbone=resnet18", "upsample=bilinear")


def checkpoint():
    options = {"channels": None, "dropout": 0.0, "align": False, "aux": False, "aux_weight": 0.5, "aux_level": None, "stride": None}
    spec = ModelSpec("unet", "resnet18", "bilinear", 3, None, options, {"taps": None}, {"conv": False})
    return {"spec": asdict(spec), "labels": {"names": list(LABELS.names)}}


def test_the_same_settings_and_classes_go_on():
    check_same(compose("train", [*WORDS]), checkpoint(), LABELS)


@pytest.mark.parametrize(
    ("words", "names", "reason"),
    [
        (["model=fcn8s"], LABELS.names, "model=unet (now fcn8s)"),
        (["backbone=resnet34"], LABELS.names, "backbone=resnet18 (now resnet34)"),
        (["upsample=nearest"], LABELS.names, "upsample=bilinear (now nearest)"),
        (["model.dropout=0.5"], LABELS.names, "model.dropout=0.0 (now 0.5)"),
        (["upsample.conv=true"], LABELS.names, "upsample.conv=False (now True)"),
        ([], ("ground", "sky", "road"), "the classes ground, road, sky (now ground, sky, road)"),
    ],
)
def test_others_are_refused(words, names, reason):
    chosen = {word.partition("=")[0]: word for word in [*WORDS, *words]}
    with pytest.raises(ValueError, match="of this run") as raised:
        check_same(compose("train", list(chosen.values())), checkpoint(), LabelSet(names))
    assert reason in str(raised.value)


def test_a_training_of_a_comparison_without_its_last_checkpoint_is_trained_anew_by_hand_only(tmp_path):
    cell = tmp_path / "cells" / "nearest-0"
    cell.mkdir(parents=True)
    assert read_last(cell) is None  # cut before it wrote anything
    (tmp_path / "config.yaml").touch()
    (cell / "best.pt").touch()
    with pytest.raises(ValueError, match=rf"no last\.pt .*move its folder {cell} away, then fcn compare resume={tmp_path}"):
        read_last(cell)
