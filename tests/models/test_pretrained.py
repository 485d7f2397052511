"""Weights of whole networks from files: the same network's, and a coarser FCN's."""

import pytest
import torch
from torch.nn import functional as F

from fcn.core.labels import LabelSet
from fcn.models.segmenter import create_model
from fcn.models.weight_files import model_state
from fcn.training.checkpoint import save_checkpoint

LABELS = LabelSet(("ground", "road", "sky"))


def saved(model, path):
    save_checkpoint(model_state(model, LABELS), path)
    return str(path)


def scored(model, upsample="transposed", backbone="compact", **options):
    """A network whose scores are not all zero, as at its start."""
    torch.manual_seed(0)
    network = create_model(model, backbone=backbone, upsample=upsample, num_classes=3, **options).eval()
    for parameter in network.decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


@pytest.mark.parametrize("form", ["checkpoint", "state dict"])
def test_a_network_of_the_same_words_takes_all(form, tmp_path):
    network = scored("unet")
    path = str(tmp_path / "unet.pt")
    if form == "checkpoint":
        saved(network, path)
    else:
        torch.save(network.state_dict(), path)
    again = create_model("unet", backbone="compact", upsample="transposed", num_classes=3, weights=path).eval()
    image = torch.randn(1, 3, 40, 33)
    with torch.no_grad():
        assert torch.equal(again(image), network(image))


class TestStages:
    """Long et al. 2015, section 4.2: each finer network starts from the coarser one."""

    @pytest.mark.parametrize(
        ("coarse", "fine"), [("fcn32s", "fcn16s"), pytest.param("fcn16s", "fcn8s", marks=pytest.mark.slow), ("fcn32s", "fcn8s")]
    )
    def test_a_finer_network_starts_with_the_coarser_ones_answer(self, coarse, fine, tmp_path, caplog):
        """Its new scores are zero and its up-samplers bilinear: it says what the coarse one says, doubled once or twice."""
        network = scored(coarse, "bilinear", "resnet18", align=False)
        path = saved(network, tmp_path / "coarse.pt")
        options = {"align": False}
        with caplog.at_level("INFO"):
            finer = create_model(fine, backbone="resnet18", upsample="bilinear", num_classes=3, weights=path, **options).eval()
        assert "new: decoder.scores." in caplog.text
        image = torch.randn(1, 3, 64, 96)
        with torch.no_grad():
            expected = network.scores(image)
            for _ in range((network.stride // finer.stride).bit_length() - 1):
                expected = F.interpolate(expected, scale_factor=2.0, mode="bilinear")
            torch.testing.assert_close(finer.scores(image), expected)
            assert expected.abs().max() > 0.1

    def test_up_samplers_that_both_have_are_taken_and_the_last_one_starts_anew(self, tmp_path):
        network = scored("fcn16s", backbone="resnet18")
        finer = create_model(
            "fcn8s", backbone="resnet18", upsample="transposed", num_classes=3, weights=saved(network, tmp_path / "coarse.pt")
        )
        fresh = create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=3)
        ours, theirs, new = finer.state_dict(), network.state_dict(), fresh.state_dict()
        for name, value in ours.items():
            if name.startswith(("decoder.last.", "decoder.ups.1.", "decoder.scores.2.")):
                assert torch.equal(value, new[name]), name
            else:
                assert torch.equal(value, theirs[name]), name

    def test_only_a_coarser_fcn_is_taken_over(self, tmp_path):
        for other, backbone in (("fcn4s", "resnet18"), ("unet", "compact")):
            path = saved(scored(other, backbone=backbone), tmp_path / f"{other}.pt")
            with pytest.raises(ValueError, match=rf"model={other}, .*are not for model=fcn8s; .* an FCN those of a coarser one"):
                create_model("fcn8s", backbone="resnet18", upsample="transposed", num_classes=3, weights=path)


class TestOtherClasses:
    """A checkpoint starts a network for other classes: those of the same name are taken over, in whatever order they stand."""

    @pytest.mark.parametrize("upsample", ["transposed", "bilinear", "pixelshuffle", "nearest", "carafe"])
    @pytest.mark.parametrize("model", ["fcn8s", pytest.param("unet", marks=pytest.mark.slow)])
    def test_in_another_order_they_score_the_same(self, model, upsample, tmp_path):
        network = scored(model, upsample)
        path = saved(network, tmp_path / "first.pt")
        names = ("sky", "ground", "road")
        again = create_model(model, backbone="compact", upsample=upsample, num_classes=3, weights=path, classes=names).eval()
        image = torch.randn(1, 3, 64, 96)
        with torch.no_grad():
            expected = network(image)
            assert expected.std() > 1e-3
            torch.testing.assert_close(again(image), expected[:, [2, 0, 1]])

    def test_of_more_classes_the_known_ones_are_taken_and_the_rest_is_new(self, tmp_path, caplog):
        network = scored("fcn8s", "bilinear")
        path = saved(network, tmp_path / "first.pt")
        names = ("car", "sky", "pole", "ground", "tree")
        state = torch.random.get_rng_state()
        with caplog.at_level("INFO"):
            larger = create_model("fcn8s", backbone="compact", num_classes=5, weights=path, classes=names).eval()
        assert "2 of 5 classes keep their weights, by name; new: car, pole, tree" in caplog.text
        after = torch.random.get_rng_state()
        torch.random.set_rng_state(state)
        fresh = create_model("fcn8s", backbone="compact", num_classes=5).eval()
        assert torch.equal(torch.random.get_rng_state(), after)  # what is drawn next is not changed by it
        image = torch.randn(1, 3, 64, 96)
        with torch.no_grad():
            expected = network(image)
            torch.testing.assert_close(larger(image)[:, [1, 3]], expected[:, [2, 0]])
        ours, start = larger.state_dict(), fresh.state_dict()
        assert torch.equal(ours["decoder.scores.0.weight"][[0, 2, 4]], start["decoder.scores.0.weight"][[0, 2, 4]])

    @pytest.mark.parametrize("names", [None, ("a", "b", "c", "d", "e")])
    def test_without_a_name_in_common_only_the_scoring_layers_are_new(self, names, tmp_path, caplog):
        network = scored("unet")
        path = saved(network, tmp_path / "first.pt")
        with caplog.at_level("INFO"):
            other = create_model("unet", backbone="compact", upsample="transposed", num_classes=5, weights=path, classes=names)
        assert "the layers that score classes start anew" in caplog.text
        ours, theirs = other.state_dict(), network.state_dict()
        new = [name for name in ours if ours[name].shape != theirs[name].shape]
        assert 0 < len(new) <= 3
        assert all(torch.equal(ours[name], theirs[name]) for name in ours if name not in new)

    def test_another_backbone_is_still_refused(self, tmp_path):
        path = saved(scored("unet"), tmp_path / "first.pt")
        with pytest.raises(ValueError, match="belong to another network"):
            create_model("unet", backbone="resnet18", upsample="transposed", num_classes=5, weights=path)


def test_wrong_weights_are_answered(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*none\.pt"):
        create_model("fcn8s", num_classes=3, weights=str(tmp_path / "none.pt"))
    (tmp_path / "broken.pt").write_bytes(b"PK nonsense")
    with pytest.raises(ValueError, match=r"broken\.pt cannot be read as a state dict"):
        create_model("fcn8s", num_classes=3, weights=str(tmp_path / "broken.pt"))
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match=r"list\.pt holds no state dict"):
        create_model("fcn8s", num_classes=3, weights=str(tmp_path / "list.pt"))
    with pytest.raises(ValueError, match="are both given; the first include the second"):
        create_model("fcn8s", num_classes=3, weights="a.pt", backbone_weights="imagenet")
