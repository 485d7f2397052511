"""Weights of segmentation-models-pytorch's own networks in ours: the same scores; and what they do not fit."""

import pytest
import segmentation_models_pytorch as smp
import torch

from fcn.core.errors import UserError
from fcn.models.segmenter import create_model
from tests.models.test_matching import lively


@pytest.fixture(scope="module")
def unet():
    return lively(smp.Unet("mobilenet_v2", encoder_weights=None, decoder_channels=(256, 128, 64, 32, 16), classes=3))


def as_saved(network, form):
    """The state dict as smp saves it, or as a program that trains it does, beside what else that program holds."""
    state = network.state_dict()
    if form == "plain":
        return state
    named = {f"model.{name}": value for name, value in state.items()}
    return {"state_dict": named | {"mean": torch.zeros(1, 3, 1, 1), "loss_fn.weight": torch.ones(3)}, "epoch": 3}


@pytest.mark.parametrize("form", ["beside others", pytest.param("plain", marks=pytest.mark.slow)])
def test_the_scores_are_smps(form, unet, tmp_path, caplog):
    torch.save(as_saved(unet, form), tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        ours = create_model("smp", backbone="mobilenet_v2", num_classes=3, weights=str(tmp_path / "theirs.pth")).eval()
    image = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), unet(image))
    count = len(unet.state_dict())
    assert f"{count} of {count + 2} tensors of the network" in caplog.text  # the others are mean and deviation
    assert form == "plain" or "the network under 'model.' is read; left out: mean, loss_fn" in caplog.text


@pytest.mark.slow
def test_for_other_classes_all_but_the_last_layer_is_taken(unet, tmp_path, caplog):
    torch.save(unet.state_dict(), tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        create_model("smp", backbone="mobilenet_v2", num_classes=5, weights=str(tmp_path / "theirs.pth"))
    assert "start anew (the names of the classes are not known on both sides): decoder.head.weight, decoder.head.bias" in caplog.text


def test_another_model_is_told_what_to_take(unet, tmp_path):
    path = str(tmp_path / "theirs.pth")
    torch.save(unet.state_dict(), path)
    with pytest.raises(
        UserError, match=r"they fit model=smp with the same arch and backbone; to start from its encoder alone, write backb"
    ):
        create_model("unet", backbone="mobilenet_v2", num_classes=3, weights=path)
    with pytest.raises(
        UserError, match=r"belong to another network: it lacks .* to start from its backbone alone, write backbone_weights="
    ):
        create_model("smp", backbone="mobilenet_v2", arch="FPN", num_classes=3, weights=path)
    model = create_model("smp", backbone="mobilenet_v2", arch="FPN", num_classes=3, backbone_weights=path)
    assert torch.equal(model.backbone.network.features[0][0].weight, unet.encoder.features[0][0].weight)
