"""A model as a folder: what is read is what was written, the card tells what is known, and what does not belong there is refused."""

import json
import math
import re

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import nn

import fcn
from fcn.core.errors import UserError
from fcn.models.card import BEGIN, END
from fcn.models.pretrained_folder import read_folder, write_folder
from fcn.models.weight_files import labelled_state, model_state
from fcn.training.checkpoint import load, model_from_state, read_checkpoint, save_checkpoint

LABELS = fcn.LabelSet(("ground", "road"), ((10, 20, 30), (0, 255, 0)))


def small(**words):
    return fcn.create_model("fcn8s", backbone="compact", classes=LABELS, **words).eval()


def card_of(folder):
    return (folder / "README.md").read_text()


def section(card, title):
    return re.split(r"^## ", card.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


@pytest.fixture
def folder(tmp_path):
    small().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(folder, **entries):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({key: value for key, value in (config | entries).items() if value is not None}))


class Tied(nn.Module):
    """Two layers of one weight, and a view of it."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.second.weight = self.first.weight
        self.register_buffer("part", self.first.weight.detach()[1:])

    def forward(self, images):
        return self.second(self.first(images))


class TestRoundTrip:
    @pytest.mark.parametrize(
        "words",
        [
            {"upsample": "carafe", "aux": True, "aux_weight": 0.3},
            {"in_channels": 5, "dtype": "uint16"},
            {"upsample": "transposed", "align": True},
        ],
    )
    def test_every_word_of_a_model(self, words, tmp_path):
        model = small(**words)
        if "in_channels" in words:
            model.take(fcn.ImageKind(5, "uint16", mean=(1.0, 2.5, 3.0, 4.0, 5.0), std=(0.1,) * 5, shown=(4, 2, 0)))
        model.save_pretrained(tmp_path)
        fcn.save(model, tmp_path / "model.pt")
        for found in (fcn.load(tmp_path), fcn.from_pretrained(tmp_path)):
            file = fcn.load(tmp_path / "model.pt")
            assert (found.spec, found.labels, found.images) == (file.spec, file.labels, file.images) == (model.spec, LABELS, model.images)
            assert found.state_dict().keys() == model.state_dict().keys()
            assert all(torch.equal(value, model.state_dict()[name]) for name, value in found.state_dict().items())

    def test_the_tensors_are_read_by_anyone(self, folder):
        tensors = load_file(folder / "model.safetensors")
        assert tensors.keys() == load(folder).state_dict().keys()

    def test_tensors_that_share_memory(self, tmp_path):
        network = Tied().eval()
        model = fcn.wrap(network, mean=0.5, std=0.25, classes=["a", "b", "c"])
        model.save_pretrained(tmp_path)
        other = Tied().eval()
        found = fcn.load(tmp_path, network=other)
        images = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        assert np.array_equal(fcn.predict(found, images), fcn.predict(model, images))
        assert torch.equal(other.part, network.part)
        assert "not its code" in card_of(tmp_path)
        with pytest.raises(UserError, match="holds the weights of a network of your own, Tied, and not its code"):
            fcn.load(tmp_path)

    def test_a_model_on_another_memory_layout(self, tmp_path):
        model = small().to(memory_format=torch.channels_last)
        model.save_pretrained(tmp_path)
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in fcn.load(tmp_path).state_dict().items())

    def test_a_model_is_replaced_and_a_half_replaced_one_is_refused(self, folder):
        before = (folder / "config.json").read_bytes()
        torch.manual_seed(1)
        other = small()
        other.save_pretrained(folder)
        assert all(torch.equal(value, other.state_dict()[name]) for name, value in fcn.load(folder).state_dict().items())
        (folder / "config.json").write_bytes(before)  # as if it was killed before its last file
        with pytest.raises(UserError, match=r"is damaged.*its tensors are not those that were written"):
            fcn.load(folder)

    def test_a_card_that_is_no_text_is_told_before_anything_is_replaced(self, folder):
        before = (folder / "model.safetensors").read_bytes()
        (folder / "README.md").write_bytes("für mich".encode("latin-1"))
        torch.manual_seed(1)
        with pytest.raises(UserError, match=r"README.md is no UTF-8 text"):
            small().save_pretrained(folder)
        assert (folder / "model.safetensors").read_bytes() == before

    def test_the_file_of_weights_alone_names_its_folder(self, folder):
        with pytest.raises(UserError, match=r"model.safetensors is a part of the model in .*; give that folder"):
            fcn.load(folder / "model.safetensors")


class TestRecord:
    def test_a_checkpoint_of_a_training_keeps_its_record(self, tiny_run, tmp_path):
        """Through a model, a folder and a file; without the folders of the machine that it was trained on."""
        state = read_checkpoint(tiny_run / "best.pt")
        model = fcn.load(tiny_run / "best.pt")
        model.save_pretrained(tmp_path / "a")
        fcn.load(tmp_path / "a").save_pretrained(tmp_path / "b")
        fcn.save(model, tmp_path / "model.pt")
        write_folder(state, tmp_path / "c")
        for found in (read_folder(tmp_path / "b"), read_folder(tmp_path / "c")):
            assert (found["miou"], found["epoch"]) == (state["miou"], state["epoch"])
            assert found["data"]["name"] == "shapes"
            assert found["data"]["val_count"] == 3
            assert "epochs=2" in found["command"]
            assert str(tiny_run) not in json.dumps({key: value for key, value in found.items() if key != "weights"})
        assert read_checkpoint(tmp_path / "model.pt")["command"] == state["command"]
        card = card_of(tmp_path / "b")
        assert f"mIoU {100 * state['miou']:.2f} on the split `val` of `shapes`, after epoch {state['epoch']}" in card
        assert "fcn train model=fcn8s backbone=compact data.train_count=8 data.val_count=3 epochs=2" in section(card, "Training")

    def test_weights_that_were_changed_lose_it(self, tiny_run, tmp_path):
        model = fcn.load(tiny_run / "best.pt")
        with torch.no_grad():
            next(model.parameters()).add_(1)
        model.save_pretrained(tmp_path)
        card = card_of(tmp_path)
        assert "mIoU" not in card
        assert "fcn train" not in card
        assert "data" not in read_folder(tmp_path)

    def test_last_pt_has_its_command_as_well(self, tiny_run, tmp_path):
        fcn.load(tiny_run / "last.pt").save_pretrained(tmp_path)
        assert "fcn train model=fcn8s" in card_of(tmp_path)

    def test_paths_of_this_machine_are_left_out(self, tmp_path):
        words = [
            "data=folder",
            "data.root='/home/me/secret'",
            "model.weights=/home/me/runs/best.pt",
            "backbone.weights=imagenet",
            "epochs=3",
            "output=/home/me/out",
            "augment.scale=[0.5,2.0]",
            "resume='/home/me/a run'",
            "backbone.weights='/home/me/my runs/w (1).pt'",
            "plugins=['/home/me/a b/parts.py',mine]",
            "model.weights=file:///home/me/x.pt",
        ]
        data = {"name": "folder", "root": "/home/me/secret", "val": "val", "classes": "/home/me/names.txt", "download": False}
        write_folder(model_state(small(), LABELS, command=words, data=data, miou=math.nan), tmp_path)
        assert "/home" not in card_of(tmp_path) + (tmp_path / "config.json").read_text()
        assert "data.root=DIR model.weights=best.pt backbone.weights=imagenet epochs=3 'augment.scale=[0.5,2.0]'" in card_of(tmp_path)
        assert read_folder(tmp_path)["data"] == {"name": "folder", "val": "val"}

    def test_a_training_from_python(self, tmp_path):
        write_folder(model_state(small(), LABELS, settings={"epochs": 4, "optim": {"lr": 0.01}}, miou=0.5), tmp_path)
        assert json.loads(section(card_of(tmp_path), "Training").split("```json")[1].split("```")[0]) == {
            "epochs": 4,
            "optim": {"lr": 0.01},
        }


class TestCard:
    def test_its_metadata_is_yaml_for_the_hub(self, folder):
        _, metadata, _ = card_of(folder).split("---\n", 2)
        assert yaml.safe_load(metadata)["pipeline_tag"] == "image-segmentation"

    def test_classes_and_scores(self, tmp_path):
        confusion = torch.tensor([[6, 2], [1, 7]])
        evaluation = fcn.Evaluation(LABELS, confusion)
        metrics = {**evaluation.as_dict(), "protocol": {"checkpoint": "/home/me/best.pt", "data": "camvid", "inference": {"name": "auto"}}}
        (tmp_path / "metrics.json").write_text(json.dumps(metrics))
        for number, scores in enumerate((evaluation, metrics, tmp_path / "metrics.json")):
            small().save_pretrained(tmp_path / str(number), scores=scores)
            card = card_of(tmp_path / str(number))
            assert "| 0 | ground | 10, 20, 30 |" in section(card, "Classes")
            assert f"| ground | {100 * 6 / 9:.2f} | 75.00 |" in section(card, "Scores")
            assert f"mIoU {50 * (6 / 9 + 7 / 10):.2f}, pixel accuracy {100 * 13 / 16:.2f}" in section(card, "Scores")
            assert ("data `camvid`; inference `name=auto`" in card) is (number > 0)
            assert "/home" not in card

    def test_an_absent_class_has_no_score(self, tmp_path):
        small().save_pretrained(tmp_path, scores=fcn.Evaluation(LABELS, torch.tensor([[4, 0], [0, 0]])))
        assert "| road | - | - |" in card_of(tmp_path)

    def test_names_of_classes_are_no_markup(self, tmp_path):
        model = small()
        model.labels = fcn.LabelSet(("a|b", f"<b>{END}"))
        model.save_pretrained(tmp_path)
        assert "| 0 | a\\|b |" in card_of(tmp_path)
        model.save_pretrained(tmp_path)
        assert card_of(tmp_path).count("## Classes") == 1

    def test_plugins_are_named(self, tmp_path):
        write_folder({**model_state(small(), LABELS), "plugins": ["my_parts"]}, tmp_path)
        assert "import my_parts" in card_of(tmp_path)
        assert "plugins=[my_parts] input=photos/" in card_of(tmp_path)

    def test_text_of_the_user_stays(self, folder, caplog):
        card = card_of(folder).replace("library_name: fcn-toolkit", "library_name: fcn-toolkit\nlicense: mit")
        (folder / "README.md").write_text(card.replace(BEGIN, f"Before.\n{BEGIN}") + "After \\1.\n")
        small().save_pretrained(folder, scores=fcn.Evaluation(LABELS, torch.eye(2, dtype=torch.int64)))
        found = card_of(folder)
        assert all(text in found for text in ("license: mit", "Before.", "After \\1.", "| road | 100.00 | 100.00 |"))
        (folder / "README.md").write_text("All mine.\n")
        small().save_pretrained(folder)
        assert card_of(folder) == "All mine.\n"
        assert "is not of this toolkit and stays as it is" in caplog.text

    @pytest.mark.parametrize(
        ("scores", "reason"),
        [
            ({"miou": 0.5}, "the scores are none of fcn evaluate"),
            (7, "the scores are none of fcn evaluate"),
            (
                {"miou": 0.5, "classes": {"road": {}, "ground": {}}},
                "are of the classes road, ground, and the model has ground, road",
            ),
        ],
    )
    def test_scores_of_something_else(self, scores, reason, tmp_path):
        with pytest.raises(UserError, match=reason):
            small().save_pretrained(tmp_path / "new", scores=scores)
        assert not (tmp_path / "new").exists()

    def test_a_file_of_scores_that_is_none(self, tmp_path):
        (tmp_path / "m.json").write_text("{")
        with pytest.raises(UserError, match=r"the scores in .*m\.json cannot be read"):
            small().save_pretrained(tmp_path / "new", scores=tmp_path / "m.json")
        with pytest.raises(FileNotFoundError, match=r"there is no file .*n\.json to read scores from"):
            small().save_pretrained(tmp_path / "new", scores=str(tmp_path / "n.json"))


class TestRefusals:
    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("{", r"the config\.json of .* is damaged"),
            ("[" * 100_000, r"the config\.json of .* is damaged"),
            ("[]", r"its config\.json is of another library"),
            ('{"model_type": "bert"}', r"its config\.json is of another library"),
        ],
    )
    def test_a_config_that_is_none(self, text, reason, folder):
        (folder / "config.json").write_text(text)
        for way in (fcn.load, lambda path: small().save_pretrained(path)):
            with pytest.raises(UserError, match=reason):
                way(folder)

    @pytest.mark.parametrize(
        ("entries", "reason"),
        [
            ({"format": 9}, "has the format 9; this version reads 1"),
            ({"spec": {"model": "fcn8s"}}, "the entry spec lacks"),
            ({"labels": {"names": ["a"], "colors": [[0, 0, 0]]}}, "1 classes given"),
            ({"plugins": "os"}, "the entry plugins is 'os', no list of words"),
            ({"plugins": [1]}, r"the entry plugins is \[1\], no list of words"),
            ({"command": {"a": 1}}, "the entry command is .*, no list of words"),
            ({"miou": "high"}, "the entry miou is 'high', no float"),
            ({"digest": "0"}, "its tensors are not those that were written"),
        ],
    )
    def test_an_entry_that_is_wrong_is_named(self, entries, reason, folder):
        change(folder, **entries)
        with pytest.raises(UserError, match=f"{folder}.*{reason}"):
            fcn.load(folder)

    def test_missing_and_damaged_files(self, folder):
        data = (folder / "model.safetensors").read_bytes()
        (folder / "model.safetensors").write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
        with pytest.raises(UserError, match="its tensors are not those that were written"):
            fcn.load(folder)
        (folder / "model.safetensors").write_bytes(data[:1000])
        with pytest.raises(UserError, match=r"model\.safetensors cannot be read as a file of weights"):
            fcn.load(folder)
        (folder / "model.safetensors").unlink()
        with pytest.raises(FileNotFoundError, match=r"has no model\.safetensors beside its config\.json"):
            fcn.load(folder)

    def test_a_folder_of_another_library_is_not_written_over(self, tmp_path):
        save_file({"a": torch.zeros(1)}, tmp_path / "model.safetensors")
        with pytest.raises(UserError, match=r"holds a model\.safetensors of another library; give a folder that is new or empty"):
            small().save_pretrained(tmp_path)
        with pytest.raises(FileNotFoundError, match=r"holds no model of fcn: it has no config\.json"):
            fcn.load(tmp_path)

    def test_models_that_cannot_be_written(self, tmp_path):
        with pytest.raises(UserError, match="does not know its classes"):
            fcn.create_model("fcn8s", backbone="compact", num_classes=2).save_pretrained(tmp_path / "new")
        state = model_state(small(), LABELS)
        for option in (math.inf, object(), {1: 2}):
            state["spec"]["model_options"] = {"option": option}
            with pytest.raises(UserError, match=r"the model has a setting that config\.json (cannot hold|would change)"):
                write_folder(state, tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_a_revision_of_a_folder(self, folder):
        with pytest.raises(UserError, match="is a folder, which has no revision='v1'"):
            fcn.from_pretrained(folder, revision="v1")

    def test_an_old_checkpoint_has_no_record(self, tmp_path):
        state = model_state(small(), LABELS)
        save_checkpoint(state, tmp_path / "old.pt")
        found = model_from_state(read_checkpoint(tmp_path / "old.pt"))
        assert found.record == {}
        assert labelled_state(found).keys() == state.keys()
