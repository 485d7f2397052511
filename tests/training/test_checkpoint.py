"""Checkpoint files: what is damaged, or no checkpoint, is refused by name; what is loaded is what was written."""

import copy
import errno
import random
import zipfile

import pytest
import torch

from fcn.core.labels import LabelSet
from fcn.models.network_weights import network_weights
from fcn.models.pretrained import load_weights
from fcn.models.segmenter import create_model
from fcn.models.weight_files import digest, model_state, read_file
from fcn.training.checkpoint import load, model_from_state, read_checkpoint, save_checkpoint

NAMES = ("ground", "road", "sky", "tree", "pole", "car", "sign")


@pytest.fixture(scope="module")
def state():
    """The contents of a small checkpoint."""
    torch.manual_seed(0)
    return model_state(create_model("fcn", backbone="compact", num_classes=7), LabelSet(NAMES), miou=0.5)


@pytest.fixture
def path(state, tmp_path):
    save_checkpoint(state, tmp_path / "best.pt")
    return tmp_path / "best.pt"


class TestDigest:
    def test_order_and_layout_change_nothing(self):
        image = torch.randn(2, 3, 4, 5)
        one = {"a": image, "b": {"c": torch.arange(3), "d": 1}}
        other = {"b": {"d": 2, "c": torch.arange(3)}, "a": image.to(memory_format=torch.channels_last)}
        assert digest(one) == digest(other)

    def test_name_type_shape_place_and_each_bit_change_it(self):
        value = torch.arange(6, dtype=torch.float32)
        flipped = value.clone()
        flipped.view(torch.int32)[4] ^= 1
        contents = [
            {"a": value},
            {"b": value},
            {"a": value.view(torch.int32)},
            {"a": value.view(2, 3)},
            {"a": flipped},
            {"x": {"a": value}},
            {"a": value, "b": torch.zeros(0)},
            {"a": torch.tensor(1.0), "b": torch.tensor(2.0)},
            {"a": torch.tensor(2.0), "b": torch.tensor(1.0)},
        ]
        assert len({digest(content) for content in contents}) == len(contents)


class TestDamage:
    def test_a_flipped_bit_is_refused_or_changes_nothing(self, state, path, tmp_path):
        """Anywhere in the file: in weights, in the names and values, and in the archive's own records."""
        whole = path.read_bytes()
        places = random.Random(0)
        chosen = [places.randrange(len(whole)) for _ in range(80)] + [len(whole) - 1 - places.randrange(6000) for _ in range(80)]
        with zipfile.ZipFile(path) as archive:
            (pickled,) = [record for record in archive.infolist() if record.filename.endswith("data.pkl")]
        chosen += [pickled.header_offset + places.randrange(pickled.file_size) for _ in range(80)]
        refused, same = 0, 0
        for place in chosen:
            spoilt = bytearray(whole)
            spoilt[place] ^= 1 << places.randrange(8)
            (tmp_path / "spoilt.pt").write_bytes(spoilt)
            try:
                found = read_checkpoint(tmp_path / "spoilt.pt")
            except ValueError as error:
                refused += str(tmp_path / "spoilt.pt") in str(error)
            else:
                assert (found["spec"], found["labels"]) == (state["spec"], state["labels"])
                assert all(torch.equal(found["weights"][name], value) for name, value in state["weights"].items())
                same += 1
        assert refused + same == len(chosen)
        assert refused > 100

    def test_every_way_of_reading_refuses_a_damaged_weight(self, path):
        with zipfile.ZipFile(path) as archive:
            record = max(archive.infolist(), key=lambda record: record.file_size)
        with open(path, "r+b") as file:
            file.seek(record.header_offset + record.file_size // 2)
            (byte,) = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte ^ 64]))
        network = create_model("fcn", backbone="compact", num_classes=7)
        ways = (load, lambda path: network_weights(str(path), "fcn", "compact"), lambda path: load_weights(network.backbone, path))
        for way in ways:
            with pytest.raises(ValueError, match=r"best\.pt is damaged: the checksum of its part .* is wrong"):
                way(path)

    def test_weights_that_another_program_changed_are_refused(self, path):
        content = torch.load(path, weights_only=True)
        name = next(iter(content["weights"]))
        content["weights"][name] = content["weights"][name] + 1
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"best\.pt is damaged.*its tensors are not those that were written"):
            load(path)

    def test_a_checkpoint_of_before_the_digest_loads(self, state, path):
        torch.save(state, path)
        assert torch.equal(load(path).state_dict()["mean"], state["weights"]["mean"])

    def test_an_archive_that_was_written_without_checksums_loads(self, state, path):
        torch.serialization.set_crc32_options(False)
        try:
            torch.save(state["weights"], path)
        finally:
            torch.serialization.set_crc32_options(True)
        assert read_file(path).keys() == state["weights"].keys()

    def test_a_file_that_may_not_be_read_is_not_called_damaged(self, path, monkeypatch):
        def forbidden(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr("builtins.open", forbidden)
        with pytest.raises(PermissionError, match=r"best\.pt cannot be opened \(Permission denied\); change its permissions"):
            read_checkpoint(path)


def changed(*keys, to):
    def change(state):
        *parents, last = keys
        for key in parents:
            state = state[key]
        if to is None:
            del state[last]
        else:
            state[last] = to(state[last]) if callable(to) else to

    return change


WEIGHT = "decoder.classifier.4.weight"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (changed("weights", WEIGHT, to=lambda weight: weight * float("nan")), f"1 hold nan or infinity ({WEIGHT})"),
        (changed("weights", WEIGHT, to=lambda weight: weight.to(torch.int8)), f"{WEIGHT} holds torch.int8 where torch.float32 is expected"),
        (changed("weights", WEIGHT, to=lambda weight: weight.to(torch.complex64)), f"{WEIGHT} holds torch.complex64"),
        (changed("weights", WEIGHT, to=3), "the entry weights does not hold tensors by name"),
        (changed("weights", to=[1]), "the entry weights does not hold tensors by name"),
        (changed("labels", to=None), "lacks the entry labels"),
        (changed("labels", to=[]), "the entry labels does not hold"),
        (changed("labels", to={"names": ["a", "b"], "colors": [[0, 0, 0], [1, 1, 1]]}), "it names 2 classes, and its network has 7"),
        (changed("labels", "names", 2, to="road"), "given more than once: road"),
        (changed("labels", "names", 2, to=2), "the entry labels does not hold"),
        (changed("labels", "colors", 2, to=[0, 0]), "not three numbers from 0 to 255"),
        (changed("labels", "colors", 2, to=[0, 0, 256]), "not three numbers from 0 to 255"),
        (changed("spec", to=None), "is no checkpoint of fcn train"),
        (changed("spec", to=["fcn"]), "the entry spec is list"),
        (changed("spec", "backbone", to=None), "lacks backbone"),
        (lambda state: state["spec"].update(depth=3), "has the unknown depth"),
        (changed("spec", "num_classes", to="7"), "num_classes in the entry spec is '7', no int"),
        (changed("spec", "num_classes", to=True), "num_classes in the entry spec is True, no int"),
        (changed("spec", "model_options", to=[]), "model_options in the entry spec is []"),
        (changed("spec", "backbone", to="resnet19"), "cannot be built: backbone=resnet19 is not known"),
        (lambda state: state["spec"]["model_options"].update(channels="many"), "cannot be built"),
        (lambda state: state.update(data=["shapes"]), "the entry data does not name a data set"),
        (changed("format", to=2), "has the format 2; this version reads 1"),
        (changed("format", to=None), "lacks the entry format"),
    ],
)
def test_what_a_checkpoint_should_not_hold_is_named(change, reason, state, tmp_path):
    spoilt = copy.deepcopy(state)
    change(spoilt)
    torch.save(spoilt, tmp_path / "spoilt.pt")
    with pytest.raises(ValueError, match=r"spoilt\.pt") as raised:
        load(tmp_path / "spoilt.pt")
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


def test_half_precision_is_taken(state):
    half = {**state, "weights": {name: value.half() if value.is_floating_point() else value for name, value in state["weights"].items()}}
    loaded = model_from_state(half).state_dict()
    assert loaded[WEIGHT].dtype == torch.float32
    torch.testing.assert_close(loaded[WEIGHT], state["weights"][WEIGHT], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("spoil", [lambda data: data[:-9], lambda data: b"\xff" * 8 + data[8:], lambda data: b""])
def test_damaged_safetensors_are_refused(spoil, state, tmp_path):
    from safetensors.torch import save

    file = tmp_path / "weights.safetensors"
    whole = save({name: value.contiguous() for name, value in state["weights"].items()})
    file.write_bytes(whole)
    assert read_file(file).keys() == state["weights"].keys()
    file.write_bytes(spoil(whole))
    with pytest.raises(ValueError, match=r"weights\.safetensors cannot be read as a state dict"):
        read_file(file)
