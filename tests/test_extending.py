"""The page on parts of one's own: every example is trained with, scored, used for labels and compared."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

import fcn
from fcn.cli.composing import compose
from fcn.cli.main import run
from fcn.core import registry
from fcn.core.registry import KINDS, find, is_part
from fcn.tools.compare.run import run as compare
from tests.conftest import TINY

PAGE = Path(__file__).parent.parent / "docs" / "extending.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)
WORDS = (*(word for word in TINY if not word.startswith(("data.", "model=", "backbone="))), "plugins=[page_parts]")
COMPARED = [*(word for word in WORDS if not word.startswith("epochs")), "upsample=[bilinear,gain]", "data=stripes", "backbone=steps",
            "model=fcn2s", "seeds=[0]", "epochs=1"]  # fmt: skip


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """The blocks of the page as a module that can be imported."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "page_parts.py").write_text("\n\n".join(BLOCKS))
    sys.path.insert(0, str(folder))
    known = dict(registry._registered)
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("page_parts", None)
    registry._registered.clear()
    registry._registered.update(known)


def test_each_kind_is_shown_in_a_few_lines():
    kinds = re.findall(r'register\("(\w+)"', "".join(BLOCKS))
    assert sorted(kinds) == sorted(KINDS)
    for block in BLOCKS:
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith(("import", "from"))]
        assert len(lines) <= 15


def test_every_example_goes_all_the_way(parts, capsys, monkeypatch):
    monkeypatch.chdir(parts)  # as a user does
    chosen = ["upsample=gain", "upsample.start=0.5", "backbone=steps", "model=fcn2s", "model.stride=1", "data=stripes", "loss.tversky=1",
              "loss.tversky_alpha=0.4", "optim=rmsprop", "schedule=steps", "inference=cropped", "inference.multiple=4"]  # fmt: skip
    assert run(["train", *WORDS, *chosen, "output=run"]) == 0
    assert run(["train", *WORDS, "model=head", "backbone=steps", "data=stripes", "output=head"]) == 0
    assert run(["evaluate", "checkpoint=run/best.pt", "plugins=[page_parts]", "inference=cropped", "device=cpu", "workers=0"]) == 0
    model = fcn.load("run/best.pt")
    assert model.labels.names == ("dark", "light")
    labels = fcn.predict(model, (torch.rand(20, 30, 3) * 255).byte().numpy())
    assert labels.shape == (20, 30)
    values = (torch.rand(20, 256) * 255).byte()
    values.numpy().tofile("scene.raw")
    with fcn.open_raster("scene.raw", bands=[1, 1, 1]) as raster:
        assert torch.equal(raster.read(3, 100, 10, 50), values[3:13, 100:150].expand(3, -1, -1))
        assert fcn.predict(model, raster).shape == (20, 256)
    config = compose("compare", [*COMPARED, "output=compared"])
    assert compare(config, launch=lambda calls, jobs: [run(list(call)) for call in calls]) == 0
    import page_parts

    torch.save(page_parts.build().state_dict(), "net.pth")
    own = ["network=page_parts:wrapped", "plugins=[page_parts]", "data=stripes", "split=val", "device=cpu", "workers=0"]
    assert run(["evaluate", "checkpoint=net.pth", *own]) == 0
    capsys.readouterr()


@pytest.mark.slow
def test_processes_that_a_command_starts_find_the_parts(parts, capsys, monkeypatch):
    monkeypatch.chdir(parts)
    assert run(["compare", *COMPARED, "output=by_processes"]) == 0
    few = ["networks=[]", "strategies=[whole]", "image_sizes=[64]", "labelmap_size=null", "turns=1", "device=cpu", "output=costs"]
    assert run(["benchmark", "plugins=[page_parts]", "upsample=gain", "backbone=steps", "model=fcn2s", *few]) == 0
    (row,) = json.loads(Path("costs/benchmark.json").read_text())["sections"][0]["rows"]
    assert row["seconds"] is not None, row["note"]
    capsys.readouterr()


def test_runs_with_several_values_find_the_parts_too(parts, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "page_parts", raising=False)
    monkeypatch.setattr(registry, "_registered", {key: part for key, part in registry._registered.items() if part.plugin is None})
    swept = ["-m", "upsample=bilinear,gain", "backbone=steps", "model=fcn2s", "data=stripes", f"output={tmp_path / 'runs'}"]
    assert run(["train", *WORDS, *swept]) == 0
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["upsample=bilinear", "upsample=gain"]
    del sys.modules["page_parts"]  # whose parts are forgotten with this test


def test_a_checkpoint_names_the_module_that_it_needs(parts, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["train", *WORDS, "upsample=gain", "backbone=steps", "model=fcn2s", "data=stripes", "output=run"]) == 0
    monkeypatch.delitem(sys.modules, "page_parts")
    capsys.readouterr()
    assert run(["evaluate", "checkpoint=run/best.pt", "device=cpu"]) == 1
    assert "give plugins=[page_parts] too (in Python: import page_parts first)" in capsys.readouterr().err
    assert run(["train", "resume=run"]) == 2
    assert "give plugins=[page_parts] too" in capsys.readouterr().err
    assert "page_parts" not in sys.modules
    assert run(["train", "resume=run", "plugins=[page_parts]"]) == 0


def test_wrong_words_are_answered_and_help_lists_the_part(parts, capsys):
    assert run(["train", "plugins=[page_parts]", "upsample=gain", "upsample.strat=1"]) == 2
    assert "did you mean upsample.start?" in capsys.readouterr().err
    assert run(["train", "plugins=[page_parts]", "upsample=gain", "upsample.start=high"]) == 2
    assert "upsample.start=high is not allowed; start is a number" in capsys.readouterr().err
    assert run(["train", "plugins=[no_parts]"]) == 2
    assert "there is no module no_parts" in capsys.readouterr().err
    assert run(["train", "plugins=[page_parts]", "--help"]) == 0
    text = capsys.readouterr().out
    assert "upsample.start=1.0" in text
    assert "gain before training" in text
    assert is_part("upsample", "gain")
    assert find("upsample", "gain").plugin == "page_parts"


def test_a_name_belongs_to_one_part():
    with pytest.raises(fcn.UserError, match="upsample=bilinear is registered already, by Bilinear of fcn"):

        @fcn.register("upsample", "bilinear")
        class Mine(torch.nn.Module):
            """Another one."""

    with pytest.raises(fcn.UserError, match="there is no kind of part 'upsampler'; did you mean upsample"):
        fcn.register("upsampler", "mine")


@pytest.mark.parametrize(("gives", "message"), [
    (lambda x, factor: x, r"made \(1, 3, 3, 2\) of \(1, 3, 3, 2\) with factor 2; it must give \(1, 3, 6, 4\)"),
    (lambda x, factor: x.repeat_interleave(factor, 2).repeat_interleave(factor, 3), None),
])  # fmt: skip
def test_an_upsampler_that_does_not_keep_to_its_word_is_refused(gives, message, monkeypatch):
    from fcn.models.upsample import create_upsampler

    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @fcn.register("upsample", "trial")
    class Trial(torch.nn.Module):
        """On trial."""

        def __init__(self, in_channels: int, out_channels: int, factor: int) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x):
            return gives(x, self.factor)

    if message is None:
        create_upsampler("trial")(3, 3, 2)
    else:
        with pytest.raises(fcn.UserError, match=message):
            create_upsampler("trial")(3, 3, 2)


def test_a_decoder_whose_maps_do_not_fit_at_an_odd_size_is_refused_before_it_is_trained(monkeypatch):
    monkeypatch.setattr(registry, "_registered", dict(registry._registered))

    @fcn.register("model", "sum")
    class Sum(torch.nn.Module):
        """A sum of two features.

        cropped: whether the deeper one is cropped.
        """

        def __init__(self, features, num_classes: int, upsample, *, cropped: bool = False) -> None:
            super().__init__()
            self.cropped, self.stride = cropped, features.strides[0]
            self.fine = torch.nn.Conv2d(features.channels[0], num_classes, 1)
            self.up = upsample(features.channels[1], num_classes, features.strides[1] // self.stride)

        def forward(self, features):
            fine, coarse = self.fine(features[0]), self.up(features[1])
            return fine + (coarse[..., : fine.shape[2], : fine.shape[3]] if self.cropped else coarse)

    with pytest.raises(fcn.UserError, match=r"model=sum fails on an image of 16x17 pixels .*crop it, as coarse"):
        fcn.create_model("sum", backbone="compact", num_classes=2)
    model = fcn.create_model("sum", backbone="compact", num_classes=2, cropped=True).eval()
    assert model(torch.zeros(1, 3, 17, 21)).shape == (1, 2, 17, 21)


def test_a_module_without_parts_is_told(tmp_path, monkeypatch, caplog):
    (tmp_path / "empty_parts.py").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    assert run(["inspect", "plugins=[empty_parts]", "layers=conv3", "picture=false"]) == 0
    assert "plugins=[empty_parts] registers no part" in caplog.text
