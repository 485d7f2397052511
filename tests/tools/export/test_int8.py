"""Export in int8: what becomes of the scores, which layers stay float, and what it is said to cost."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import fcn
from fcn.cli.main import run
from fcn.models.weight_files import model_state
from fcn.training.checkpoint import save_checkpoint

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

COUNTS = {"train_count": 6, "val_count": 3}


def colours():
    """A network of three convolutions that labels the built-in pictures: the last one is fitted, by least squares, to random features."""
    split = fcn.create_split("shapes", "train", **COUNTS)
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1), nn.ReLU6(), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.ReLU6())
    head = nn.Conv2d(16, split.labels.num_classes, 1)
    with torch.no_grad():
        samples = [split[index] for index in range(len(split))]
        features = torch.cat([body(image[None].float() / 255)[0].flatten(1) for image, _ in samples], 1)
        truth = torch.cat([labels.flatten() for _, labels in samples])
        features, truth = features[:, truth != fcn.VOID], truth[truth != fcn.VOID]
        targets = nn.functional.one_hot(truth.long(), split.labels.num_classes).float()
        solved = torch.linalg.lstsq(torch.cat([features, torch.ones(1, features.shape[1])]).T, targets).solution
        head.weight.copy_(solved[:-1].T[:, :, None, None])
        head.bias.copy_(solved[-1])
    return fcn.wrap(nn.Sequential(body, head), mean=0.0, std=1.0, classes=split.labels).eval()


@pytest.fixture(scope="module")
def splits():
    return [fcn.create_split("shapes", name, **COUNTS) for name in ("train", "val")]


@pytest.fixture(scope="module")
def exported(tmp_path_factory, splits):
    training, validation = splits
    return fcn.export(colours(), tmp_path_factory.mktemp("int8") / "out", int8=True, calibration=training, split=validation, calibrate=4)


def test_the_cost_is_what_fcn_evaluate_measures_of_both_files(exported, splits, tmp_path):
    cost, validation = exported.int8, splits[1]
    whole = fcn.export(colours(), tmp_path / "float").file
    scores = [fcn.evaluate(fcn.load(file), validation, strategy="whole", workers=0) for file in (whole, exported.file)]
    assert cost.miou_float == pytest.approx(scores[0].mean_iou, abs=1e-9)
    assert cost.miou == pytest.approx(scores[1].mean_iou, abs=1e-9)
    labels = [[fcn.predict(fcn.load(file), validation[i][0].movedim(0, -1).numpy()) for i in range(3)] for file in (whole, exported.file)]
    assert cost.agreement == pytest.approx(
        np.mean(np.concatenate([(one == two).ravel() for one, two in zip(*labels, strict=True)])), abs=1e-9
    )
    assert 0.9 < cost.agreement < 1  # rounded, and still the same picture
    assert (cost.images, cost.calibration) == (3, 4)
    assert (cost.bytes_float, cost.bytes) == (whole.stat().st_size, exported.file.stat().st_size)
    assert cost.time > 0
    report = json.loads((exported.file.parent / "verification.json").read_text())
    assert report["file"] == exported.file.name == "model.int8.onnx"
    assert report["int8"]["miou"] == cost.miou
    assert "equal labels: 9" in str(exported)


def test_only_layers_between_the_first_and_the_scores_are_int8(exported):
    graph = onnx.load(exported.file).graph
    makers = {output: node for node in graph.node for output in node.output}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    bits = []
    for node in convolutions:
        source = makers.get(node.input[1])
        bits.append(None if source is None else onnx.numpy_helper.to_array(stored[source.input[0]]))
    assert [weights is None for weights in bits] == [False, False, True]  # the last one makes the scores
    assert all(weights.dtype == np.int8 and abs(weights).max() <= 64 for weights in bits[:2])  # 7 bits
    scales = [onnx.numpy_helper.to_array(stored[makers[node.input[1]].input[1]]) for node in convolutions[:2]]
    assert [scale.shape for scale in scales] == [(16,), (16,)]  # one for each channel
    assert graph.output[0].name == "scores"
    assert makers["scores"].op_type != "DequantizeLinear"
    entries = onnxruntime.InferenceSession(str(exported.file)).get_modelmeta().custom_metadata_map
    assert json.loads(entries["fcn"])["labels"]["names"] == list(fcn.load(exported.file).labels.names)


def test_a_file_that_gives_other_labels_is_not_written(splits, tmp_path, monkeypatch):
    from fcn.tools.export import call

    right = call.write_int8

    def wrong(source, target, images):
        right(source, target, images)
        made = onnx.load(target)
        head = [tensor for tensor in made.graph.initializer if tensor.dims and tensor.dims[0] == splits[0].labels.num_classes]
        for tensor in head:  # weight and bias
            tensor.CopyFrom(onnx.numpy_helper.from_array(-onnx.numpy_helper.to_array(tensor), tensor.name))
        onnx.save(made, target)

    monkeypatch.setattr(call, "write_int8", wrong)
    with pytest.raises(fcn.UserError, match=r"model\.int8\.onnx is not written: int8 changes the labels of \d+ % of the pixels \(mIoU"):
        fcn.export(colours(), tmp_path / "out", int8=True, calibration=splits[0], split=splits[1])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"int8": True}, r"give calibration and split"),
        ({"calibrate": 3}, r"calibrate is for int8, which is not asked for"),
        ({"int8": True, "calibrate": 0}, r"calibrate=0 is not allowed"),
        ({"int8": True, "format": "torch"}, r"int8=True writes an ONNX file, and format=torch is asked for"),
        ({"int8": True, "labels": True, "tile": 64}, r"leave labels or tile out"),
    ],
)
def test_a_wrong_call_is_answered(words, said, tmp_path):
    with pytest.raises(fcn.UserError, match=said):
        fcn.export(colours(), tmp_path / "out", **words)
    assert not (tmp_path / "out").exists()


def test_a_model_with_nothing_to_round_is_answered(splits, tmp_path):
    model = fcn.wrap(nn.Conv2d(3, splits[0].labels.num_classes, 1), mean=0.5, std=0.2, classes=splits[0].labels)
    with pytest.raises(fcn.UserError, match=r"has no convolution before the ones that make the scores"):
        fcn.export(model, tmp_path / "out", int8=True, calibration=splits[0], split=splits[1])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_takes_the_data_that_the_checkpoint_names(splits, tmp_path, capsys, monkeypatch):
    torch.manual_seed(0)
    model = fcn.create_model("fcn8s", backbone="compact", classes=splits[0].labels).eval()
    nn.init.normal_(model.decoder.scores[0].weight, std=0.1)
    state = model_state(model, model.labels)
    save_checkpoint(state, tmp_path / "alone.pt")
    words = ["export", "int8=true", f"output={tmp_path / 'out'}"]
    assert run([*words, f"checkpoint={tmp_path / 'alone.pt'}"]) == 1
    assert "does not say what data it was trained on; give data=NAME" in capsys.readouterr().err
    assert run([*words, f"checkpoint={tmp_path / 'alone.pt'}", "images=x.png"]) == 2
    assert "int8=true is scored on label maps, and images=x.png has none" in capsys.readouterr().err
    assert run([*words[:1], f"checkpoint={tmp_path / 'alone.pt'}", "calibrate=3"]) == 2
    assert "calibrate=3 is for int8=true" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run([*words, f"checkpoint={tmp_path / 'alone.pt'}"]) == 1
    assert "fcn export runs in one process and cannot share its work; start it without torchrun" in capsys.readouterr().err
    monkeypatch.delenv("WORLD_SIZE")
    save_checkpoint(state | {"data": {"name": "shapes", "train": "train", "val": "val", **COUNTS}}, tmp_path / "best.pt")
    assert run([*words, f"checkpoint={tmp_path / 'best.pt'}", "calibrate=2"]) == 0
    printed = capsys.readouterr().out
    assert "of 3 images" in printed
    assert "verified on the data of the checkpoint" in printed
    assert json.loads((tmp_path / "out" / "verification.json").read_text())["int8"]["calibration"] == 2
