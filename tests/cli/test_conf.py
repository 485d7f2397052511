"""The configuration: every word of every kind composes, builds and takes a step."""

import os

import pytest

from fcn.cli.composing import compose
from fcn.cli.help import command_help
from fcn.cli.main import run
from fcn.core.conf import conf_folder, default_parts
from fcn.core.registry import KINDS, find, list_parts
from tests.conftest import TINY

GROUPS = [kind for kind in KINDS if kind not in ("loss", "reader")]  # a reader is chosen by its file


def every_word():
    """Every word of every kind; of the backbones, which share three sets of settings, one of each set is quick."""
    for group in GROUPS:
        for word in list_parts(group):
            usual = group == "backbone" and word not in ("compact", "resnet18", "vgg16", "efficientnet_b5")
            yield pytest.param(group, word, marks=pytest.mark.slow if usual else ())


@pytest.mark.parametrize(("group", "word"), every_word())
def test_every_word_composes_into_its_declared_settings(group, word):
    words = [f"{group}={word}"] + (["data.root=somewhere"] if word in ("folder", "scenes") else [])
    part = getattr(compose("train", words), group)
    assert part.name == word
    declared = {setting.name: setting.default for setting in find(group, word).settings} | (
        {"root": "somewhere"} if word in ("folder", "scenes") else {}
    )
    assert part.options() == declared


def test_only_recipes_of_known_data_sets_have_files():
    folders = {path.name for path in conf_folder().iterdir() if path.is_dir()}
    assert folders == {"data", "experiment"}
    assert {path.stem for path in (conf_folder() / "data").iterdir()} < set(list_parts("data"))


def test_every_setting_and_its_line_stand_in_the_help():
    text = command_help("train")
    for kind in default_parts("train"):
        for word in list_parts(kind):
            for setting in find(kind, word).settings:
                assert setting.help, (kind, word, setting.name)
                assert f"{kind}.{setting.name}=" in text


def test_a_backbone_of_smp_or_timm_is_one_word():
    part = compose("train", ["backbone=efficientnet-b0", "backbone.weights=imagenet"]).backbone
    assert (part.name, part.options()["weights"]) == ("efficientnet-b0", "imagenet")


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
    for place, model in enumerate(list_parts("model")):
        for turn, upsample in enumerate(list_parts("upsample")):
            backbone = SOME_BACKBONES[(place + turn) % len(SOME_BACKBONES)]
            quick = (turn - place) % len(list_parts("upsample")) == 0 and model not in (
                "fcn32s",
                "fcn16s",
                "fcn4s",
                "fcn2s",
                "deeplabv3",
                "fcn8s",
                "unet",
            )  # the classes of fcn8s and of deeplabv3plus; fcn8s is trained by TINY, unet in tests/tools/test_compare.py
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
    ["loss.dice=1", "loss.ohem=0.5", "schedule=constant", "tracker=tensorboard", "channels_last=false"],
    ["loss.cross_entropy=0", "loss.lovasz=1", "loss.focal=1", "backbone=mobilenet_v3_small", "precision=bf16"],
    ["backbone=tu-resnet10t", "augment.crop_size=33", "augment.hue=0.1", "loss.class_weights=[1,1,1,1,1,1,2]"],
])  # fmt: skip
def test_every_other_part_trains(words, tmp_path):
    assert run(["train", *TINY, *STEP, *words, f"output={tmp_path / 'run'}"]) == 0
