"""The package as others get it: a cheap import, and a wheel that works alone."""

import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import fcn

ROOT = Path(__file__).parent.parent


def test_import_is_cheap_and_names_come_when_used():
    code = "import sys, fcn; assert not {'torch', 'numpy', 'hydra'} & set(sys.modules); fcn.predict; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in fcn.__all__:
        assert getattr(fcn, name) is not None
    with pytest.raises(AttributeError, match=r"has no attribute 'predikt'; did you mean predict\?"):
        _ = fcn.predikt


@pytest.mark.slow
def test_the_wheel_installs_and_works_in_an_empty_environment(tmp_path):
    """Built, installed with all that it needs into a new environment, and run from a folder that is not the checkout."""
    home = tmp_path / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}

    def call(*words):
        return subprocess.run(words, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True).stdout

    call(python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", tmp_path / "dist", ROOT)
    (wheel,) = (tmp_path / "dist").glob("fcn_toolkit-*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert "fcn/conf/train.yaml" in names
    assert "fcn/conf/data/shapes.yaml" in names
    assert "fcn/data/shapes.py" in names
    assert not [name for name in names if name.startswith(("tests/", "conf/"))]
    call(python, "-m", "pip", "install", "--quiet", "torch", "torchvision")
    call(python, "-m", "pip", "install", "--quiet", wheel)
    script = home / "bin" / "fcn"
    assert "fcn train" in call(script, "train", "--help")
    call(script, "train", "epochs=1", "data.train_count=4", "data.val_count=1", "batch_size=2", "augment.crop_size=32", "output=run")
    call(script, "evaluate", "checkpoint=run/best.pt", "output=scores")
    assert (tmp_path / "scores" / "metrics.json").is_file()
