"""``checkpoint=`` and ``network=``: a network of a user's own on the command line. Only what the call names is imported."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

import fcn
from fcn.cli.main import run

CODE = """
import fcn
from torch import nn

def build():
    return nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.Upsample(scale_factor=2))

def wrapped():
    return fcn.wrap(build(), mean=0.4, std=0.3, classes=["ground", "road"])

def nameless():
    return fcn.wrap(build(), mean=0.4, std=0.3)
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of a small network, with its code beside them and a picture."""
    (tmp_path / "code_of_mine.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.delitem(sys.modules, "code_of_mine", raising=False)
    import code_of_mine

    torch.manual_seed(0)
    model = code_of_mine.wrapped()
    fcn.save(model, "net.pt")
    state = model.backbone.network.state_dict()
    torch.save(state, "bare.pth")
    torch.save({"state_dict": {f"module.{name}": value for name, value in state.items()}}, "held.pth")
    fcn.save(fcn.create_model("fcn8s", classes=["a", "b"], backbone="compact"), "ours.pt")
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(image).save("photo.png")
    Image.fromarray(fcn.predict(model, image)).save("expected.png")
    yield tmp_path
    sys.modules.pop("code_of_mine", None)


def test_the_commands_take_it(folder, capsys):
    expected = np.asarray(Image.open("expected.png"))
    assert len(np.unique(expected)) == 2
    for index, words in enumerate(
        ("checkpoint=net.pt network=code_of_mine:build", "checkpoint=net.pt network=code_of_mine:wrapped",
         "checkpoint=bare.pth network=code_of_mine:wrapped", "checkpoint=held.pth network=code_of_mine:wrapped")
    ):  # fmt: skip
        assert run(["predict", *words.split(), "input=photo.png", f"output=out{index}", "device=cpu"]) == 0
        assert np.array_equal(np.asarray(Image.open(f"out{index}/photo.png")), expected)
    assert run(["predict", "resume=out0", "network=code_of_mine:build"]) == 0
    capsys.readouterr()
    assert run(["inspect", "checkpoint=net.pt", "network=code_of_mine:build", "input_size=64", "picture=false"]) == 0
    assert "tiles need 1 pixel on each side, at multiples of 2" in capsys.readouterr().out


@pytest.mark.slow
def test_its_strategies_are_compared(folder, capsys):
    few = ["networks=[]", "strategies=[whole,stream]", "image_sizes=[64]", "labelmap_size=null", "turns=1", "device=cpu", "output=costs"]
    assert run(["benchmark", "checkpoint=net.pt", "network=code_of_mine:build", *few]) == 0
    assert "a Sequential of your own, 64x64" in capsys.readouterr().out


def test_what_is_missing_or_too_much_is_said(folder, capsys):
    code = "network=code_of_mine"
    for words, message in (
        ("predict checkpoint=net.pt", "not its code; give such a network too: network=my_module:build"),
        ("predict checkpoint=bare.pth", "or beside network= where it belongs to a network of your own"),
        (
            f"predict checkpoint=bare.pth {code}:build",
            "it gives a Sequential; give what fcn.wrap(network, mean=..., std=..., classes=[...])",
        ),
        (f"predict checkpoint=bare.pth {code}:nameless", "it gives a wrapped network without classes; give"),
        (f"predict checkpoint=ours.pt {code}:build", "says itself how its network is built; leave network= out"),
        ("predict checkpoint=net.pt network=no_module:build", "network=no_module:build: there is no module no_module in"),
        (f"inspect checkpoint=net.pt {code}:build model=fcn8s", "checkpoint=net.pt and model=fcn8s both say what to inspect"),
        (f"benchmark {code}:build backbone=compact", "network=code_of_mine:build and backbone=compact both say which network to measure"),
        ("benchmark networks=[] checkpoint=net.pt", "not its code; give such a network too"),
    ):
        command, *given = words.split()
        assert run([command, *given, *(["input=photo.png"] if command == "predict" else []), "output=no"]) in (1, 2)
        assert message in capsys.readouterr().err
        assert not (folder / "no").exists()
    assert run(["predict", "checkpoint=net.pt", f"{code}:build", "input=photo.png", "output=out", "device=cpu"]) == 0
    for given in ("", f"{code}:wrapped"):
        capsys.readouterr()
        assert run(["predict", "resume=out", *given.split()]) == 2
        assert "out/config.yaml says network=code_of_mine:build; give network=code_of_mine:build too" in capsys.readouterr().err
