"""Launchers: calls of fcn as jobs of Hydra's plugins."""

import importlib.util
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn.cli.launchers import Launcher, packed, unpacked
from fcn.cli.main import run
from tests.conftest import TINY

SUBMITIT = importlib.util.find_spec("submitit") is not None


def test_each_call_is_a_process_of_its_own_and_its_status_comes_back(tmp_path, caplog):
    launch = Launcher(["hydra/launcher=basic"])
    with caplog.at_level(logging.INFO):
        assert launch([["--version"], ["trian"], ["compare", "resume=nowhere"]], tmp_path / "it's, a folder") == [0, 2, 2]
        logging.getLogger("fcn.tools.compare.run").info("what a comparison says afterwards")
    assert caplog.messages == ["what a comparison says afterwards"]


@given(st.lists(st.text()))
def test_words_are_carried_to_the_letter(words):
    value = packed(words)
    assert value.isalnum()
    assert unpacked(value) == words


@pytest.mark.skipif(SUBMITIT, reason="submitit is installed here")
def test_a_plugin_that_is_missing_is_named_in_one_sentence(capsys):
    assert run(["compare", "hydra/launcher=submitit_slurm"]) == 2
    error = capsys.readouterr().err
    assert "hydra/launcher=submitit_slurm is not installed; pip install hydra-submitit-launcher" in error
    assert error.count("\n") == 1


@pytest.mark.skipif(not SUBMITIT, reason="hydra-submitit-launcher is not installed")
def test_submitit_runs_a_sweep(tmp_path):
    words = [*TINY, "data.train_count=2", "data.val_count=1", "epochs=1", "upsample=bilinear,nearest", f"output={tmp_path / 'sweep'}"]
    assert run(["train", "-m", *words, "hydra/launcher=submitit_local", "hydra.launcher.timeout_min=5"]) == 0
    assert len(list((tmp_path / "sweep").glob("upsample=*/best.pt"))) == 2
