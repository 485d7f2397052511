"""Every script, and every benchmark that the documents cite, in its smallest form: they run, and leave what they promise."""

import importlib.util
import io
import json
import re
import shlex
import zipfile
from itertools import product
from pathlib import Path

import pytest
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.core.registry import list_parts
from fcn.models.compact import compact

ROOT = Path(__file__).parent.parent
SCRIPTS = {path.stem for path in (ROOT / "scripts").glob("*.py")}
TEXTS = [ROOT / "README.md", ROOT / "Makefile", *sorted((ROOT / "docs").glob("*.md"))]
CITED = [line.split(" #")[0].strip() for path in TEXTS for line in path.read_text().splitlines() if line.startswith("fcn benchmark")]
SMALL = {
    "image_sizes": "[64]",
    "window": "64",
    "size": "256",
    "windows": "1",
    "turns": "1",
    "labelmap_size": "64",
    "device": "cpu",
    "precision": "fp32",
}


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_scripts_that_are_cited_are_there_and_the_others_are_cited():
    assert {name for path in TEXTS for name in re.findall(r"scripts/(\w+)\.py", path.read_text())} == SCRIPTS


def test_the_training_benchmark(capsys):
    script("benchmark_training")(["network=lraspp", "crop=32", "batch=2", "steps=1", "images=2", "turns=1"])
    printed = capsys.readouterr().out
    assert (
        len(re.findall(r"^(?:input pipeline|training step, lraspp) +(?:reference|ours[\w, ]*) +[\d.]+ images/s +[\d.]+x$", printed, re.M))
        == 5
    )
    with pytest.raises(SystemExit, match="'turn=1' is no setting; allowed: network, crop"):
        script("benchmark_training")(["turn=1"])


def test_the_benchmark_of_sizes(capsys):
    script("benchmark_sizes")(["--model", "fcn8s", "--backbone", "compact", "--count", "3", "--size", "64", "64"])
    assert re.search(r"^3 sizes take [\d.]+ of the time of one size$", capsys.readouterr().out, re.M)


@pytest.mark.slow
def test_the_benchmark_of_rasters(capsys):
    script("benchmark_raster")(["--backbone", "compact", "--side", "700", "--reference", "600", "--memory", "0.05"])
    printed = capsys.readouterr().out
    assert len(re.findall(r"^\d00x\d00: peak [01]\.\d\d GiB, [01]\.\d\d GiB of it before", printed, re.M)) == 2
    assert re.search(r"^time per pixel: [\d.]+ of that at 600x600$", printed, re.M)


@pytest.mark.slow
def test_the_benchmark_of_processes(capsys):
    script("benchmark_raster")(["--backbone", "compact", "--side", "300", "--memory", "0.05", "--processes", "2", "--turns", "1"])
    assert re.search(r"^2 processes of one thread are [\d.]+ times as fast as one", capsys.readouterr().out, re.M)


def test_settings_of_a_step_leave_its_loss(capsys):
    words = ["model=fcn4s", "backbone=compact", "crop=32", "batch=2", "steps=1", "turns=1", "loss=cross_entropy,lovasz", "device=cpu"]
    script("benchmark_steps")([*words, "with=gradient_checkpointing"])
    plain, other = re.findall(r"^(\w+) +[\d.]+ s/step .* loss ([\d.]+)$", capsys.readouterr().out, re.M)
    assert other == ("gradient_checkpointing", plain[1])


def test_the_parts_of_a_step_are_all_of_it(capsys):
    script("profile_step")(["model=fcn4s", "backbone=compact", "crop=32", "batch=2", "steps=1"])
    parts, kinds, _ = capsys.readouterr().out.split("\n\n")
    shares = dict(re.findall(r"^(\w+) +[\d.]+ s +(\d+)%$", parts, re.M))
    assert set(shares) == {"forward", "loss", "backward", "optimizer", "other"}
    assert sum(map(int, shares.values())) == pytest.approx(100, abs=3)
    assert re.search(r"^3x3 convolutions, backward +[\d.]+ s", kinds, re.M)


@pytest.mark.slow
def test_the_network_of_the_package_can_be_trained_again(tmp_path, capsys):
    script("train_builtin")([f"run={tmp_path / 'run'}", f"folder={tmp_path / 'builtin'}", "epochs=1"])
    assert re.search(r"builtin: 0\.\d\d MB, mIoU [\d.]+ on the validation split", capsys.readouterr().out)
    weights = fcn.load(tmp_path / "builtin").state_dict()
    assert weights.keys() == fcn.load("builtin").state_dict().keys()


@pytest.mark.slow
def test_our_training_follows_a_plain_loop(capsys):
    script("compare_loops")(["epochs=1", "seeds=1", "images=4", "size=64", "batch=2"])
    printed = capsys.readouterr().out
    plain, ours = re.search(r"loss of step 1, first seed:  plain loop ([\d.]+)  ours, float32 ([\d.]+)", printed).groups()
    assert abs(float(plain) - float(ours)) < 1e-4
    assert re.search(r"^    1 +[\d.]+ \+- 0\.00 +[\d.]+ \+- 0\.00 +[\d.]+ \+- 0\.00$", printed, re.M)


@pytest.fixture(scope="module")
def classifier(tmp_path_factory):
    """What the script leaves that trains a classifier, on 24 pictures in an archive."""
    folder = tmp_path_factory.mktemp("classifier")
    with zipfile.ZipFile(folder / "pictures.zip", "w") as archive:
        for split, kind, index in product(("train", "test"), ("blue", "red"), range(6)):
            data = io.BytesIO()
            Image.new("RGB", (32, 32), (0, 0, 150 + 10 * index) if kind == "blue" else (150 + 10 * index, 0, 0)).save(data, "PNG")
            archive.writestr(f"pictures/{split}/{kind}/{index}.png", data.getvalue())
    words = ["data=folder", f"root={folder / 'pictures.zip'}", f"output={folder}", "epochs=25", "batch=6", "lr=0.05", "device=cpu"]
    script("train_classifier")(words)
    return folder


def test_a_classifier_learns(classifier):
    result = json.loads((classifier / "result.json").read_text())
    assert result["accuracy"] == 1.0
    assert result["classes"] == ["blue", "red"]
    assert result["parameters"] < 1_000_000
    assert len(result["mosaic"][0]) == 12
    assert Image.open(classifier / "mosaic.png").size == (12 * 32, 32)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=cifar"], "data=cifar is not known; allowed: cifar10, folder"),
        (["data=folder", "root=nowhere"], "root=nowhere is no folder and no archive"),
        (["root=nowhere"], "root=nowhere: CIFAR-10 is not there; give root=DIR, download=true"),
        (["epoch=3"], "'epoch=3' is no setting; allowed: data, root"),
    ],
)
def test_what_no_classifier_can_be_trained_on_is_told(words, message):
    with pytest.raises(SystemExit, match=re.escape(message)):
        script("train_classifier")(words)


def test_the_page_from_classifier_to_map_runs(classifier, tmp_path, monkeypatch, capsys):
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "classifier").symlink_to(classifier)
    monkeypatch.chdir(tmp_path)
    for code in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "from_classifier_to_map.md").read_text(), re.DOTALL):
        exec(compile(code, "from_classifier_to_map.md", "exec"), {"__name__": "block"})
    assert "stride 8 x 8" in capsys.readouterr().out


def test_the_classifier_is_localized_in_its_mosaic(classifier, tmp_path, capsys):
    """As the page from_classifier_to_map says. Of the cells that stand on a picture of the mosaic, each names its class."""
    words = ["localize", "classifier=compact", f"weights={classifier / 'compact.pt'}", f"input={classifier / 'mosaic.png'}"]
    assert run([*words, "dense=window", "sliding=true", "device=cpu", f"output={tmp_path / 'mosaic'}"]) == 0
    assert "45 windows, 16 at a time" in capsys.readouterr().out
    result = json.loads((classifier / "result.json").read_text())
    network = compact(weights=str(classifier / "compact.pt")).eval()
    maps = fcn.localize(network, classifier / "mosaic.png", dense="window", names=result["classes"])
    assert maps.winner[0, ::4].tolist() == result["mosaic"][0]


def test_a_wrong_word_of_the_benchmark_of_predict():
    with pytest.raises(SystemExit, match="'image=2' is no setting; allowed: checkpoint, input, images, turns, overlay, device"):
        script("benchmark_predict")(["image=2"])


@pytest.mark.slow
def test_the_benchmark_of_predict(tiny_run, capsys):
    script("benchmark_predict")([f"checkpoint={tiny_run / 'best.pt'}", "images=4", "turns=1", "device=cpu"])
    lines = capsys.readouterr().out.splitlines()[1:]
    ways = ["network alone", *(f"fcn predict overlay={kind}" for kind in ("none", "jpg", "png"))]
    assert [line[:28].strip() for line in lines] == [*ways, "one process of one thread", "two processes of one thread"]
    assert all(re.search(r" [\d.]+ images/s +[\d.]+x of \w+", line) for line in lines)


def test_the_table_of_models(tmp_path, capsys):
    script("model_table")("models=lraspp")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[2].split()[1] == "`lraspp`"
    with pytest.raises(ValueError, match="'lrasp': no such model; there are fcn32s"):
        script("model_table")("models=lrasp")


@pytest.mark.slow
def test_the_table_of_models_in_a_file(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("<!-- models -->\n<!-- /models -->\n")
    script("model_table")(str(page))
    assert set(re.findall(r"^\| `(\w+)` +\|", page.read_text(), re.M)) == set(list_parts("model"))


def test_pictures_of_the_built_in_data(tmp_path):
    script("draw_shapes")(str(tmp_path / "pictures"), "2")
    assert len([Image.open(path).load() for path in (tmp_path / "pictures").glob("*.png")]) == 2


QUICK = ("sizes", "transposed", "nan_trick", "matrix")
SLOW = ("field", "causal", "fields_of_networks", "windows", "dilated", "separable", "shuffle", "checkerboard")


@pytest.mark.parametrize("names", [QUICK, pytest.param((), marks=pytest.mark.slow)], ids=["some", "all"])
def test_pictures_of_the_geometry(names, tmp_path):
    script("draw_geometry")(str(tmp_path), *names)
    assert {path.stem for path in tmp_path.iterdir()} == set(names or QUICK + SLOW)


@pytest.mark.slow
def test_pictures_of_tiles(tmp_path):
    script("draw_tiling")(str(tmp_path), "1", "128")
    assert {path.stem for path in tmp_path.iterdir()} == {"seams", "distances"}


def test_an_unknown_picture_is_refused(tmp_path):
    with pytest.raises(SystemExit, match="sises: no such picture; there are sizes, field"):
        script("draw_geometry")(str(tmp_path / "none"), "sises")
    assert not (tmp_path / "none").exists()


def smallest(line):
    """The words of a cited command with every size small: those that it sets, and those that it leaves at their defaults."""
    words = dict(word.split("=", 1) for word in shlex.split(line)[2:])
    given = {key: value for key, value in SMALL.items() if words.get(key) not in ("[]", "null")}
    return [f"{key}={value}" for key, value in {**words, **given}.items()]


@pytest.mark.slow
@pytest.mark.parametrize("line", list(dict.fromkeys(CITED)))
def test_a_cited_benchmark_runs(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fcn.save(fcn.create_model("fcn4s", backbone="compact", classes=["sky", "road", "car"]), "best.pt")
    Image.new("RGB", (20, 30), "olive").save("photo.png")
    line = line.replace("RUN/best.pt", "best.pt").replace("PHOTOGRAPH", "photo.png")
    assert run(["benchmark", *smallest(line), f"output={tmp_path / 'report'}"]) == 0
    assert {path.name for path in (tmp_path / "report").iterdir()} == {"benchmark.json", "benchmark.md", "benchmark.png"}
