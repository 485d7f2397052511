"""Files of weights: read as tensors and plain values only, and told apart from damaged ones.

``torch.load`` does not compare the checksums that the archive holds, and a flipped bit in a weight gives another network. So they are
compared here. A checkpoint of ``fcn train`` also carries a digest of its tensors, which another program may have rewritten with right
checksums.
"""

import hashlib
import logging
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.labels import LabelSet
from fcn.core.names import a_type, spelled
from fcn.models.matching import shared_holders
from fcn.models.spec import check_spec

if TYPE_CHECKING:
    from fcn.models.segmenter import Segmenter

log = logging.getLogger(__name__)

FORMAT = 1
PROGRAMS = (".onnx", ".pt2")  # what fcn export writes beside weights
ENTRIES = ("format", "spec", "labels", "weights")  # that every checkpoint has
RECORD: dict[str, tuple[type, ...]] = {  # what one may say of its training, in plain values
    "miou": (float, int),
    "epoch": (int,),
    "data": (dict,),
    "plugins": (list, tuple),
    "settings": (dict,),
    "command": (list, tuple),
}
WRAPPERS = ("state_dict", "model_state_dict", "model")  # where other programs keep the state dict inside of what they save


def read_archive(path: Path, kind: str) -> Any:
    """What a ``.pt`` / ``.pth`` or ``.safetensors`` file holds, on the CPU. kind: what it should be, for the messages.

    Raises OSError where the file cannot be opened, and UserError where it is damaged or holds more than tensors and plain values.
    """
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise type(error)(f"{path} cannot be opened ({error.strerror or error}); change its permissions, or give another file") from error
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        packed = zipfile.is_zipfile(path)
        if packed:
            check_sums(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of sparse tensors, which are refused by name
            return torch.load(path, map_location="cpu", weights_only=True, mmap=packed)
    except DamagedError as error:
        raise UserError(str(error)) from error
    except Exception as error:  # a damaged archive raises whatever its parser meets
        raise UserError(
            f"{path} cannot be read as a {kind} ({type(error).__name__}): it is damaged, or holds more than tensors and plain values"
        ) from error


class DamagedError(Exception):
    """Its text is the sentence to show."""


def check_sums(path: Path) -> None:
    """Raise DamagedError where a record of the archive does not have the checksum that was written with it."""
    with zipfile.ZipFile(path) as archive:
        if not any(record.CRC for record in archive.infolist()):  # torch can be told to write none
            return
        record = archive.testzip()
    if record is not None:
        raise DamagedError(f"{path} is damaged: the checksum of its part {record} is wrong; take another copy")


def read_file(path: str | Path) -> Any:
    """What a ``.pt`` / ``.pth`` or ``.safetensors`` file holds; a checkpoint of ``fcn train`` is checked. A model's folder, or its word on
    the hub, holds a checkpoint as well.

    Raises FileNotFoundError, OSError where it cannot be opened, or UserError where it cannot be read or is damaged.
    """
    from fcn.models.hub import read_shared

    shared = read_shared(path)
    if shared is not None:
        return shared
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, no file of weights; give the path of a state dict or of a checkpoint in it")
    if not path.exists():
        raise FileNotFoundError(f"there is no file {path} to load weights from; give the path of a state dict, or {spelled(None)}")
    if path.suffix.lower() in PROGRAMS:
        raise UserError(
            f"{path} is an exported file, whose weights cannot be trained; give the checkpoint that it was made from "
            "(an ONNX file is used as checkpoint= of fcn predict and fcn evaluate)"
        )
    content = read_archive(path, "state dict")
    if is_checkpoint(content):
        check_checkpoint(content, path)
    return content


def as_state_dict(content: Any, path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in ``content``: itself, or what it holds as ``WRAPPERS`` say; names all behind ``module.`` or another holder of
    the network lose it. What was done is logged. Raises UserError where there are none."""
    inside = [key for key in WRAPPERS if isinstance(content, dict) and is_state_dict(content.get(key))]
    state = content[inside[0]] if inside else content
    if not is_state_dict(state):
        raise UserError(
            f"{path} holds no state dict (tensors by name), neither itself nor as {', '.join(WRAPPERS)}; "
            f"save one with torch.save(model.state_dict(), path)"
        )
    prefix = shared_holders(state)
    if inside or prefix:
        parts = [f"its entry '{key}' is read" for key in inside[:1]] + [f"'{prefix}' is cut off the names"] * bool(prefix)
        log.info("%s: %s", path, ", ".join(parts))
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """The tensors by name in a file: a state dict's or a checkpoint's. Raises as ``read_file`` and ``as_state_dict`` do."""
    content = read_file(path)
    return content["weights"] if is_checkpoint(content) else as_state_dict(content, path)


# --- checkpoints of fcn train ---


def model_state(model: "Segmenter", labels: LabelSet, **facts: Any) -> dict[str, Any]:
    """What a checkpoint holds of a model: its spec, classes and weights, and ``facts``, plain values.

    Of a model that ``wrap`` made, the spec says how; the network's code is not in it.
    """
    if model.spec is None:
        raise UserError("this model was made by neither create_model nor wrap, so that it could not be read again; save its state_dict()")
    return {
        "format": FORMAT,
        "spec": asdict(model.spec),
        "labels": {"names": list(labels.names), "colors": [list(color) for color in labels.colors]},
        "weights": model.state_dict(),
        **facts,
    }


def is_checkpoint(content: Any) -> bool:
    return isinstance(content, dict) and {"spec", "weights"} <= set(content)


def labelled_state(model: "Segmenter") -> dict[str, Any]:
    """``model_state`` of a model that knows its classes, with what the checkpoint that its weights are from says of their training.

    Raises UserError for a model without classes, and TypeError for what is none.
    """
    from fcn.models.segmenter import Segmenter

    if not isinstance(model, Segmenter):
        raise TypeError(f"the model is {a_type(model)}; give what fcn.create_model(...) or fcn.load(PATH) returns")
    if model.labels is None:
        raise UserError('the model does not know its classes; give them, as model.labels = fcn.LabelSet(("ground", "road"))')
    state = model_state(model, model.labels)
    record = {entry: value for entry, value in model.record.items() if entry != "digest"}
    if record and model.record["digest"] != digest({"weights": state["weights"]}):
        log.info("the weights were changed since they were read; what was known of their training is left out")
        return state
    return state | record


def check_checkpoint(content: Any, path: str | Path) -> None:
    """Raises UserError, naming the file and the entry, where a checkpoint is not what ``fcn train`` writes or its tensors are others."""
    if content.get("format", FORMAT) != FORMAT:
        raise UserError(
            f"{path} has the format {content['format']!r:.60}; this version reads {FORMAT}: use the version of fcn that wrote it"
        )
    try:
        missing = [entry for entry in ENTRIES if entry not in content]
        if missing:
            raise UserError(f"it lacks the entry {', '.join(missing)}")
        check_spec(content["spec"])
        check_tensors(content["weights"])
        classes, named = content["spec"]["num_classes"], labels_of(content["labels"]).num_classes
        if named != classes:
            raise UserError(f"it names {named} classes, and its network has {classes}")
        data = content.get("data")
        if data is not None and not (isinstance(data, dict) and isinstance(data.get("name"), str)):
            raise UserError("the entry data does not name a data set")
        check_record(content)
        if "digest" in content and content["digest"] != digest(content):
            raise UserError("its tensors are not those that were written")
    except ValueError as error:
        raise UserError(f"{path} is damaged, or no checkpoint of fcn train: {error}") from error


def check_record(content: dict[str, Any]) -> None:
    """Raises UserError where an entry of the record of a checkpoint is of another type."""
    for entry, allowed in RECORD.items():
        value = content.get(entry)
        of_words = entry in ("plugins", "command")
        if value is None or (type(value) in allowed and not (of_words and not all(isinstance(word, str) for word in value))):
            continue
        raise UserError(f"the entry {entry} is {value!r:.60}, no {allowed[0].__name__}{' of words' * of_words}")


def record_of(state: dict[str, Any]) -> dict[str, Any]:
    """What a checkpoint says of the training of its weights, and the digest of these, by which others are told from them."""
    rest = {key: value for key, value in state.items() if key != "weights"}
    known = state.get("digest") if next(named_tensors(rest, ""), None) is None else None
    found = {entry: state[entry] for entry in RECORD if state.get(entry) is not None}
    return {**found, "digest": known or digest({"weights": state["weights"]})} if found else {}


def labels_of(entry: Any) -> LabelSet:
    """The classes of a checkpoint. Raises UserError where the entry is something else."""
    fits = isinstance(entry, dict) and all(isinstance(entry.get(key), list) for key in ("names", "colors"))
    if not fits or not all(isinstance(name, str) for name in entry["names"]):
        raise UserError("the entry labels does not hold a list of names and a list of colors")
    for color in entry["colors"]:
        if not isinstance(color, list | tuple) or len(color) != 3 or not all(type(value) is int and 0 <= value <= 255 for value in color):
            raise UserError(f"the entry labels has the colour {color!r:.60}, which is not three numbers from 0 to 255")
    return LabelSet(tuple(entry["names"]), tuple((red, green, blue) for red, green, blue in entry["colors"]))


def check_tensors(weights: Any) -> None:
    if not is_state_dict(weights):
        raise UserError("the entry weights does not hold tensors by name")


def is_state_dict(content: Any) -> bool:
    """Whether ``content`` is tensors by name, and at least one."""
    return (
        isinstance(content, dict)
        and len(content) > 0
        and all(isinstance(name, str) and isinstance(value, Tensor) for name, value in content.items())
    )


def digest(content: Any) -> str:
    """SHA-256 over all tensors in nested dicts and lists: their names, types, shapes and values, in the order of the names.

    The order in a dict and the layout in memory change nothing.
    """
    total = hashlib.sha256(usedforsecurity=False)
    for name, tensor in sorted(named_tensors(content, ""), key=lambda pair: pair[0]):
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise UserError(f"{name.strip('/')} is no dense tensor")
        total.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        values = tensor.detach().cpu().contiguous().reshape(-1)
        total.update(values.view(torch.uint8).numpy().data)
    return total.hexdigest()


def named_tensors(content: Any, name: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor):
        yield name, content
    elif isinstance(content, dict | list | tuple):
        for key, value in content.items() if isinstance(content, dict) else enumerate(content):
            yield from named_tensors(value, f"{name}/{key}")
