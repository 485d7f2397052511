"""Whole recipes by one word: ``experiment=NAME``."""

import logging

import pytest

from fcn.cli.composing import compose
from fcn.cli.experiments import headline, list_experiments, with_experiment
from fcn.cli.help import command_help
from fcn.cli.words import WrongCallError


@pytest.mark.parametrize("name", list_experiments())
def test_every_recipe_can_be_composed_and_is_listed(name):
    settings = compose("train", [f"experiment={name}", "data.root=x"])
    assert settings.epochs > 0
    assert settings.data.root == "x"
    assert " ".join(headline(name).split()) in " ".join(command_help("train").split())


def own(tmp_path, text):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    return f"experiment={file}"


def test_a_recipe_of_ones_own_and_what_counts_more(tmp_path):
    word = own(
        tmp_path, "model: fcn8s\noptim.lr: 1e-3\nepochs: 3\naugment.scale: [0.5, 2]\nschedule: cosine\nmodel.aux: true\noutput: 'a, b'\n"
    )
    settings = compose("train", [word])
    assert (settings.model.name, settings.model.aux, settings.optim.lr, settings.epochs) == ("fcn8s", True, 1e-3, 3)
    assert settings.augment.scale == [0.5, 2.0]
    assert settings.schedule.name == "cosine"
    assert settings.output == "a, b"
    changed = compose("train", [word, "epochs=7", "lr=0.5"])
    assert (changed.epochs, changed.optim.lr, changed.model.name) == (7, 0.5, "fcn8s")


def test_another_part_replaces_the_settings_of_the_recipes_part(tmp_path, caplog):
    word = own(tmp_path, "model: deeplabv3\nmodel.channels: 64\noptim: adamw\noptim.lr: 0.1\n")
    caplog.set_level(logging.WARNING)
    settings = compose("train", [word, "model=unet"])
    assert settings.model.name == "unet"
    assert settings.model.channels is None
    assert settings.optim.lr == 0.1
    assert "without its model.channels" in caplog.text
    caplog.clear()
    assert compose("train", [word, "model=deeplabv3"]).model.channels == 64
    assert not caplog.text


@pytest.mark.parametrize(
    ("words", "text", "message"),
    [
        (["experiment=voc_fcn3s"], "", "is no recipe, and no file of your own that ends in .yaml; did you mean voc_fcn32s"),
        (["experiment=none.yaml"], "", "experiment=none.yaml cannot be read"),
        (["experiment=voc_fcn8s,voc_fcn16s"], "", "names several recipes; give one"),
        (["experiment=voc_fcn8s", "resume=x"], "", "cannot be given with resume"),
        ([], "epochs: [", "cannot be read"),
        ([], "- epochs\n", "holds no settings; write one a line"),
        ([], "optim:\n  lr: 3\n", "write each on a line, as 'optim.lr: ...'"),
        ([], "epocs: 3\n", "fcn train has no setting 'epocs'; did you mean epochs"),
        ([], "epochs: many\n", "epochs=many is not allowed; epochs is a whole number"),
    ],
)
def test_what_is_no_recipe_is_answered_in_one_line(words, text, message, tmp_path):
    with pytest.raises(WrongCallError) as error:
        compose("train", words or [own(tmp_path, text)])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_settings_of_a_recipe_are_compared():
    recipe = ["experiment=camvid_quick", "data.root=x"]
    plan = compose("compare", [*recipe, "augment.brightness=[0.3,0.6]", "augment.contrast=${augment.brightness}"])
    assert [(run.augment.brightness, run.augment.contrast) for run in plan.variants.values()] == [(0.3, 0.3), (0.6, 0.6)]
    assert all(run.loss.lovasz == 1 and run.augment.scale == [0.75, 2.0] for run in plan.variants.values())


def test_other_commands_have_none():
    assert with_experiment("predict", ["experiment=x"]) == ["experiment=x"]
    with pytest.raises(WrongCallError, match="fcn predict has no setting 'experiment'"):
        compose("predict", ["experiment=x"])
