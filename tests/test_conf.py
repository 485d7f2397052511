"""The configuration files: every word of every group composes, builds and takes a step; every setting is in the schema's file."""

import os
from dataclasses import fields

import pytest
import yaml

from fcn import config
from fcn.cli import run
from fcn.composing import compose
from fcn.data import DATASETS
from fcn.help import chosen_parts, conf_folder, group_options
from fcn.inference.strategies import STRATEGIES
from fcn.models.backbones import BACKBONES
from fcn.models.segmenter import MODELS
from fcn.models.upsample import UPSAMPLERS
from fcn.training.optim import OPTIMIZERS, SCHEDULES
from tests.conftest import TINY

TABLES = {
    "model": MODELS,
    "backbone": BACKBONES,
    "upsample": UPSAMPLERS,
    "data": DATASETS,
    "optim": OPTIMIZERS,
    "schedule": SCHEDULES,
    "inference": STRATEGIES,
}


@pytest.mark.parametrize("group", TABLES)
def test_every_name_has_a_file_and_every_file_a_name(group):
    if group == "backbone":  # the well-known ones; the others take the same settings by their name alone
        assert set(group_options(group)) < set(TABLES[group])
        assert {name for name in TABLES[group] if name.startswith("vgg")} <= set(group_options(group))  # which have one more
    else:
        assert set(group_options(group)) == set(TABLES[group])
    for word in group_options(group):
        assert yaml.safe_load((conf_folder() / group / f"{word}.yaml").read_text())["name"] == word


def test_the_groups_are_the_folders():
    folders = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    assert folders == set(TABLES) == set(config.SCHEMAS) == set(chosen_parts("train"))


@pytest.mark.parametrize("command", config.COMMANDS)
def test_every_setting_of_a_command_stands_in_its_file(command):
    settings = yaml.safe_load((conf_folder() / f"{command}.yaml").read_text())
    parts = set(chosen_parts(command))
    assert set(settings) - {"defaults"} == {field.name for field in fields(config.COMMANDS[command])} - parts


@pytest.mark.parametrize(("group", "word"), [(group, word) for group in TABLES for word in group_options(group)])
def test_every_word_composes_into_its_schema(group, word):
    words = [f"{group}={word}"] + (["data.root=somewhere"] if word == "folder" else [])
    part = getattr(compose("train", words), group)
    assert part.name == word
    written = yaml.safe_load((conf_folder() / group / f"{word}.yaml").read_text())
    assert set(written) - {"defaults"} == {field.name for field in fields(part)}


def test_a_backbone_of_smp_or_timm_is_one_word():
    assert compose("train", ["backbone=efficientnet-b0", "backbone.weights=imagenet"]).backbone == config.BackboneConfig(
        "efficientnet-b0", "imagenet"
    )


def test_the_default_model_is_the_papers_family_and_values_are_typed():
    composed = compose("train", ["epochs=3", "optim.lr=1e-3", "augment.scale=[1,2]", "clip_norm=null"])
    assert (composed.epochs, composed.optim.lr, composed.augment.scale, composed.clip_norm) == (3, 1e-3, [1.0, 2.0], None)


@pytest.mark.parametrize(("words", "key", "value"), [
    (["model=smp", "arch=FPN"], "model.arch", "FPN"),
    (["output_stride=16"], "backbone.output_stride", 16),
    (["upsample=nearest", "kernel_size=5"], "upsample.kernel_size", 5),
    (["root=/my data/a,b", "data=camvid"], "data.root", "/my data/a,b"),
    (["seed=3"], "seed", 3),  # the command's own, though the data set has one as well
])  # fmt: skip
def test_a_setting_of_one_chosen_part_needs_no_dot(words, key, value):
    found = compose("train", words)
    for name in key.split("."):
        found = getattr(found, name)
    assert found == value


def test_words_with_blanks_and_signs_are_taken_as_they_are():
    composed = compose("predict", ["checkpoint=/my runs/a=b (1).pt", "input=photos/**/*.{jpg,png}"])
    assert composed.checkpoint == "/my runs/a=b (1).pt"
    assert composed.input == "photos/**/*.{jpg,png}"
    composed = compose("predict", ["checkpoint=~/a,b.pt", "input=1_000", "output=null"])
    assert composed.checkpoint == os.path.expanduser("~/a,b.pt")
    assert (composed.input, composed.output) == ("1_000", None)


def test_null_is_taken_where_it_is_the_default():
    assert compose("evaluate", ["checkpoint=a", "data=null"]).data is None


STEP = ("data.train_count=2", "data.val_count=1", "epochs=1")


SOME_BACKBONES = ("resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "tu-resnet10t")


def choices():
    """(model, upsample, backbone): every pair of a model and an up-sampler, with a backbone in turn. Those with which every kind of model
    and every other word appears are quick, the rest is slow."""
    for place, model in enumerate(MODELS):
        for turn, upsample in enumerate(UPSAMPLERS):
            backbone = SOME_BACKBONES[(place + turn) % len(SOME_BACKBONES)]
            quick = (turn - place) % len(UPSAMPLERS) == 0 and model not in ("fcn32s", "fcn4s")  # the class of fcn8s
            marks = () if quick else pytest.mark.slow
            yield pytest.param(model, upsample, backbone, marks=marks)


@pytest.mark.parametrize(("model", "upsample", "backbone"), choices())
def test_every_model_trains_with_every_upsampler_and_several_backbones(model, upsample, backbone, tmp_path):
    parts = [f"model={model}", f"upsample={upsample}", f"backbone={backbone}"]
    if model == "smp":
        parts += ["arch=FPN", "backbone=tu-resnet10t"]
    steps = tmp_path / "run" / "metrics.jsonl"
    assert run(["train", *TINY, "data.train_count=4", "data.val_count=1", "epochs=1", *parts, f"output={tmp_path / 'run'}"]) == 0
    assert '"step": 2' in steps.read_text()


@pytest.mark.parametrize("words", [
    ["optim=sgd", "schedule=cosine", "inference=windows", "accumulate=2", "batch_size=1", "augment.crop_size=64"],
    ["loss.dice=1", "loss.ohem=0.5", "schedule=constant", "tensorboard=true", "channels_last=false"],
    ["loss.cross_entropy=0", "loss.lovasz=1", "loss.focal=1", "backbone=mobilenet_v3_small", "precision=bf16"],
    ["backbone=tu-resnet10t", "augment.crop_size=33", "augment.hue=0.1", "loss.class_weights=[1,1,1,1,1,1,2]"],
])  # fmt: skip
def test_every_other_part_trains(words, tmp_path):
    assert run(["train", *TINY, *STEP, *words, f"output={tmp_path / 'run'}"]) == 0
