"""The Hugging Face hub, played by a small server on this machine: what is written comes back, and what is wrong is said in a sentence."""

import json
import sys
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image

import fcn
from fcn.cli.main import run
from fcn.core.errors import UserError
from fcn.models.hub import repository
from fcn.tools.benchmark.subject import randomized
from fcn.training.checkpoint import read_checkpoint
from tests.models.hub_server import TOKEN, Hub

LABELS = fcn.LabelSet(("ground", "road", "sky"))


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A hub without repositories, a user who is logged in there, and an empty cache."""
    with Hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", running.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield running


def made(seed):
    """A small model whose scores depend on the image and on the seed."""
    torch.manual_seed(seed)
    found = randomized(fcn.create_model("fcn8s", backbone="compact", classes=LABELS).spec).eval()
    found.labels = LABELS
    return found


@pytest.fixture(scope="module")
def model():
    return made(0)


def scores(model):
    images = torch.arange(3 * 20 * 30, dtype=torch.uint8).view(1, 3, 20, 30)
    return model(model.normalize(images))


@pytest.mark.parametrize(
    ("word", "found"),
    [("hf://a/b", ("a/b", None)), ("hf://a-1/b.c_d@v1.0", ("a-1/b.c_d", "v1.0")), ("hf://a/b@refs/pr/1", ("a/b", "refs/pr/1"))],
)
def test_the_word_of_a_model(word, found):
    assert repository(word) == repository(Path(word)) == found


@pytest.mark.parametrize("word", ["hf://", "hf://a", "hf://a/b/c", "hf://a/b@", "hf://a/b c", "hf://a@b/c"])
def test_a_word_that_names_no_model(word):
    with pytest.raises(UserError, match="write hf://USER/NAME"):
        fcn.load(word)


class TestRoundTrip:
    def test_what_is_pushed_comes_back(self, hub, model):
        assert model.push_to_hub("user/name") == f"{hub.address}/user/name"
        assert set(hub.repositories["user/name"][-1]) == {"config.json", "model.safetensors", "README.md"}
        assert len(hub.repositories["user/name"]) == 2  # one commit with all files
        with torch.no_grad():
            for found in (fcn.load("hf://user/name"), fcn.from_pretrained("user/name"), fcn.load(Path("hf://user/name"))):
                assert torch.equal(scores(found), scores(model))
                assert (found.labels, found.spec, found.training) == (LABELS, model.spec, False)

    def test_weights_are_fetched_once_and_a_new_commit_again(self, hub, model):
        model.push_to_hub("hf://user/name")
        first = fcn.load("hf://user/name")
        fcn.load("hf://user/name")
        assert sum(request.startswith("GET") and "safetensors" in request for request in hub.requests) == 1
        other = made(1)
        other.push_to_hub("user/name")
        found = fcn.load("hf://user/name")
        with torch.no_grad():
            assert torch.equal(scores(found), scores(other))
            assert not torch.equal(scores(found), scores(first))

    def test_a_revision(self, hub, model):
        model.push_to_hub("user/name")
        commit = hub.commit("user/name")
        assert fcn.load(f"hf://user/name@{commit}").labels == fcn.from_pretrained("user/name", revision=commit).labels == LABELS
        with pytest.raises(UserError, match="hf://user/name has no branch, tag or commit v9"):
            fcn.load("hf://user/name@v9")

    def test_text_of_the_user_on_the_card_stays(self, hub, model):
        model.push_to_hub("user/name")
        card = hub.repositories["user/name"][-1]["README.md"].decode()
        hub.repositories["user/name"].append({**hub.repositories["user/name"][-1], "README.md": (card + "\nOur fleet's own.\n").encode()})
        evaluation = fcn.Evaluation(LABELS, torch.eye(3, dtype=torch.int64) * 7)
        model.push_to_hub("user/name", scores=evaluation)
        renewed = hub.repositories["user/name"][-1]["README.md"].decode()
        assert "Our fleet's own." in renewed
        assert renewed.count("| road | 100.00 | 100.00 |") == 1
        assert renewed.count("## Classes") == 1

    def test_the_command_line(self, hub, tiny_run, tmp_path, capsys):
        fcn.load(tiny_run / "best.pt").push_to_hub("user/name")
        words = ["device=cpu", "workers=0"]
        for name, checkpoint in (("file", tiny_run / "best.pt"), ("hub", "hf://user/name")):
            assert run(["evaluate", f"checkpoint={checkpoint}", *words, f"output={tmp_path / name}"]) == 0
        file, shared = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("file", "hub"))
        assert file["confusion"] == shared["confusion"]
        assert shared["protocol"]["checkpoint"] == "hf://user/name"

    @pytest.mark.slow
    def test_labels_of_the_command_line_and_going_on(self, hub, model, tmp_path, monkeypatch):
        """From the hub, a folder and a file the same labels; a run that was cut goes on only with the same model."""
        model.push_to_hub("user/name")
        model.save_pretrained(tmp_path / "folder")
        fcn.save(model, tmp_path / "model.pt")
        (tmp_path / "photos").mkdir()
        for number in range(2):
            values = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "photos" / f"{number}.png")
        monkeypatch.chdir(tmp_path)
        found = []
        for name, checkpoint in (("a", "hf://user/name"), ("b", "folder"), ("c", "model.pt")):
            assert run(["predict", f"checkpoint={checkpoint}", "input=photos", "device=cpu", f"output={name}"]) == 0
            found.append([(tmp_path / name / f"{number}.png").read_bytes() for number in range(2)])
        assert found[0] == found[1] == found[2]
        (tmp_path / "a" / "1.png").unlink()
        assert run(["predict", "resume=a", "device=cpu"]) == 0
        assert (tmp_path / "a" / "1.png").read_bytes() == found[0][1]
        made(1).push_to_hub("user/name")
        (tmp_path / "a" / "1.png").unlink()
        assert run(["predict", "resume=a", "device=cpu"]) == 1

    def test_a_new_training_starts_from_it(self, hub, tiny_run):
        fcn.load(tiny_run / "best.pt").push_to_hub("user/name")
        begun = fcn.create_model("fcn8s", backbone="compact", classes=fcn.load("hf://user/name").labels, weights="hf://user/name")
        weights = read_checkpoint(tiny_run / "best.pt")["weights"]
        assert all(torch.equal(begun.state_dict()[name], value) for name, value in weights.items())


class TestRefusals:
    @pytest.mark.parametrize("name", ["user/none", "user/name-gated"])
    def test_what_may_not_be_read(self, hub, model, name):
        if name.endswith("gated"):
            hub.offer(name)
        with pytest.raises(UserError, match=r"(there is no hf://user/none on the hub|hf://user/name-gated is open to few).*hf auth login"):
            fcn.load(f"hf://{name}")

    def test_a_repository_of_another_library_costs_no_weights(self, hub):
        hub.offer("user/name", config__json=b'{"model_type": "bert"}', model__safetensors=b"large")
        with pytest.raises(UserError, match=r"hf://user/name holds no model of fcn: its config\.json is of another library"):
            fcn.load("hf://user/name")
        assert hub.asked("safetensors") == 0
        hub.offer("user/empty")
        with pytest.raises(UserError, match=r"hf://user/empty holds no model of fcn: it has no config\.json"):
            fcn.load("hf://user/empty")

    def test_a_repository_of_another_library_is_not_written_over(self, hub, model):
        hub.offer("user/name", config__json=b'{"model_type": "bert"}', model__safetensors=b"large")
        with pytest.raises(UserError, match=r"hf://user/name holds no model of fcn: its config\.json is of another library"):
            model.push_to_hub("user/name")
        hub.offer("user/bare", model__safetensors=b"large")
        with pytest.raises(UserError, match=r"hf://user/bare holds a model\.safetensors of another library"):
            model.push_to_hub("user/bare")

    def test_only_the_two_files_are_fetched_and_no_code_runs(self, hub, model, monkeypatch, tmp_path):
        """A repository may hold code and name modules and other repositories: none of it is fetched or imported."""
        model.push_to_hub("user/name")
        files = hub.repositories["user/name"][-1]
        files |= {"trap.py": b"raise SystemExit", "modeling.py": b"raise SystemExit"}
        config = json.loads(files["config.json"])
        monkeypatch.chdir(tmp_path)
        (tmp_path / "trap.py").write_text("raise SystemExit")
        files["config.json"] = json.dumps({**config, "plugins": ["trap"], "auto_map": {"AutoModel": "modeling.Model"}}).encode()
        hub.requests.clear()
        fcn.load("hf://user/name")  # the plugins of its data are needed for its data only
        assert "trap" not in sys.modules
        assert not hub.asked(".py")
        files["config.json"] = json.dumps({**config, "spec": {**config["spec"], "plugins": ["trap"]}}).encode()
        with pytest.raises(UserError, match=r"hf://user/name was made with parts of trap; give plugins=\[trap\] too"):
            fcn.load("hf://user/name")
        for backbone in ("hf-hub:user/other", "hf_hub:user/other", "timm/hf-hub:user/other", "tu-hf-hub:user/other"):
            files["config.json"] = json.dumps({**config, "spec": {**config["spec"], "backbone": backbone}}).encode()
            with pytest.raises(UserError, match="hf://user/name"):
                fcn.load("hf://user/name")
        assert "trap" not in sys.modules
        assert not hub.asked("other")

    def test_weights_of_another_commit_are_refused(self, hub, model):
        model.push_to_hub("user/name")
        made(1).push_to_hub("user/other")
        files = hub.repositories["user/name"][-1]
        files["model.safetensors"] = hub.repositories["user/other"][-1]["model.safetensors"]
        with pytest.raises(UserError, match=r"hf://user/name is damaged.*its tensors are not those that were written"):
            fcn.load("hf://user/name")

    def test_a_user_who_may_not_write(self, hub, model, monkeypatch):
        monkeypatch.setenv("HF_TOKEN", "hf_of_another")
        with pytest.raises(UserError, match="the hub does not let you write hf://user/name; log in with: hf auth login"):
            model.push_to_hub("user/name")
        assert hub.repositories == {}

    def test_nothing_is_made_for_scores_of_other_classes(self, hub, model):
        with pytest.raises(UserError, match="the scores are of the classes a, b, and the model has ground, road, sky"):
            model.push_to_hub("user/name", scores=fcn.Evaluation(fcn.LabelSet(("a", "b")), torch.eye(2, dtype=torch.int64)))
        assert hub.requests == []

    def test_a_revision_cannot_be_written(self, hub, model):
        with pytest.raises(UserError, match="names a revision"):
            model.push_to_hub("user/name@v1")

    def test_a_hub_that_cannot_be_reached(self, hub, model, monkeypatch):
        model.push_to_hub("user/name")
        fcn.load("hf://user/name")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fcn.load("hf://user/name").labels == LABELS  # from the cache
        with pytest.raises(OSError, match=r"hf://user/unseen cannot be fetched \(.*\); check the connection and the disk, or give"):
            fcn.load("hf://user/unseen")


def test_nothing_is_asked_of_the_hub_for_files_of_this_machine(hub, model, tmp_path, monkeypatch):
    def asked(*_, **__):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", asked)
    model.save_pretrained(tmp_path / "model")
    fcn.from_pretrained(tmp_path / "model")
    fcn.save(model, tmp_path / "model.pt")
    fcn.load(tmp_path / "model.pt")
    assert hub.requests == []
