"""``fcn export``: the file gives what the model gives, at sizes that it was not verified at, and says what a program needs to know."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import fcn
from fcn.cli.main import run
from fcn.tools.export.verify import TOLERANCE, compared

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def small_model(seed=0):
    """A network of a user's own with a stride, padded sides and a resize at its end."""
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 3, 1), nn.Upsample(scale_factor=2, mode="bilinear"))
    return fcn.wrap(network, mean=(0.5, 0.4, 0.3), std=(0.2, 0.25, 0.3), classes=["ground", "road", "sky"]).eval()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of pictures of odd sizes."""
    folder = tmp_path_factory.mktemp("photographs")
    noise = np.random.default_rng(0)
    for index, size in enumerate(((61, 83), (40, 57))):
        coarse = Image.fromarray(noise.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        coarse.resize(size[::-1], Image.Resampling.BICUBIC).save(folder / f"{index}.png")
    return folder


@pytest.fixture(scope="module")
def model():
    return small_model()


@pytest.fixture(scope="module")
def exported(tmp_path_factory, model):
    return fcn.export(model, tmp_path_factory.mktemp("exported") / "onnx")


def scores_of(model, images):
    with torch.no_grad():
        return model(model.normalize(images))


def given_by(file, images):
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.float().numpy()})[0])


@pytest.mark.parametrize("shape", [(1, 3, 61, 83), (3, 3, 40, 57), (2, 3, 17, 16), (1, 3, 5, 300)])
def test_the_file_gives_the_scores_of_the_model_at_any_size(exported, model, shape):
    images = torch.from_numpy(np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8))
    torch.testing.assert_close(given_by(exported.file, images), scores_of(model, images), rtol=1e-4, atol=1e-5)


def test_the_report_says_what_was_verified(exported):
    report = json.loads((exported.file.parent / "verification.json").read_text())
    assert report["file"] == "model.onnx"
    sizes = [(check["images"], check["height"], check["width"]) for check in report["checks"]]
    assert len(set(sizes)) == 4
    assert any(height % 2 and width % 2 for _, height, width in sizes)
    assert max(count for count, _, _ in sizes) > 1
    assert all(check["difference"] <= TOLERANCE and check["labels"] == check["ties"] for check in report["checks"])
    assert str(exported).count("\n") == 5


def test_the_metadata_is_that_of_the_model_and_deepness_feeds_the_file_right(exported, model):
    session = onnxruntime.InferenceSession(str(exported.file), providers=["CPUExecutionProvider"])
    entries = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert [entries["class_names"][str(index)] for index in range(3)] == list(model.labels.names)
    assert [tuple(color) for color in entries["class_colors"]] == list(model.labels.colors)
    assert entries["mean"] == pytest.approx([127.5, 102, 76.5], abs=1e-4)
    assert entries["std"] == pytest.approx([51, 63.75, 76.5], abs=1e-4)
    assert entries["receptive_field"][0] == entries["receptive_field"][1] == fcn.receptive_field(model, 64).size[0]
    assert entries["model_type"] == "Segmentor"
    assert [size if isinstance(size, int) else "open" for size in session.get_inputs()[0].shape] == ["open", 3, "open", "open"]
    values = np.random.default_rng(2).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)  # what the plugin does with a tile, in its own layout
    seen = (np.float32(values / 255.0) - np.array(entries["standardization_mean"])) / np.array(entries["standardization_std"])
    np.testing.assert_allclose(seen, values, atol=1e-3)


def test_predict_and_evaluate_run_the_file(exported, model, photographs, tmp_path, capsys):
    words = [f"checkpoint={exported.file}", "device=cpu"]
    for strategy in ("auto", "windows"):
        out = tmp_path / strategy
        given = [f"input={photographs}", f"inference={strategy}", f"output={out}", "confidence=true", "overlay=none"]
        assert run(["predict", *words, *given, *["inference.size=48"] * (strategy == "windows")]) == 0
        options = {"size": 48} if strategy == "windows" else {}
        for name in ("0.png", "1.png"):
            with torch.no_grad():
                expected = fcn.predict(model, photographs / name, strategy="whole" if strategy == "auto" else strategy, **options)
            assert (np.asarray(Image.open(out / name)) == expected).mean() > 0.999
    loaded = fcn.load(exported.file)
    split = fcn.create_split("shapes", "val", val_count=3)
    both = [small_model().labels, loaded.labels]
    assert both[0] == both[1]
    model.labels = loaded.labels = None  # the pictures have other classes
    try:
        names = fcn.LabelSet(("ground", "road", "sky"))
        three = Renamed(split, names)
        scores = [fcn.evaluate(each, three, workers=0, verify="none", strategy="whole").confusion for each in (model, loaded)]
    finally:
        model.labels = both[0]
    assert np.abs(np.asarray(scores[0]) - np.asarray(scores[1])).sum() <= 4  # ties


class Renamed:
    """A split with its classes taken together to three."""

    def __init__(self, split, labels):
        self.split, self.labels, self.names = split, labels, split.names

    def __len__(self):
        return len(self.split)

    def __getitem__(self, index):
        return self.split[index][0], self.truth(index)

    def truth(self, index):
        return self.split.truth(index) % 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["inference=stream"], "inference=stream reads a network's layers, and {file} is an exported file"),
        (["inference=auto", "inference.memory=1"], "inference.memory=1.0 bounds a stream"),
        (["precision=bf16"], "computes in the number format of the file; leave precision out"),
    ],
)
def test_what_a_file_cannot_do_is_refused(exported, photographs, words, said, tmp_path, capsys):
    assert run(["predict", f"checkpoint={exported.file}", f"input={photographs}/0.png", f"output={tmp_path / 'out'}", *words]) == 1
    assert said.format(file=exported.file) in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_files_that_are_none_of_ours_are_refused(exported, tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(exported.file.read_bytes()[:200])
    with pytest.raises(fcn.UserError, match=r"cannot be read as an ONNX file"):
        fcn.load(damaged)
    import onnx

    proto = onnx.load(exported.file)
    del proto.metadata_props[:]
    onnx.save(proto, tmp_path / "foreign.onnx")
    with pytest.raises(fcn.UserError, match=r"it is not of fcn export"):
        fcn.load(tmp_path / "foreign.onnx")
    with pytest.raises(FileNotFoundError, match=r"there is no file"):
        fcn.load(tmp_path / "missing.onnx")
    with pytest.raises(fcn.UserError, match=r"holds its network itself; leave network out"):
        fcn.load(exported.file, network=nn.Conv2d(3, 3, 1))
    with pytest.raises(fcn.UserError, match=r"^\S*model\.onnx is an exported file, whose layers cannot be read; give the checkpoint"):
        fcn.receptive_field(fcn.load(exported.file))
    with pytest.raises(fcn.UserError, match=r"is an exported file, which cannot be trained"):
        fcn.train(fcn.load(exported.file), *(fcn.create_split("shapes", name, train_count=2, val_count=2) for name in ("train", "val")))
    with pytest.raises(fcn.UserError, match=r"model\.onnx is an exported file, whose weights cannot be trained; give the checkpoint"):
        fcn.create_model("fcn8s", backbone="compact", num_classes=3, weights=str(exported.file))
    assert run(["benchmark", f"checkpoint={exported.file}", f"output={tmp_path / 'benchmark'}"]) == 1
    assert not (tmp_path / "benchmark").exists()
    with pytest.raises(fcn.UserError, match=r"is exported already"):
        fcn.export(fcn.load(exported.file), tmp_path / "again")


@pytest.mark.parametrize("format", ["torch", "safetensors"])
def test_other_formats_give_the_scores_too(model, format, tmp_path):
    found = fcn.export(model, tmp_path / "out", format=format)
    if format == "torch":
        program = torch.export.load(found.file).module()
    else:
        loaded = fcn.load(tmp_path / "out", network=small_model(seed=5).backbone.network)
    for shape in ((3, 3, 45, 62), (1, 3, 1, 1)):
        images = torch.from_numpy(np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8))
        given = program(images.float()) if format == "torch" else scores_of(loaded, images)
        torch.testing.assert_close(given, scores_of(model, images), rtol=1e-4, atol=1e-5)


def test_a_file_that_differs_is_not_written(model, tmp_path, monkeypatch):
    from fcn.tools.export import call

    right = call.folder_runner

    def wrong(*words):
        module = right(*words)
        return lambda images: module(images) * 1.001

    monkeypatch.setattr(call, "folder_runner", wrong)
    with pytest.raises(fcn.UserError, match=r"model\.safetensors is not written, since .*: scores differ by 0\.0"):
        fcn.export(model, tmp_path / "out", format="safetensors")
    assert not (tmp_path / "out").exists()


def test_scores_are_compared_by_their_range_and_labels_but_for_ties():
    wanted = torch.tensor([0.0, 10.0, 5.0, 5.0004]).view(1, 2, 1, 2).clone()  # class scores (0, 5) and (10, 5.0004)
    assert compared(wanted, wanted).difference == 0
    moved = wanted.clone()
    moved[0, 0, 0, 0] += 0.002
    assert compared(wanted, moved).difference == pytest.approx(2e-4, rel=1e-3)
    assert not compared(wanted, moved).agrees
    near = torch.tensor([1.0, 1.00001, 0.0, 9.0]).view(1, 2, 1, 2)[:, :, :, :]  # (1, 0) and (1.00001, 9)
    tied = torch.stack([torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0005, 9.0]])])[None]
    swapped = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    found = compared(tied, swapped, labels=True)
    assert (found.labels, found.ties, found.agrees) == (1, 1, True)
    assert not compared(near, 1 - near.argmax(1), labels=True).agrees
    assert not compared(wanted, wanted[..., :1]).agrees
    assert not compared(wanted, torch.full_like(wanted, torch.nan)).agrees


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"labels": True, "softmax": True}, r"labels and softmax are both asked for"),
        ({"format": "safetensors", "labels": True}, r"labels is part of a program"),
        ({"format": "safetensors", "tile": 64}, r"tile=64 fixes the sides of a program"),
        ({"tile": 8}, r"tile=8 is not allowed"),
        ({"format": "onx"}, r"format='onx' is not known; it is one of onnx, torch, safetensors"),
        ({"images": []}, r"there is no image to verify the file with"),
        ({"images": [np.zeros((4, 4, 3), np.uint8)], "split": [0]}, r"images and a split are both given"),
    ],
)
def test_a_wrong_call_is_answered(model, tmp_path, words, said):
    with pytest.raises(fcn.UserError, match=said):
        fcn.export(model, tmp_path / "out", **words)
    assert not (tmp_path / "out").exists()


def test_a_model_without_classes_and_one_of_other_images_are_answered(tmp_path):
    nameless = fcn.wrap(nn.Conv2d(3, 2, 1), mean=0.5, std=0.5)
    with pytest.raises(fcn.UserError, match=r"does not know its classes"):
        fcn.export(nameless, tmp_path / "out")
    five = fcn.wrap(nn.Conv2d(5, 2, 1), mean=(0.5,) * 5, std=(0.2,) * 5, dtype="uint16", scale=1 / 65535, classes=["a", "b"])
    with pytest.raises(fcn.UserError, match=r"the built-in pictures are RGB; give images or data"):
        fcn.export(five, tmp_path / "out", format="safetensors")
    images = [np.random.default_rng(4).integers(0, 65536, (50, 60, 5), dtype=np.uint16)]
    assert fcn.export(five, tmp_path / "out", format="safetensors", images=images).file.is_file()


def test_a_missing_package_is_one_sentence(model, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(fcn.UserError, match=r'format=onnx needs onnxscript, .* pip install "fcn-toolkit\[export\]"'):
        fcn.export(model, tmp_path / "out")
