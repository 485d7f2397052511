"""The Python API: its page, its types, and that it does what the commands do."""

import importlib.util
import inspect
import json
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from PIL import Image
from torch.nn import functional as F

import fcn
from fcn.cli.main import run
from fcn.core import registry
from fcn.training.checkpoint import read_checkpoint

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "api.md"
TINY = {"epochs": 2, "batch_size": 2, "crop_size": 32, "scale": (0.75, 1.33), "brightness": 0, "contrast": 0, "saturation": 0, "workers": 0}
TINY |= {"device": "cpu", "precision": "fp32", "progress": False}  # the words of ``tests.conftest``, and the recipe of the pictures


def shapes(name):
    return fcn.create_split("shapes", name, train_count=8, val_count=3)


EVERYTHING = {  # settings that draw or count something
    "class_weights": "auto",
    "focus": 0.5,
    "rotation": 30,
    "blur": 1,
    "noise": 0.1,
    "cutout": 0.3,
    "transforms": ["RandomGrayscale", "RandomPerspective(p=1.0)"],
    "gradient_checkpointing": True,
}


class Stripes:
    """Stripes, darker and lighter ones: a split of a user's own. left: reads before the process is killed."""

    labels = fcn.LabelSet(("dark", "light"))

    def __init__(self, count=4, left=10**9):
        self.names, self.left = [str(index) for index in range(count)], left

    def __len__(self):
        return len(self.names)

    def truth(self, index):
        return (torch.arange(40) // (4 + index) % 2).expand(32, 40).to(torch.uint8)

    def __getitem__(self, index):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt
        labels = self.truth(index).clone()
        return (labels * 200).expand(3, 32, 40).contiguous(), labels


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return fcn.create_model("fcn8s", backbone="compact", classes=Stripes.labels).eval()


def page_script():
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "scripts" / "api_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestPage:
    def test_it_is_current_and_has_every_name(self, tmp_path):
        script = page_script()
        script.main(tmp_path / "api.md")
        assert (tmp_path / "api.md").read_text() == PAGE.read_text(), "run python scripts/api_page.py"
        assert sorted(name for names in script.SECTIONS.values() for name in names) == sorted(fcn.__all__)

    def test_its_examples_run(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        Image.fromarray(np.arange(20 * 30 * 3, dtype=np.uint8).reshape(20, 30, 3)).save("photo.jpg")
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite("scene.tif", np.zeros((40, 60, 4), np.uint8), photometric="minisblack", planarconfig="contig")
        names = {"__name__": "example"}
        for code in re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE):
            exec(compile(code, str(PAGE), "exec"), names)
        registry._registered.pop(("schedule", "halves"))
        assert names["labels"].index("road") == 1
        assert names["confidence"].shape == (20, 30)
        assert names["scores"].confusion.sum() > 0

    def test_defaults_that_docstrings_name_are_those_of_the_signatures(self):
        for name in ("create_model", "predict", "train", "evaluate", "load", "convolutionalize", "dilate", "receptive_field"):
            function = getattr(fcn, name)
            parameters = inspect.signature(function).parameters
            for argument, value in re.findall(r'^ *(\w+): [^\n]*?default (True|False|[\d.]+|"\w+")[.,;]', function.__doc__, re.MULTILINE):
                assert str(parameters[argument].default) == value.strip('".'), (name, argument)


@pytest.mark.slow
def test_a_type_checker_sees_the_signatures(tmp_path):
    (tmp_path / "program.py").write_text(
        "import fcn\n"
        "model = fcn.load('best.pt')\n"
        "reveal_type(model)\n"
        "reveal_type(fcn.predict(model, 'photo.jpg'))\n"
        "reveal_type(fcn.predict(model, 'photo.jpg', confidence=True))\n"
        "reveal_type(fcn.evaluate(model, fcn.create_split('shapes', 'val')).mean_iou)\n"
        "fcn.predict(model, 3)\n"
        "fcn.train(model)\n"
    )
    words = ["-m", "mypy", "--cache-dir", str(tmp_path), "--config-file", str(ROOT / "pyproject.toml"), "program.py"]
    found = subprocess.run([sys.executable, *words], cwd=tmp_path, capture_output=True, text=True, env={"MYPYPATH": str(ROOT)}).stdout
    array = r"numpy\.ndarray\[.*numpy\.unsignedinteger\[.*\]\]\]"
    assert re.search(r':3: note: Revealed type is "fcn.models.segmenter.Segmenter"', found), found
    assert re.search(rf':4: note: Revealed type is "{array}"', found), found
    assert re.search(rf':5: note: Revealed type is "tuple\[{array}, {array}\]"', found), found
    assert ':6: note: Revealed type is "float"' in found
    assert ":7: error: No overload variant" in found
    assert ':8: error: Missing positional arguments "training", "validation" in call to "train"' in found


class TestTrain:
    def test_it_ends_with_the_weights_of_the_command(self, tiny_run, tmp_path):
        torch.manual_seed(0)
        training = shapes("train")
        model = fcn.create_model("fcn8s", backbone="compact", classes=training.labels)
        before = torch.get_rng_state()
        result = fcn.train(model, training, shapes("val"), output=tmp_path / "run", **TINY)
        assert torch.equal(torch.get_rng_state(), before)
        expected = read_checkpoint(tiny_run / "last.pt")
        found = read_checkpoint(tmp_path / "run" / "last.pt")
        assert found["training"]["plan"] == expected["training"]["plan"]
        assert all(torch.equal(value, found["weights"][name]) for name, value in expected["weights"].items())
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in expected["weights"].items())
        assert result.mean_iou == read_checkpoint(tiny_run / "best.pt")["miou"]
        assert result.checkpoint == tmp_path / "run" / "best.pt"
        assert fcn.evaluate(fcn.load(result.checkpoint), shapes("val"), workers=0).mean_iou == pytest.approx(result.mean_iou, abs=1e-6)

    def test_a_run_that_was_cut_goes_on_and_only_with_the_same_arguments(self, tmp_path):
        def trained(name, left=10**9, **options):
            torch.manual_seed(0)
            model = fcn.create_model("fcn8s", backbone="compact", num_classes=2)
            place = options if "resume" in options else {"output": tmp_path / name}
            given = TINY | {"verify": "none", "dice": np.float64(0.5), "augment_flip": 0.25} | EVERYTHING | place | options
            return fcn.train(model, Stripes(left=left), Stripes(), **given)

        steps, epochs = [], []
        whole = trained("whole", on_step=steps.append, on_epoch=epochs.append, gradient_checkpointing=False)
        assert [(each.step, each.epoch) for each in steps] == [(step, step / 2) for step in range(1, 5)]
        assert [(each.epoch, each.step, each.scores["miou"] <= each.best) for each in epochs] == [(1, 2, True), (2, 4, True)]
        assert epochs[-1].best == whole.mean_iou
        with pytest.raises(KeyboardInterrupt):
            trained("cut", left=6)
        assert read_checkpoint(tmp_path / "cut" / "last.pt")["training"]["step"] == 2
        with pytest.raises(fcn.UserError, match=r"began with augment\.crop_size=32 \(now 48\); give the same, or a new output="):
            trained("cut", resume=tmp_path / "cut", crop_size=48)
        with pytest.raises(fcn.UserError, match="both resume and output"):
            trained("cut", resume=tmp_path / "cut", output=tmp_path / "new")
        assert trained("cut", resume=tmp_path / "cut") == whole.__class__(whole.mean_iou, tmp_path / "cut" / "best.pt", tmp_path / "cut")
        one, other = (read_checkpoint(tmp_path / name / "last.pt") for name in ("whole", "cut"))
        assert all(torch.equal(value, other["weights"][name]) for name, value in one["weights"].items())
        assert (one["settings"]["loss"]["dice"], one["settings"]["augment"]["flip"]) == (0.5, 0.25)
        assert one["balance"]["pixels"].sum() == 4 * 32 * 40
        with pytest.raises(fcn.UserError, match=r"holds something already; .*fcn.train\(\.\.\., resume='.*cut'\) goes on"):
            trained("cut")

    @pytest.mark.slow
    def test_a_compiled_training_is_the_plain_one_but_for_rounding_and_goes_on_bit_for_bit(self, tmp_path):
        def trained(name, **options):
            torch.manual_seed(0)
            model = fcn.create_model("fcn8s", backbone="compact", num_classes=2)
            losses = []
            options = {"output": tmp_path / name, "on_step": lambda step: losses.append(step.loss)} | options
            options |= {"output": None} if "resume" in options else {}
            with suppress(ZeroDivisionError):
                fcn.train(model, Stripes(), Stripes(), **TINY | EVERYTHING | {"gradient_checkpointing": False} | options)
            return losses

        plain, whole = trained("plain"), trained("whole", compile=True)
        assert whole == pytest.approx(plain, rel=1e-3)
        cut = trained("cut", compile=True, on_epoch=lambda _: 1 / 0)
        assert cut + trained("cut", compile=True, resume=tmp_path / "cut") == whole

    def test_what_a_function_raises_ends_the_training_behind_the_checkpoint_of_the_epoch(self, tmp_path):
        model = fcn.create_model("fcn8s", backbone="compact", num_classes=2)
        with pytest.raises(ZeroDivisionError):
            fcn.train(model, Stripes(), Stripes(), output=tmp_path / "run", on_epoch=lambda _: 1 / 0, **TINY)
        assert read_checkpoint(tmp_path / "run" / "last.pt")["training"]["step"] == 2

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"flip": 0.5}, ValueError, "flip= may mean augment_flip= or strategy_flip=; write the one that is meant"),
            ({"batch_size": 2, "focus": 0.5, "focus_classes": ["lihgt"]}, ValueError, "lihgt"),
            ({"transforms": ["RandomGreyscale"]}, ValueError, "'RandomGreyscale' in transforms is not known; did you mean RandomGrayscale"),
            ({"tracker": "wandb"}, ValueError, "tracker='wandb' needs the package wandb: pip install wandb, or leave it out"),
            ({"tensorboard": True}, ValueError, "fcn.train has no 'tensorboard': it is tracker=\"tensorboard\""),
            ({"learning_rate": 0.1}, ValueError, "fcn.train has no 'learning_rate': the learning rate is lr="),
            ({"crop_sise": 32}, ValueError, "there is no setting 'crop_sise' of fcn.train; did you mean crop_size"),
            ({"crop_size": 0}, ValueError, "crop_size=0 is not allowed; crop_size is 1 or more"),
            ({"lr": -1}, ValueError, "^lr=-1 is not allowed; lr is above 0"),
            ({"epochs": 0}, ValueError, "epochs=0 is not allowed"),
            ({"optim": "adam"}, ValueError, "optim=adam is not known; did you mean adamw"),
            ({"strategy": "strem"}, ValueError, "strategy=strem is not known; did you mean stream"),
            ({"verify": "some"}, ValueError, "verify='some' is not known; allowed: auto, all, none"),
            ({"resume": "nowhere"}, ValueError, "resume='nowhere' is no folder"),
            ({"training": [1, 2]}, TypeError, "the training split is a list and lacks labels .*, names .*, truth"),
            ({"validation": Stripes}, TypeError, "the validation split is the class Stripes, not an instance of it"),
            (
                {"training": shapes("train")},
                ValueError,
                "has the classes background, .* the validation split dark, light",
            ),
            ({"model": "best.pt"}, TypeError, "the model is a str; give what fcn.create_model"),
            ({"model": torch.nn.Conv2d(3, 2, 1)}, TypeError, "the model is a Conv2d"),
        ],
    )
    def test_what_cannot_be_is_said_in_the_callers_words_and_nothing_is_written(self, arguments, error, message, model, tmp_path):
        given = {"model": model, "training": Stripes(), "validation": Stripes()}
        given |= {} if "resume" in arguments else {"output": tmp_path / "run"}
        with pytest.raises(error, match=message):
            fcn.train(**{**given, **arguments})
        assert not list(tmp_path.iterdir())


class TestEvaluate:
    def test_it_is_the_commands_score(self, tiny_run, tmp_path, capsys):
        words = [f"checkpoint={tiny_run / 'best.pt'}", "device=cpu", "workers=0", f"output={tmp_path / 'scores'}"]
        assert run(["evaluate", *words]) == 0
        printed = capsys.readouterr().out
        expected = json.loads((tmp_path / "scores" / "metrics.json").read_text())
        scores = fcn.evaluate(fcn.load(tiny_run / "best.pt"), shapes("val"), workers=0)
        assert scores.confusion.tolist() == expected["confusion"]
        assert str(scores) in printed
        assert scores.mean_iou == expected["miou"]
        assert scores.iou["disk"] == expected["classes"]["disk"]["iou"]
        assert scores.as_dict()["pixel_accuracy"] == scores.pixel_accuracy == expected["pixel_accuracy"]

    def test_a_strangers_network_on_a_users_split(self):
        """Brightness above 100 is class 1, which is right everywhere; where it says class 1 for all, dark has an IoU of 0."""

        def bright(windows):
            return torch.stack([100 - windows[:, 0].float(), windows[:, 0].float() - 100], 1)

        scores = fcn.evaluate(bright, Stripes(), strategy="windows", size=16, workers=0)
        assert scores.mean_iou == scores.pixel_accuracy == 1
        assert scores.confusion.sum() == 4 * 32 * 40

        def always(index):
            return lambda windows: torch.eye(3)[index].view(1, 3, 1, 1).expand(1, 3, *windows.shape[2:])

        assert fcn.evaluate(always(1), Stripes(), strategy="windows", workers=0).iou["dark"] == 0
        with pytest.raises(fcn.UserError, match="0: the network predicts class 2, and the split has 2 classes"):
            fcn.evaluate(always(2), Stripes(), strategy="windows", workers=0)

    def test_accelerates_state_of_a_callers_own_training_stays(self, model):
        mine = Accelerator(cpu=True, gradient_accumulation_steps=3)
        fcn.evaluate(model, Stripes(1), workers=0, precision="bf16")
        assert mine.mixed_precision == "no"
        assert mine.gradient_accumulation_steps == 3
        assert mine.num_processes == 1

    def test_other_classes_samples_and_values_are_refused(self, model):
        with pytest.raises(fcn.UserError, match=r"the model was trained for 2 classes \(dark, light\) and the split has 7 \(background, "):
            fcn.evaluate(model, shapes("val"))
        with pytest.raises(fcn.UserError, match="the model has 3 classes and the split has 2"):
            fcn.evaluate(fcn.create_model("fcn8s", backbone="compact", num_classes=3), Stripes())

        class Other(Stripes):
            sample = (Image.new("RGB", (40, 32)), np.zeros((32, 40), np.uint8))

            def __getitem__(self, index):
                return self.sample

        with pytest.raises(TypeError, match="gives a tuple of Image, ndarray as a sample; it must be a tuple of image and label map"):
            fcn.evaluate(model, Other())
        Other.sample = torch.zeros(3, 32, 40, dtype=torch.uint8), torch.full((32, 40), 7, dtype=torch.uint8)
        for verify in ("auto", "none"):
            with pytest.raises(fcn.UserError, match=r"0: .*label map holds"):
                fcn.evaluate(model, Other(1), verify=verify, workers=0)
        Other.names = property(lambda self: ["one"], lambda self, value: None)
        Other.__len__ = lambda self: 2
        with pytest.raises(fcn.UserError, match="the split has 2 samples and 1 names"):
            fcn.evaluate(model, Other())


def test_predict_gives_confidence(model):
    """Against the softmax of scores that are interpolated in full."""
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    labels, confidence = fcn.predict(model, image, confidence=True, progress=True)
    assert np.array_equal(labels, fcn.predict(model, image))
    with torch.no_grad():
        logits = model(model.normalize(torch.from_numpy(image).permute(2, 0, 1)[None]))[0]
    assert np.abs(confidence - 255 * logits.softmax(0).amax(0).numpy()).max() <= 1


@pytest.mark.parametrize("batch", [(), (2,)])
def test_label_map_is_the_arg_max_of_the_interpolation(batch):
    scores = torch.randn(*batch, 5, 7, 9, requires_grad=True)
    full = F.interpolate(scores.detach().view(-1, 5, 7, 9), size=(50, 31), mode="bilinear", align_corners=False)
    labels, confidence = fcn.label_map(scores, (50, 31), confidence=True)
    assert labels.shape == confidence.shape == (*batch, 50, 31)
    assert (labels.view(-1, 50, 31) == full.argmax(1)).float().mean() > 0.999
    assert (confidence.view(-1, 50, 31) - 255 * full.softmax(1).amax(1)).abs().max() <= 1
    assert torch.equal(fcn.label_map(scores, (50, 31), crop=(20, 30)), labels[..., :20, :30])
    with pytest.raises(TypeError, match="scores is a ndarray; give a torch tensor"):
        fcn.label_map(np.zeros((5, 7, 9)), (50, 31))


def test_lists_match_patterns():
    assert fcn.list_models("fcn?s") == ["fcn2s", "fcn4s", "fcn8s"]
    assert {"resnet18", "wide_resnet50_2", "se_resnet50"} <= set(fcn.list_backbones("*resnet*"))
    assert all("resnet" in name for name in fcn.list_backbones("*resnet*"))
    assert fcn.list_upsamplers("n*") == ["nearest"]
    assert fcn.list_data("voc*") == ["voc2012", "voc2012aug"]
    assert fcn.list_models("nothing") == []


class TestCreateModel:
    def test_words_of_other_libraries(self):
        assert fcn.create_model("fcn8s", backbone="compact", classes=3, in_channels=3).spec.num_classes == 3
        for arguments, message in (
            ({"in_channels": 0}, "0 channels are not allowed; give a whole number from 1 to"),
            ({"encoder_name": "resnet18"}, "has no 'encoder_name': the encoder is backbone="),
            ({"encoder_weights": "imagenet"}, 'the weights of the encoder are backbone_weights="imagenet"'),
            ({"classes": "road"}, "classes='road' is one word; give a list of names"),
            ({"classes": 3, "num_classes": 2}, "num_classes=2 and classes=3 differ"),
            ({"classes": 2.5}, "num_classes=2.5 is not allowed; it is a whole number"),
        ):
            with pytest.raises(ValueError, match=message):
                fcn.create_model("fcn8s", backbone="compact", **{"classes": 2, **arguments})

    def test_numbers_of_numpy_are_numbers(self, tmp_path):
        """A checkpoint holds plain values only, so that they must be such before."""
        model = fcn.create_model("unet", backbone="compact", classes=np.int64(2), dropout=np.float32(0.5), channels=np.array([8, 8]))
        model.labels = fcn.LabelSet(["a", "b"])
        assert model.labels == fcn.LabelSet(("a", "b"))
        fcn.save(model, tmp_path / "model.pt")
        assert fcn.load(tmp_path / "model.pt").spec == model.spec

    def test_load_and_save_say_what_they_take(self, model, tmp_path):
        with pytest.raises(TypeError, match="the model is a Conv2d"):
            fcn.save(torch.nn.Conv2d(3, 2, 1), tmp_path / "model.pt")
        fcn.save(model, tmp_path / "model.pt")
        with pytest.raises(fcn.UserError, match="device='nothing' cannot be used here"):
            fcn.load(tmp_path / "model.pt", device="nothing")
