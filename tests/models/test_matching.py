"""A classifier's own state dict as a backbone's weights, in whatever it is wrapped."""

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
import torchvision

from fcn.core.labels import LabelSet
from fcn.models.backbones import create_backbone
from fcn.models.matching import class_pairs, same_classes
from fcn.models.segmenter import create_model
from fcn.models.weight_files import model_state
from fcn.training.checkpoint import save_checkpoint


def lively(network):
    """Random weights and batch statistics, as if it had been trained."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if name.endswith("running_var"):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
            elif value.is_floating_point():
                value.copy_(torch.randn(value.shape, generator=generator) * 0.1)
    return network.eval()


@pytest.fixture(scope="module")
def lite():
    """timm's classifier and a map inside of it, what its last block gives of an image."""
    network = lively(timm.create_model("tf_efficientnet_lite0", num_classes=5))
    maps = []
    handle = network.blocks.register_forward_hook(lambda module, given, result: maps.append(result))
    image = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        network(image)
    handle.remove()
    return network.state_dict(), image, maps[0]


@pytest.mark.parametrize(
    ("prefix", "wrapper"),
    [
        ("", None),
        ("module.", None),
        ("backbone.", None),
        ("_orig_mod.", "state_dict"),
        ("model.", "model"),
        ("backbone.", "model_state_dict"),
        ("module.model.backbone.body.", "state_dict"),
    ],
)
def test_timms_own_state_dict_gives_its_features(prefix, wrapper, lite, tmp_path, caplog):
    state, image, expected = lite
    content = {f"{prefix}{name}": value for name, value in state.items()}
    if prefix == "backbone.":
        content["decode_head.weight"] = torch.zeros(3)  # of the network that it stood in
    torch.save({wrapper: content, "epoch": 7} if wrapper else content, tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        backbone = create_backbone("tf_efficientnet_lite0", weights=str(tmp_path / "theirs.pth")).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(image)[-1], expected)
    assert "left out: conv_head, bn2, classifier" in caplog.text
    assert wrapper is None or f"its entry '{wrapper}' is read" in caplog.text
    assert not prefix or prefix in caplog.text


@pytest.mark.parametrize("name", ["convnext_atto", "ghostnet_100", "repvit_m0_9"])  # blocks that timm renames, and a block that is left out
def test_all_that_a_backbone_of_timm_has_comes_from_the_classifier(name, tmp_path):
    classifier = lively(timm.create_model(name))
    torch.save(classifier.state_dict(), tmp_path / "theirs.pth")
    backbone = create_backbone(name, weights=str(tmp_path / "theirs.pth"))
    theirs = {key.replace(".", "_"): value for key, value in classifier.state_dict().items()}
    ours = {key.removeprefix("network.encoder.model."): value for key, value in backbone.state_dict().items()}
    assert len(ours) > 50
    assert all(torch.equal(value, theirs[key.replace(".", "_")]) for key, value in ours.items())


@pytest.mark.parametrize(("name", "mean"), [("mobileone_s0", 0.485), ("timm-tf_efficientnet_lite0", 0.5)])
def test_smps_own_encoders_take_a_file_without_asking_the_hub(name, mean, tmp_path, monkeypatch):
    monkeypatch.setattr("segmentation_models_pytorch.encoders.get_preprocessing_params", None)
    encoder = lively(smp.encoders.get_encoder(name))
    torch.save(encoder.state_dict(), tmp_path / "theirs.pth")
    backbone = create_backbone(name, weights=str(tmp_path / "theirs.pth"))
    assert backbone.mean[0] == mean
    values = backbone.network.state_dict()
    assert all(torch.equal(values[f"encoder.{key}"], value) for key, value in encoder.state_dict().items())


def test_a_torchvision_classifier_of_other_classes_gives_its_features(tmp_path):
    classifier = lively(torchvision.models.mobilenet_v2(num_classes=5))
    torch.save(classifier.state_dict(), tmp_path / "theirs.pth")
    backbone = create_backbone("mobilenet_v2", weights=str(tmp_path / "theirs.pth")).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(backbone(image)[-1], classifier.features(image))


def test_counters_that_old_files_lack_stay_at_zero(lite, tmp_path):
    state = {name: value for name, value in lite[0].items() if not name.endswith("num_batches_tracked")}
    torch.save(state, tmp_path / "old.pth")
    backbone = create_backbone("tf_efficientnet_lite0", weights=str(tmp_path / "old.pth")).eval()
    with torch.no_grad():
        torch.testing.assert_close(backbone(lite[1])[-1], lite[2])


def test_a_checkpoints_backbone_is_taken(tmp_path):
    network = create_model("unet", backbone="resnet18", num_classes=2)
    lively(network)
    save_checkpoint(model_state(network, LabelSet(("a", "b"))), tmp_path / "best.pt")
    backbone = create_backbone("resnet18", weights=str(tmp_path / "best.pt")).eval()
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone(image)[-1], network.backbone(image)[-1])


class TestRefused:
    """Nothing of a backbone stays random without a word."""

    def answer(self, state, tmp_path, name="tf_efficientnet_lite0"):
        torch.save(state, tmp_path / "theirs.pth")
        with pytest.raises(ValueError, match=r"theirs\.pth") as raised:
            create_backbone(name, weights=str(tmp_path / "theirs.pth"))
        return str(raised.value)

    def test_one_missing_tensor(self, lite, tmp_path):
        state = {name: value for name, value in lite[0].items() if name != "blocks.3.0.conv_dw.weight"}
        assert "it lacks 1 of 288 tensors (blocks.3.0.conv_dw.weight)" in self.answer(state, tmp_path)

    def test_a_deeper_network(self, tmp_path):
        state = timm.create_model("tf_efficientnet_lite1").state_dict()
        assert "belong to another network: it has" in self.answer(state, tmp_path)

    def test_two_networks_in_one_file(self, lite, tmp_path):
        state = {f"{prefix}{name}": value for name, value in lite[0].items() for prefix in ("model.", "encoder.")}
        assert "it holds 2 such networks, under encoder. and model.;" in self.answer(state, tmp_path)

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda value: value * float("inf"), "1 hold nan or infinity (conv_stem.weight)"),
            (lambda value: value.to(torch.int8), "conv_stem.weight holds torch.int8 where torch.float32 is expected"),
            (lambda value: value[:5], "1 differ in shape (model.conv_stem.weight is (5, 3, 3, 3) there and (32, 3, 3, 3) here)"),
        ],
    )
    def test_values_that_are_no_weights(self, change, reason, lite, tmp_path):
        state = lite[0] | {"conv_stem.weight": change(lite[0]["conv_stem.weight"])}
        assert reason.replace("(conv_stem", "(model.conv_stem") in self.answer(state, tmp_path)

    @pytest.mark.parametrize("name", ["mobileone_s0", "efficientnet_b0"])
    def test_a_name_that_timm_has_as_well(self, name, tmp_path):
        state = timm.create_model(name).state_dict()
        assert self.answer(state, tmp_path, name).endswith(f" timm's network of that name is backbone=tu-{name}")


@pytest.mark.parametrize(
    ("ours", "theirs", "pairs"),
    [
        (("sky", "road"), ("road", "car", "sky"), [(0, 2), (1, 0)]),
        (("background", "Traffic Light"), ("__background__", "traffic_light"), [(0, 0), (1, 1)]),
        (("a+", "a-"), ("a-", "b"), [(1, 0)]),  # letters alone would confuse them
        (("道路", "-"), ("-", "道路"), [(0, 1), (1, 0)]),
        (("x",), ("y",), []),
    ],
)
def test_classes_are_matched_by_letters_and_digits(ours, theirs, pairs):
    assert class_pairs(ours, theirs) == pairs
    assert same_classes(ours, theirs) == (pairs == [(index, index) for index in range(len(ours))] and len(ours) == len(theirs))
