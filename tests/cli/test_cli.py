"""The command line: what is right runs, what is wrong is answered in one line by the words that would be right."""

import json
import signal
import subprocess
import sys
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from fcn.cli.composing import compose
from fcn.cli.main import run
from fcn.cli.saved import BESIDE_RESUME
from fcn.core.names import suggest
from fcn.data.stored import open_as
from fcn.tools import COMMANDS
from fcn.tools.folders import new_folder
from fcn.tools.predict import labelling
from fcn.tools.predict.inputs import output_names, written_for
from tests.conftest import TINY


def answer(capsys, *words):
    status = run(list(words))
    captured = capsys.readouterr()
    return status, captured.err.strip()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'; did you mean train?"),
        (["epochs=3"], "put the command first, as fcn train epochs=3"),
        (["train", "epochs=abc"], "epochs=abc is not allowed; epochs is a whole number"),
        (["train", "epochs=1.5"], "epochs=1.5 is not allowed; epochs is a whole number"),
        (["train", "epochs=0"], "epochs=0 is not allowed; epochs is 1 or more"),
        (["train", "epochz=3"], "fcn train has no setting 'epochz'; did you mean epochs?"),
        (["train", "modle=fcn8s"], "fcn train has no setting 'modle'; did you mean model"),
        (["train", "+epochz=3"], "fcn train has no setting 'epochz'; did you mean epochs?"),
        (["train", "++epochz=3"], "fcn train has no setting 'epochz'; did you mean epochs?"),
        (["train", "+epochs=3"], "+epochs=3: epochs exists already; write it without the +"),
        (["train", "~epochs=3"], "deletes a setting"),
        (["train", "foo"], "'foo' is not a setting; write key=value"),
        (["train", "=3"], "'=3' is not a setting"),
        (["train", "upsample=bilinaer"], "upsample=bilinaer is not known; did you mean bilinear?"),
        (["train", "model=fcn4"], "model=fcn4 is not known; did you mean"),
        (
            ["train", "data=nothing"],
            "data=nothing is not known; allowed: ade20k, camvid, cityscapes, coco_stuff, folder, scenes, shapes, voc2012, voc2012aug",
        ),
        (["train", "optim=null"], "optim=null is not known; allowed: adamw, sgd"),
        (["train", "model.strid=8"], "fcn train has no setting 'model.strid'; did you mean model.stride"),
        (["train", "model.name=fcn8s"], "has no setting 'model.name'"),
        (["train", "backbone=resnet18", "backbone.classifier=true"], "backbone.classifier is a setting of backbone=vgg11, vgg11_bn, vgg13"),
        (["data", "data.root=DIR"], "data.root is a setting of data=folder, scenes, voc2012"),
        (["train", "data=shapes", "data.root=DIR"], "write data=folder data.root=DIR, or another of them"),
        (["train", "optim.momentum=0.5"], "optim.momentum is a setting of optim=sgd; write optim=sgd"),
        (["train", "model.arch=FPN", "model=unet"], "model.arch is a setting of model=smp; write model=smp"),
        (["train", "backbone=vgg16", "backbone.classifer=true"], "did you mean backbone.classifier"),
        (["train", "optim=sgd", "optim.momentum=2"], "optim.momentum=2.0 is not allowed; optim.momentum is a share, 0 or more and below 1"),
        (["train", "augment.scale=[2,1]"], "augment.scale=[2.0, 1.0] is not allowed"),
        (["train", "loss.cross_entropy=0"], "every term of the loss is 0"),
        (["train", "loss.dice=inf"], "loss.dice=inf is not allowed; loss.dice is 0 to 1000000000.0, and finite"),
        (["train", "loss.class_weights=[1,inf]"], "loss.class_weights=[1, inf] is not allowed"),
        (["train", "loss.class_weights=[1,nan]"], "loss.class_weights=[1, nan] is not allowed"),
        (["train", "loss.class_weights=[1,1e39]"], "loss.class_weights=[1, 1e+39] is not allowed"),  # infinite in float32
        (["train", "optim.lr=inf"], "optim.lr=inf is not allowed; optim.lr is above 0, and finite"),
        (["train", "optim.lr=nan"], "optim.lr=nan is not allowed"),
        (["train", "optim.weight_decay=inf"], "optim.weight_decay=inf is not allowed"),
        (
            ["train", "backbone.freeze=all"],
            "backbone.freeze=all is not allowed; backbone.freeze is a whole number, 1 or more, or true, or false",
        ),
        (["train", "optim.head_lr_factor=inf"], "optim.head_lr_factor=inf is not allowed"),
        (["train", "clip_norm=inf"], "clip_norm=inf is not allowed; clip_norm is above 0, or null, and finite"),
        (["train", "schedule.power=inf"], "schedule.power=inf is not allowed"),
        (["train", "inference.memory=inf"], "inference.memory=inf is not allowed"),
        (["train", "model.aux=true", "model.aux_weight=inf"], "model.aux_weight=inf is not allowed"),
        (["train", "save_seconds=nan"], "save_seconds=nan is not allowed"),
        (["train", "precision=fp8"], "precision=fp8 is not known; allowed: auto, bf16, fp16, fp32"),
        (["train", "upsample=bilinear,nearest"], "upsample=bilinear,nearest gives several values; add -m"),
        (["train", "-m", "upsample=bilinear,neerest"], "upsample=neerest is not known; did you mean nearest?"),
        (["train", "data=folder"], "data.root must be given; write data.root=..."),
        (["train", "+hydrazz=3"], "fcn train has no setting 'hydrazz'"),
        (["train", "+backbone=resnet18"], "backbone exists already; write it without the +"),
        (["train", "-m", "epochs=0,1"], "epochs=0 is not allowed"),
        (["train", "-m", "epochs=1,abc"], "epochs=abc is not allowed; epochs is a whole number"),
        (["train", "-m", "seed=interval(0,1)"], "is not a list of values"),
        (["train", "-m", "upsample=glob(*)"], "is not a list of values"),
        (["train", "-m", "resume=x"], "-m begins new runs"),
        (["train", "-m", "seed=1,2", "output=/"], "output=/ holds something already"),
        (["train", "seed=-1"], "seed=-1 is not allowed"),
        (["train", "model.stride=3"], "model.stride=3 is not allowed"),
        (["train", "upsample=nearest", "upsample.kernel_size=2"], "upsample.kernel_size=2 is not allowed"),
        (["train", "loss.ohem_keep=0.5"], "ohem has settings and the weight 0; give it a weight, as ohem=1"),
        (["train", "--verbose"], "there is no flag --verbose; allowed: --help"),
        (["train", "resume=a", "output=b"], "resume=a is no run"),
        (["compare", "upsample=bilinear"], "upsample=bilinear is one up-sampler, and nothing is compared; give two or more values"),
        (["compare", "model=[fcn8s]"], "model=[fcn8s] is one value; give two or more to compare, or write model=fcn8s for all variants"),
        (["compare", "model=[fcn8s,fcn8s]"], "model=[fcn8s,fcn8s] gives a value twice; give each once"),
        (["compare", "data=[shapes,camvid]"], "cannot be compared: scores on different images say nothing of each other"),
        (["compare", "device=[cpu,cuda]"], "device cannot be compared; give one value, for all trainings"),
        (["compare", "loss.dcie=[0,1]"], "fcn compare has no setting 'loss.dcie'; did you mean loss.dice?"),
        (["compare", "loss.dice=[0,much]"], "loss.dice=much is not allowed; dice is a number (in the variant loss.dice=much)"),
        (["compare", "model=[fcn8s,nonesuch]"], "model=nonesuch is not known"),
        (["compare", "model=[fcn8s,unet]", "baseline=fcn32s"], "baseline=fcn32s is not known; did you mean fcn8s?"),
        (
            ["compare", "upsample=bilinear,nearest"],
            "upsample=bilinear,nearest gives several values; add -m for one run of each; [bilinear,nearest] compares them",
        ),
        (
            ["compare", "upsample=[[bilinear],carafe]"],
            "upsample=[[bilinear],carafe] is not a list in one pair of brackets; write upsample=[bilinear,carafe]",
        ),
        (["compare", "upsample=range(0,3)"], "upsample=0 is not known; allowed: bilinear, carafe"),
        (["compare", "upsample=[bilinear,nearst]"], "upsample=nearst is not known; did you mean nearest?"),
        (["compare", "-m", "upsample=[bilinear,nearest],[bilinear,carfe]"], "upsample=carfe is not known; did you mean carafe?"),
        (["compare", "upsample='nearst',bilinear"], "upsample=nearst is not known; did you mean nearest?"),
        (["train", "-m", "upsample='bilinear','nearst'"], "upsample=nearst is not known; did you mean nearest?"),
        (["compare", "upsample=null"], "upsample=null is not known; allowed: bilinear, carafe"),
        (["compare", "seeds=3"], "seeds=3 is not a list in one pair of brackets; write seeds=[3]"),
        (["compare", "seeds=0,1,2"], "seeds=0,1,2 is not a list in one pair of brackets; write seeds=[0,1,2]"),
        (["compare", "seeds=range(0,3)"], "seeds=range(0,3) is not a list in one pair of brackets; write seeds=[0,1,2]"),
        (["compare", "seeds={a:1}"], "seeds={a:1} is not a list in one pair of brackets; write seeds=[1]"),
        (["compare", "seeds=[0],[1]"], "seeds=[0],[1] gives several values; add -m for one run of each"),
        (["compare", "-m", "seeds=0,1,2"], "seeds=0,1,2 is not a list in one pair of brackets; write seeds=[0,1,2]"),
        (["compare", "-m", "seeds=[0],1"], "seeds=[0],1 is not a list in one pair of brackets; write seeds=[0],[1]"),
        (["compare", "seeds=-1"], "seeds=[-1] is not allowed"),  # not advised to write what is refused as well
        (["compare", "thin=wire"], "thin=wire is not a list in one pair of brackets; write thin=[wire]"),
        (["compare", "seed=1"], "seed=1 may mean seeds=[1] or data.seed=1; write the one that is meant"),
        (["compare", "-m", "seed=range(0,2)"], "seed=range(0,2) may mean seeds=[0,1] or data.seed=range(0,2)"),
        (["compare", "sead=[0]"], "fcn compare has no setting 'sead'; did you mean seeds?"),
        (["compare", "data=camvid", "data.root=a", "seed=1"], "fcn compare has no setting 'seed'; did you mean seeds?"),
        (["compare", "upsample.kernel_size=3"], "upsample.kernel_size is a setting of upsample=nearest, pixelshuffle"),
        (["compare", "seeds=[1,1]"], "seeds=[1, 1] is not allowed"),
        (["compare", "baseline=carrots"], "baseline=carrots is not known; allowed: "),
        (["compare", "cell=nearest-0"], "cell=nearest-0 is one training of a comparison"),
        (["compare", "resume=a"], "resume=a is no run: there is no a/config.yaml; give the output folder of fcn compare"),
        (["compare", "hydra/launcher=nothing"], "hydra/launcher=nothing is not installed; known plugins: hydra-joblib-launcher"),
        (["compare", "hydra/launcher=basic", "hydra.launcher.x=1"], "Could not override 'hydra.launcher.x'"),
        (["compare", "hydra.launcher.x=1"], "choose it too, as hydra/launcher="),
        (["train", "hydra/launcher=basic"], "hydra/launcher=basic is for what makes several runs"),
        (["benchmark", "model=fcn2s", "stride=8"], "stride=8 may mean strides=[8] or model.stride=8"),
        (["ceiling", "strides=[8,8]"], "strides=[8, 8] is not allowed"),
        (["ceiling", "strides=32,16"], "strides=32,16 is not a list in one pair of brackets; write strides=[32,16]"),
        (["ceiling", "splits=train"], "splits=train is not a list in one pair of brackets; write splits=[train]"),
        (["ceiling", "method=median"], "method=median is not known; allowed: majority, shares"),
        (
            ["train", "weights=imagenet"],
            "weights=imagenet may mean backbone.weights=imagenet or model.weights=imagenet; write the one that is meant",
        ),
        (["train", "wieghts=imagenet"], "fcn train has no setting 'wieghts'; did you mean weights?"),
        (["train", "model=unet", "upsample=carafe", "channels=64"], "channels=64 may mean model.channels=[64] or upsample.channels=64"),
        (
            ["train", "model=unet", "channels=64,32"],
            "model.channels=64,32 is not a list in one pair of brackets; write model.channels=[64,32]",
        ),
        (["train", "-m", "model=unet,lraspp", "channels=64,32"], "model.channels"),
        (["train", "alig=true"], "fcn train has no setting 'alig'; did you mean align?"),
        (["train", "model=smp", "aling=true"], "fcn train has no setting 'aling'"),
        (["train", "model=smpp", "arch=FPN"], "model=smpp is not known; did you mean smp"),
        (["train", "model=unet", "dropout=2"], "model.dropout=2.0 is not allowed"),
        (["train", "aux_weight=0.4"], "aux_weight and aux_level belong to the auxiliary head, which is off; add aux=true"),
        (["train", "-m", "model=smp,unet", "arch=FPN"], "model.arch"),
        (["evaluate"], "checkpoint must be given; write checkpoint=..."),
        (
            ["evaluate", "checkpoint=a", "data.root=b"],
            "data.root is a setting of a part that is not chosen; choose it first, as data=folder data.root=...",
        ),
        (["predict", "checkpoint=a"], "input must be given; write input=..."),
        (["predict", "checkpoint=a", "data=camvid"], "fcn predict has no part 'data'; it has inference"),
        (["predict", "checkpoint=a", "input=b", "inference.scales=[0]"], "inference.scales=[0.0] is not allowed"),
        (["predict", "checkpoint=a", "input=b", "modl=3"], "fcn predict has no setting 'modl'"),
        (["inspect", "format=xml"], "format=xml is not known; allowed: csv, json, markdown, table"),
        (["inspect", "layers=conv3, pool2", "model=fcn8s"], "layers=conv3, pool2 and model=fcn8s both say what to inspect"),
        (["inspect", "layers=conv3", "classifier=compact"], "classifier=compact and layers=conv3 both say what to inspect"),
        (["inspect", "classifier=compact", "backbone=vgg16"], "classifier=compact and backbone=vgg16 both say what to inspect"),
        (["inspect", "upsample=nearest"], "upsample=nearest belongs to a model, and none is chosen; give model= as well"),
        (["inspect", "backbone=vgg16", "num_classes=3"], "num_classes=3 belongs to a model, and none is chosen"),
        (["inspect", "layers=conv3", "ignore_global=true"], "ignore_global cannot be used with layers=; remove it"),
        (["inspect", "all=true", "depth=2"], "all=true prints every operation, and depth folds them; give one of the two"),
        (["inspect", "image=a.jpg", "picture=false"], "image needs the picture, and picture=false turns it off"),
        (["inspect", "input_size=[3,4,5]"], "input_size=[3, 4, 5] is not allowed; input_size is one whole number of pixels"),
        (["inspect", "input_size=big"], "input_size=big is not allowed"),
        (["inspect", "input_size=0"], "input_size=0 is not allowed"),
        (["inspect", "depth=0"], "depth=0 is not allowed; depth is 1 or more, or null"),
        (["inspect", "backbone.weights=a"], "is a setting of a part that is not chosen; choose it first, as backbone="),
    ],
)
def test_a_wrong_call_is_answered_in_one_line(capsys, words, message):
    status, error = answer(capsys, *words)
    assert status == 2
    assert error.startswith("fcn: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "data=camvid", "data.root=/nowhere"], "CamVid is not in /nowhere"),
        (["train", "backbone=resnet19", "data.train_count=16", "data.val_count=2"], "backbone=resnet19 is not known; did you mean"),
        (["train", "data.train_count=3", "data.val_count=2"], "one step takes 16 samples (batch_size=16) and the training split has 3"),
        (
            ["train", "loss.class_weights=[1,2]", "data.train_count=16", "data.val_count=2"],
            "class_weights has 2 numbers; the data set has 7 classes",
        ),
        (
            ["train", "batch_size=1", "augment.crop_size=32", "data.train_count=2", "data.val_count=2"],
            "leaves one cell at stride 32, of which batch norm cannot",
        ),
        (["train", "device=cuda"], "device=cuda, but torch sees no CUDA device here"),
        (["train", "device=cpu", "precision=fp16"], "precision=fp16 is for GPUs"),
        (["evaluate", "checkpoint=none.pt"], "there is no checkpoint none.pt"),
        (["compare", "thin=[wires]", "data.train_count=16", "data.val_count=2"], "there is no class 'wires'; did you mean wire?"),
        (["predict", "checkpoint=none.pt", "input=none.jpg"], "input=none.jpg is no file, no folder, and matches nothing"),
        (["inspect", "layers=conv3, cnv3"], "layers, position 8: 'cnv3' is no layer; the layers are conv, depthwise"),
        (["inspect", "layers=conv9", "input_size=8"], "a conv of kernel 9 x 9 gives no cells from 8 x 8; give a larger input"),
        (["inspect", "classifier=resnet50"], "classifier=resnet50 is not known; write compact, or torchvision/NAME or timm/NAME"),
        (["inspect", "model=fcn16s", "backbone=compact"], "an FCN-16s needs features at the strides"),
        (["inspect", "image=none.jpg"], "there is no file none.jpg"),
    ],
)
def test_what_cannot_be_done_is_answered_in_one_line(capsys, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if "device=cuda" in words:
        monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    status, error = answer(capsys, *words)
    assert status == 1
    assert message in error
    assert "\n" not in error.split("fcn: ", 1)[1]
    assert not list(tmp_path.rglob("*.pt"))  # and nothing was written


def test_help_is_quick_and_needs_no_torch():
    code = "import sys; from fcn.cli.main import run; sys.exit(run(['--help']) + run(['train', '--help']) + ('torch' in sys.modules))"
    times = []
    for _ in range(3):
        begin = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        times.append(time.monotonic() - begin)
        assert done.returncode == 0, done.stderr
        assert "fcn train -m upsample=transposed,bilinear" in done.stdout
    assert min(times) < 1


def test_a_reader_that_closes_the_pipe_ends_it_quietly():
    with subprocess.Popen([sys.executable, "-m", "fcn", "train", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as call:
        call.stdout.close()
        assert call.stderr.read() == b""
    assert call.returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples(capsys, command):
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"fcn {command}" in text
    assert ("output=null" in text) is (command != "demo")  # a page, which leaves no files


def test_runs_that_start_together_get_different_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        folders = list(pool.map(lambda _: new_folder("train", None), range(20)))
    assert len(set(folders)) == 20


def test_version(capsys):
    assert run(["--version"]) == 0
    assert capsys.readouterr().out.startswith("fcn 0.")


def test_what_may_be_given_beside_resume_exists():
    for command, keys in BESIDE_RESUME.items():
        assert set(keys) <= set(COMMANDS[command].__dataclass_fields__)


def test_a_list_may_be_null_or_refer_to_another_setting():
    assert compose("ceiling", ["splits=null"]).splits is None
    assert compose("train", ["augment.scale=${data.recipe.scale}"]) == compose("train", [])
    assert compose("compare", ["data.seed=1"]).settings.data.seed == 1


def test_a_sweep_over_lists_makes_one_run_for_each(tmp_path):
    words = ["data.train_count=2", "data.val_count=1", "workers=0", "strides=[32],[16,8]"]
    assert run(["ceiling", "-m", *words, f"output={tmp_path / 'sweep'}"]) == 0
    found = [set(json.loads(file.read_text())["strides"]) for file in sorted((tmp_path / "sweep").glob("*/ceiling.json"))]
    assert found == [{"16", "8"}, {"32"}]


class TestResume:
    """Each command goes on with its own folders, and names the command that goes on with another's."""

    def folder(self, path, settings):
        path.mkdir(parents=True)
        (path / "config.yaml").write_text(settings)
        return path

    def test_a_run_is_no_comparison(self, tmp_path, capsys):
        run_folder = self.folder(tmp_path / "run", "seed: 0\n")
        message = f"fcn: resume={run_folder} is an output folder of fcn train; fcn train resume={run_folder} goes on with it"
        assert answer(capsys, "compare", f"resume={run_folder}") == (2, message)

    def test_a_comparison_is_no_run(self, tmp_path, capsys):
        whole = self.folder(tmp_path / "whole", "seeds: [0]\n")
        message = f"fcn: resume={whole} is an output folder of fcn compare; fcn compare resume={whole} goes on with it"
        assert answer(capsys, "train", f"resume={whole}") == (2, message)

    @pytest.mark.parametrize("command", BESIDE_RESUME)
    def test_a_training_of_a_comparison_goes_on_with_the_comparison(self, command, tmp_path, capsys):
        whole = self.folder(tmp_path / "whole", "seeds: [0]\n")
        cell = self.folder(whole / "cells" / "nearest-0", "seed: 0\n")
        message = f"fcn: resume={cell} is one training of a comparison; fcn compare resume={whole} goes on with all of them"
        assert answer(capsys, command, f"resume={cell}") == (2, message)

    @pytest.mark.parametrize(
        ("spoil", "reason"),
        [
            (lambda text: "", ""),
            (lambda text: "a: [1", ""),
            (lambda text: "- 1", "no settings by name"),
            (lambda text: "3", "no settings by name"),
            (lambda text: "seed: 0", ""),
            (lambda text: text.replace("batch_size: 4", "batch_size: -2"), "batch_size=-2 is not allowed"),
            (
                lambda text: text.replace("batch_size: 4", "batch_size: two"),
                "of fcn: batch_size=two is not allowed; batch_size is a whole number",
            ),
            (lambda text: text.replace("batch_size: 4", "batch_size: ???"), "batch_size has no value"),
            (lambda text: text.replace("batch_size: 4", "batch_size: ${nothing}"), "of fcn: batch_size=${nothing} is not allowed"),
            (lambda text: text.replace("batch_size: 4", "batch_size: ${seed"), "batch_size=${seed is not allowed"),
            (lambda text: text.replace("batch_size: 4", "batch_size: ${seed}"), "of fcn: batch_size=${seed} is not allowed"),
            (lambda text: text.replace("batch_size: 4", "batch_size: 4\nbatch_size: 8"), "it gives batch_size twice"),
            (lambda text: text.replace("name: fcn8s", "name: fcn9s"), "model=fcn9s is not known"),
            (lambda text: text.replace("name: fcn8s", "name: [1]"), ""),
            (lambda text: f"{text}more: 3\n", "more"),
            (lambda text: f"{text}x: {'[' * 3000}{']' * 3000}\n", "nested more than"),
            (
                lambda text: text + "a: &a [1,2]\n" + "".join(f"b{i}: &a [{','.join(['*a'] * 9)}]\n" for i in range(9)),
                "a reference (*name)",
            ),
            (lambda text: text + "#" * 100_000, "bytes"),
            (lambda text: text.encode() + b"x: \xff\n", "'utf-8' codec"),
        ],
    )
    def test_damaged_settings_are_told(self, spoil, reason, tmp_path, capsys):
        whole = yaml.safe_dump(asdict(compose("train", ["model=fcn8s", "batch_size=4"])))
        assert {"batch_size: 4", "  name: fcn8s"} <= set(whole.splitlines())
        spoilt = spoil(whole)
        run_folder = self.folder(tmp_path / "run", "")
        (run_folder / "config.yaml").write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())
        status, error = answer(capsys, "train", f"resume={run_folder}")
        begin = f"fcn: {run_folder / 'config.yaml'} is damaged, or of another version of fcn: "
        assert (status, error.startswith(begin), reason in error, "\n" in error) == (2, True, True, False), error

    def test_settings_that_a_run_did_not_write_down_are_told(self, tmp_path, caplog):
        whole = yaml.safe_dump(asdict(compose("train", ["batch_size=4"])))
        run_folder = self.folder(tmp_path / "run", whole.replace("batch_size: 4\n", ""))
        assert compose("train", [f"resume={run_folder}"]) is not None
        assert f"{run_folder / 'config.yaml'} has no batch_size; the default is used" in caplog.text

    def test_a_run_that_lost_its_settings_is_told_of_its_checkpoints(self, tmp_path, capsys):
        run_folder = self.folder(tmp_path / "run", "")
        (run_folder / "config.yaml").unlink()
        (run_folder / "best.pt").touch()
        status, error = answer(capsys, "train", f"resume={run_folder}")
        assert status == 2
        assert f"model.weights={run_folder / 'best.pt'} output=NEW" in error


def test_a_sweep_makes_one_run_for_each_combination(tmp_path):
    folder = tmp_path / "sweep"
    words = [*TINY, "data.train_count=2", "data.val_count=1", "epochs=1", "upsample=bilinear,nearest", "seed=range(0,2)"]
    assert run(["train", "-m", *words, f"output={folder}"]) == 0
    runs = sorted(path for path in folder.iterdir() if path.is_dir())
    assert len(runs) == 4
    assert all((path / "best.pt").is_file() for path in runs)
    assert sum("upsample=nearest" in path.name for path in runs) == 2
    assert sum("seed=1" in path.name for path in runs) == 2


class TestEvaluate:
    def test_states_its_scores_and_its_protocol(self, tiny_run, tmp_path, capsys):
        assert run(["evaluate", f"checkpoint={tiny_run / 'best.pt'}", f"output={tmp_path / 'out'}", "device=cpu", "workers=0"]) == 0
        assert {path.name for path in (tmp_path / "out").iterdir()} == {
            "metrics.json",
            "confusion.png",
            "table.txt",
            "images.csv",
            "worst.png",
            "report.html",
        }
        result = json.loads((tmp_path / "out" / "metrics.json").read_text())
        assert result["protocol"]["images"] == 3
        assert result["protocol"]["split"] == "val"
        assert result["protocol"]["inference"] == {"name": "auto", "passes": 12, "memory": None, "flip": False, "scales": [1.0]}
        out = capsys.readouterr().out
        assert "shapes val: 3 images at their own resolution, inference=auto, fp32, void left out" in out
        best = max(
            (line for line in map(json.loads, (tiny_run / "metrics.jsonl").read_text().splitlines()) if line["kind"] == "val"),
            key=lambda line: line["miou"],
        )
        assert result["miou"] == best["miou"]  # the same number as the training printed

    def test_scores_are_those_of_the_training_also_where_it_computes_in_bf16(self, tmp_path):
        words = [*TINY, "precision=bf16", "epochs=1", "data.val_count=6"]
        assert run(["train", *words, f"output={tmp_path / 'run'}"]) == 0
        assert run(["evaluate", f"checkpoint={tmp_path / 'run' / 'best.pt'}", f"output={tmp_path / 'out'}", "device=cpu", "workers=0"]) == 0
        trained = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
        scored = json.loads((tmp_path / "out" / "metrics.json").read_text())
        for key in ("miou", "pixel_accuracy", "mean_accuracy"):
            assert trained[key] == scored[key]
        assert all(values.items() <= scored["classes"][name].items() for name, values in trained["classes"].items())

    def test_another_split_and_strategy(self, tiny_run, tmp_path):
        words = [f"checkpoint={tiny_run / 'best.pt'}", "split=test", "inference=windows", "inference.size=48", "device=cpu", "workers=0"]
        assert run(["evaluate", *words, f"output={tmp_path / 'out'}"]) == 0
        assert json.loads((tmp_path / "out" / "metrics.json").read_text())["protocol"]["inference"]["size"] == 48

    def test_data_of_other_classes_is_refused(self, tiny_run, tmp_path, capsys):
        root = tmp_path / "mine"
        for name in ("images", "masks"):
            (root / name).mkdir(parents=True)
            Image.new("L" if name == "masks" else "RGB", (8, 8)).save(root / name / "a.png")
        (root / "classes.txt").write_text("ground\nroad\n")
        (root / "val.txt").write_text("a\n")
        status, error = answer(capsys, "evaluate", f"checkpoint={tiny_run / 'best.pt'}", "data=folder", f"data.root={root}", "device=cpu")
        assert status == 1
        assert (
            "was trained for 7 classes (background, disk, ring, triangle, rectangle and 2 more) and data=folder has 2 (ground, road"
            in error
        )

    def test_a_submission_is_for_voc(self, tiny_run, capsys):
        status, error = answer(capsys, "evaluate", f"checkpoint={tiny_run / 'best.pt'}", "submission=true", "device=cpu")
        assert status == 1
        assert "data=shapes is not VOC" in error


class TestPredict:
    def test_every_kind_of_picture_and_a_broken_one(self, tiny_run, tmp_path, capsys):
        photos = tmp_path / "photos"
        photos.mkdir()
        rng = np.random.default_rng(0)
        rgb = Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8))
        rgb.save(photos / "color.jpg")
        rgb.convert("L").save(photos / "gray.png")
        rgb.convert("RGBA").save(photos / "alpha.png")
        rgb.convert("P").save(photos / "palette.png")
        rgb.convert("CMYK").save(photos / "cmyk.jpg")
        Image.fromarray(rng.integers(0, 65536, (40, 60), dtype=np.uint16)).save(photos / "deep.png")
        exif = Image.Exif()
        exif[0x0112] = 6
        rgb.save(photos / "turned.jpg", exif=exif)
        Image.new("RGB", (1, 1)).save(photos / "dot.png")
        (photos / "broken.jpg").write_bytes((photos / "color.jpg").read_bytes()[:200])
        status = run(["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={photos}", f"output={tmp_path / 'out'}", "device=cpu"])
        assert status == 1
        assert "8 of 9 images labelled" in capsys.readouterr().out
        for name in ("color", "gray", "alpha", "palette", "cmyk", "deep", "turned", "dot"):
            with Image.open(tmp_path / "out" / f"{name}.png") as labels:
                assert labels.mode == "P"
                assert labels.size == {"turned": (40, 60), "dot": (1, 1)}.get(name, (60, 40))
                assert np.asarray(labels).max() < 7
            assert (tmp_path / "out" / f"{name}_overlay.jpg").is_file()
        assert not list((tmp_path / "out").glob("broken*"))

    def test_what_cannot_be_opened_costs_no_other_picture(self, tiny_run, tmp_path, capsys):
        Image.new("RGB", (5, 4)).save(tmp_path / "b.png")
        (tmp_path / "a.png").symlink_to(tmp_path / "nowhere.png")
        assert run(["predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path}", f"output={tmp_path / 'out'}", "device=cpu"]) == 1
        assert (tmp_path / "out" / "b.png").is_file()
        assert "skipped" in (error := capsys.readouterr().err)
        assert "a.png" in error

    def test_an_image_is_let_go_before_the_next_is_read(self, tiny_run, tmp_path, monkeypatch):
        for name in "abc":
            Image.new("RGB", (5, 4)).save(tmp_path / f"{name}.png")
        seen = []

        def one_at_a_time(path, images):
            assert not any(image() for image in seen)
            image = open_as(path, images)
            seen.append(weakref.ref(image))
            return image

        monkeypatch.setattr(labelling, "open_as", one_at_a_time)
        monkeypatch.setattr(labelling, "ROOM", 0)  # where images are large
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path}", f"output={tmp_path / 'out'}", "device=cpu"]
        assert run(["predict", *words]) == 0
        assert len(seen) == 3

    def test_augmented_with_a_map_of_confidence(self, tiny_run, tmp_path):
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
        image.save(tmp_path / "a.png")
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'a.png'}", f"output={tmp_path / 'out'}", "device=cpu"]
        assert run(["predict", *words, "confidence=true", "inference.flip=true", "inference.scales=[0.5,1]"]) == 0
        with Image.open(tmp_path / "out" / "a_confidence.png") as sure:
            assert (sure.mode, sure.size) == ("L", (60, 40))
            assert np.asarray(sure).min() >= 255 // 7  # of seven classes, the largest has at least its share

    def test_names_do_not_meet_those_of_overlays(self):
        paths = ["x/a.jpg", "x/a_overlay.jpg", "x/a_confidence.png", "y/b.png", "y/b.jpg", "z/b.png"]
        assert len(set().union(*map(written_for, output_names([Path(path) for path in paths])))) == 30

    def test_a_glob_and_stems_that_meet(self, tiny_run, tmp_path):
        for folder, suffix in (("a", "png"), ("b", "png"), ("b", "bmp")):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.new("RGB", (5, 4)).save(tmp_path / folder / f"x.{suffix}")
        words = [f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path}/*/x.*", f"output={tmp_path / 'out'}", "device=cpu"]
        assert run(["predict", *words]) == 0
        assert len([path for path in (tmp_path / "out").rglob("*.png") if "overlay" not in path.name]) == 3

    def test_an_empty_folder_and_a_used_output_are_refused(self, tiny_run, tmp_path, capsys):
        (tmp_path / "empty").mkdir()
        status, error = answer(capsys, "predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'empty'}")
        assert (status, "holds no image" in error) == (1, True)
        Image.new("RGB", (5, 4)).save(tmp_path / "x.png")
        status, error = answer(capsys, "predict", f"checkpoint={tiny_run / 'best.pt'}", f"input={tmp_path / 'x.png'}", f"output={tmp_path}")
        assert (status, "holds something already" in error) == (1, True)


def test_a_word_that_several_libraries_have_is_suggested_once():
    assert suggest("resnte18", ["resnet18", "resnet34", "resnet18"]) == "did you mean resnet18?"
