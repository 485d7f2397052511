"""Torchvision's segmentation networks, their weights in ours: the same outputs, at any size, in both heads."""

from dataclasses import asdict

import pytest
import torch
import torchvision
from torch import nn

from fcn.models.backbones import create_backbone
from fcn.models.network_weights import torchvision_name
from fcn.models.segmenter import assemble, create_model
from fcn.models.spec import ModelSpec

QUICK = ["deeplabv3_resnet50", "lraspp_mobilenet_v3_large"]  # the auxiliary head of the first is an FCN
SLOW = ["fcn_resnet50", "fcn_resnet101", "deeplabv3_resnet101", "deeplabv3_mobilenet_v3_large"]
SIZES = ((1, 1), (33, 70), (64, 65))


def randomized(name):
    """A network of torchvision with random weights and batch statistics, as if it had been trained."""
    torch.manual_seed(0)
    auxiliary = {} if name.startswith("lraspp") else {"aux_loss": True}
    theirs = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=21, **auxiliary)
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.1)
    return theirs.eval()


def words(name):
    model, _, backbone = name.partition("_")
    return {"model": model, "backbone": backbone, "upsample": "bilinear", "num_classes": 21}


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])
def test_outputs_are_torchvisions(name, tmp_path):
    theirs = randomized(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    options = {} if name.startswith("lraspp") else {"aux": True}
    ours = create_model(**words(name), weights=str(tmp_path / "theirs.pth"), **options).eval()
    auxiliary = ours.auxiliary
    with torch.no_grad():
        for height, width in SIZES:
            image = torch.randn(1, 3, height, width)
            expected = theirs(image)
            assert (ours(image) - expected["out"]).abs().max() < 1e-5 * max(1, expected["out"].abs().max())
            if auxiliary is not None:
                scores = ours.to_image(auxiliary(ours.backbone(image)[ours.aux_level]), 8, image, image)
                assert (scores - expected["aux"]).abs().max() < 1e-5 * max(1, expected["aux"].abs().max())


@pytest.mark.parametrize("name", ["lraspp_mobilenet_v3_large", pytest.param("deeplabv3_mobilenet_v3_large", marks=pytest.mark.slow)])
def test_a_checkpoints_words_carry_how_they_were_trained(name, tmp_path):
    """The options that the weights brought along rebuild the same network without them."""
    theirs = randomized(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    ours = create_model(**words(name), weights=str(tmp_path / "theirs.pth")).eval()
    again = assemble(ModelSpec(**asdict(ours.spec))).eval()
    again.load_state_dict(ours.state_dict())
    image = torch.randn(1, 3, 40, 57)
    with torch.no_grad():
        torch.testing.assert_close(again(image), ours(image), rtol=0, atol=0)


def test_for_other_classes_all_but_the_scoring_layers_is_taken(tmp_path, caplog):
    theirs = randomized("lraspp_mobilenet_v3_large").state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        ours = create_model(**words("lraspp_mobilenet_v3_large") | {"num_classes": 5}, weights=str(tmp_path / "theirs.pth")).state_dict()
    scoring = {
        "decoder.low_classifier.weight",
        "decoder.low_classifier.bias",
        "decoder.high_classifier.weight",
        "decoder.high_classifier.bias",
    }
    taken = {name: value for name, value in ours.items() if name.startswith(("backbone.", "decoder.")) and name not in scoring}
    known = {torchvision_name(name, "lraspp"): value for name, value in theirs.items()}
    assert len(taken) > 300
    assert all(torch.equal(value, known[name]) for name, value in taken.items())
    assert ours["decoder.low_classifier.weight"].shape == (5, 40, 1, 1)
    assert (
        f"start anew (the names of the classes are not known on both sides): {', '.join(sorted(scoring, key=list(ours).index))}"
        in caplog.text
    )


def test_of_the_published_weights_the_classes_of_the_same_name_are_kept(monkeypatch, caplog):
    theirs = randomized("lraspp_mobilenet_v3_large")
    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", lambda self, **settings: theirs.state_dict())
    names = ["train", "background", "lamp", "cat"]
    given = words("lraspp_mobilenet_v3_large") | {"num_classes": 4, "classes": names}
    with caplog.at_level("INFO"):
        ours = create_model(**given, weights="torchvision").eval()
    assert "3 of 4 classes keep their weights, by name; new: lamp; left out: aeroplane, " in caplog.text
    image = torch.randn(1, 3, 64, 65)
    with torch.no_grad():
        torch.testing.assert_close(ours(image)[:, [0, 1, 3]], theirs(image)["out"][:, [19, 0, 8]])


def test_the_backbone_alone_is_taken_from_a_segmentation_network(tmp_path):
    theirs = randomized("lraspp_mobilenet_v3_large").state_dict()
    torch.save(theirs, tmp_path / "theirs.pth")
    ours = create_backbone("mobilenet_v3_large", weights=str(tmp_path / "theirs.pth")).state_dict()
    assert len(ours) > 300
    assert all(torch.equal(value, theirs[name.replace("network.features", "backbone")]) for name, value in ours.items())


def test_what_does_not_fit_is_named(tmp_path):
    path = tmp_path / "theirs.pth"
    torch.save(randomized("lraspp_mobilenet_v3_large").state_dict(), path)
    with pytest.raises(ValueError, match="belong to another network: it lacks"):
        create_model("deeplabv3", backbone="mobilenet_v3_large", num_classes=21, weights=str(path))
    with pytest.raises(ValueError, match="resize=size interpolates the scores to the image's size; it takes upsample=bilinear"):
        create_model(**words("lraspp_mobilenet_v3_large") | {"upsample": "transposed"}, weights=str(path))


def test_only_published_networks_are_fetched():
    with pytest.raises(
        ValueError, match=r"torchvision has no weights for model=fcn backbone=resnet18; it has .*model=fcn backbone=resnet50"
    ):
        create_model("fcn", backbone="resnet18", num_classes=21, weights="torchvision")


def test_a_download_is_verified_and_its_failure_told(monkeypatch):
    asked = []

    def fetch(self, *args, **settings):
        asked.append((self.url, settings))
        raise OSError("no route")

    monkeypatch.setattr(torchvision.models._api.WeightsEnum, "get_state_dict", fetch)
    with pytest.raises(ValueError, match=r"lraspp_mobilenet_v3_large could not be downloaded \(no route\).*weights=PATH"):
        create_model(**words("lraspp_mobilenet_v3_large"), weights="torchvision")
    assert asked[0][1]["check_hash"] is True
    assert asked[0][0].endswith("lraspp_mobilenet_v3_large-d234d4ea.pth")


def test_the_auxiliary_head_is_left_out_where_there_is_none(tmp_path, caplog):
    torch.save(randomized("deeplabv3_mobilenet_v3_large").state_dict(), tmp_path / "theirs.pth")
    with caplog.at_level("INFO"):
        ours = create_model(**words("deeplabv3_mobilenet_v3_large"), weights=str(tmp_path / "theirs.pth"))
    assert ours.auxiliary is None
    assert "aux=True takes it" in caplog.text
