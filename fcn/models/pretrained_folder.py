"""A model as a folder: ``model.safetensors``, ``config.json`` and ``README.md``, its card. The Hugging Face hub holds models in this form.

``config.json`` has what a checkpoint holds beside its tensors, and a digest of them: weights of another model, or damaged ones, are
refused. It names no file of the machine that wrote it. A folder holds no code, and reading one runs none.
"""

import json
import logging
import re
from collections.abc import Mapping
from math import isfinite
from os import PathLike, fspath
from pathlib import Path
from typing import Any

from torch import Tensor

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.core.names import first_line
from fcn.core.settings import plain
from fcn.models.card import Scores, card, checked_scores, renewed
from fcn.models.weight_files import RECORD, check_checkpoint, digest, read_archive

log = logging.getLogger(__name__)

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
BUILTIN = "builtin"  # word of the network that comes with the package
LIBRARY = "fcn-toolkit"
OURS = {"spec", "labels", "format"}  # entries by which a config.json is told from other libraries'
LARGEST_CONFIG = 10_000_000  # bytes; what is written has some thousands
OF_THE_MACHINE = ("output", "resume", "device", "workers", "tracker")  # words of a call that say nothing of the training
OF_THE_FILES = ("root",)  # settings of a data set that say where its files are
QUOTED = re.compile(r"'([\w.,/~@:+=-]*)'")  # a value in quotes that it can do without
PATH = re.compile(r"(file:/|/|~|\.\.[/\\]|[A-Za-z]:[/\\])")
IN_LIST = re.compile(r"[^\[\],]+")  # an item


def write_folder(state: Mapping[str, Any], folder: str | PathLike[str], *, scores: Scores = None, name: str | None = None) -> None:
    """Write a model as a folder.

    state: contents of a checkpoint: what ``read_checkpoint`` or ``model_state`` returns.
    folder: folder to write to; it is made. A model that is in it already is replaced, and of its card what ``card`` wrote.
    scores: what ``fcn.evaluate`` returned, or the contents or the path of a ``metrics.json``, for the card.
    name: of the repository, USER/NAME, where the card is for one.

    Raises UserError where the folder holds something else under these names, and for scores of other classes. Raises OSError where a file
    cannot be written.
    """
    folder = Path(folder)
    check_place(folder)
    weights, entries = state["weights"], published(state)
    content = {"library": LIBRARY, **entries, "digest": digest({"weights": weights})}
    text = as_json(content)
    found = checked_scores(scores, entries["labels"]["names"])
    parameters = sum(tensor.numel() for tensor in weights.values() if tensor.is_floating_point())
    told = card(entries, found, parameters=parameters, title=name or folder.absolute().name, origin=f"hf://{name}" if name else None)
    if (folder / CARD).exists():
        told = renewed(card_text(folder / CARD, str(folder / CARD)), told, str(folder / CARD))
    with written(folder / WEIGHTS) as temporary:
        save_tensors(weights, temporary)
    with written(folder / CARD) as temporary:
        temporary.write_text(told, encoding="utf-8")
    with written(folder / CONFIG) as temporary:  # last: with the weights of another model its digest does not agree
        temporary.write_text(text, encoding="utf-8")


def card_text(path: Path, said: str) -> str:
    """The text of a card. Raises UserError where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UserError(f"{said} is no UTF-8 text, so that what is yours in it cannot be kept; save it as UTF-8, or move it") from error


def read_folder(folder: str | PathLike[str], origin: str | None = None) -> dict[str, Any]:
    """What a checkpoint would hold of the model in a folder, on the CPU.

    origin: name of the model for messages; default: the folder.

    Raises FileNotFoundError where a file is missing, UserError where one is damaged or of another library.
    """
    folder = Path(folder)
    origin = origin or str(folder)
    config = read_config(folder / CONFIG, origin)
    if not (folder / WEIGHTS).is_file():
        raise FileNotFoundError(f"{origin} has no {WEIGHTS} beside its {CONFIG}; take another copy")
    content = {**config, "weights": read_archive(folder / WEIGHTS, "file of weights")}
    check_checkpoint(content, origin)
    if "plugins" in content["spec"]:
        content["spec"]["plugins"] = tuple(content["spec"]["plugins"])  # JSON has lists only
    return content


def read_config(path: Path, origin: str) -> dict[str, Any]:
    """The entries of a ``config.json`` of ours. Raises UserError for any other file, FileNotFoundError for none."""
    if not path.is_file():
        raise FileNotFoundError(f"{origin} holds no model of fcn: it has no {CONFIG}; give a folder that save_pretrained wrote")
    try:
        if path.stat().st_size > LARGEST_CONFIG:
            raise UserError(f"it has more than {LARGEST_CONFIG} bytes")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"the {CONFIG} of {origin} is damaged: {first_line(error)}; take another copy") from error
    if not is_ours(content):
        raise UserError(
            f"{origin} holds no model of fcn: its {CONFIG} is of another library; give one that save_pretrained or push_to_hub wrote"
        )
    return content


def located(path: str | PathLike[str]) -> str | PathLike[str]:
    """The package's own folder for the word ``builtin``, unless a file or folder is called so; any other path as it is."""
    builtin = fspath(path) == BUILTIN and not Path(path).exists()
    return Path(__file__).with_name(BUILTIN) if builtin else path


def is_model_folder(path: str | PathLike[str]) -> bool:
    """Whether ``path`` is a folder with a file of a model."""
    return any((Path(path) / name).is_file() for name in (CONFIG, WEIGHTS))


def is_ours(config: Any) -> bool:
    return isinstance(config, dict) and set(config) >= OURS


def check_place(folder: Path) -> None:
    """Raises UserError where a model of another library would be written over."""
    if (folder / CONFIG).is_file():
        read_config(folder / CONFIG, str(folder))
    elif (folder / WEIGHTS).exists():
        raise UserError(f"{folder} holds a {WEIGHTS} of another library; give a folder that is new or empty")


# --- what is written ---


def published(state: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a checkpoint that go with its weights, without paths of this machine."""
    entries = {key: plain(state[key]) for key in ("format", "spec", "labels", *RECORD) if key in state}
    if not isfinite(entries.get("miou", 0)):  # a validation without any class to score
        del entries["miou"]
    if "data" in entries:
        data = {key: value for key, value in entries["data"].items() if key not in (*OF_THE_FILES, "download")}
        entries["data"] = {key: value for key, value in data.items() if not is_path(value)}
    if "command" in entries:
        entries["command"] = [public_word(word) for word in entries["command"] if word.partition("=")[0] not in OF_THE_MACHINE]
    return entries


def public_word(word: str) -> str:
    """A word of a call with only the name of a file that it gives by its whole path, and DIR for the folder of a data set."""
    key, _, value = word.partition("=")
    inside = QUOTED.fullmatch(value)
    value = inside[1] if inside else value
    if key.rpartition(".")[2] in OF_THE_FILES:
        return f"{key}=DIR"
    if value.startswith("[") and value.endswith("]"):
        return f"{key}={IN_LIST.sub(lambda item: public_value(item[0]), value)}"
    return f"{key}={public_value(value)}"


def public_value(value: str) -> str:
    """A value with only the name of a file that it gives by its whole path, in quotes or not."""
    bare = value[1:-1] if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"" else value
    return Path(bare).name if is_path(bare.strip()) else value


def is_path(value: Any) -> bool:
    return isinstance(value, str) and PATH.match(value) is not None


def as_json(content: dict[str, Any]) -> str:
    """``content`` as JSON that reads back as it is. Raises UserError for what JSON would change."""
    try:
        text = json.dumps(content, indent=1, allow_nan=False)
        same = json.loads(text) == content
    except (TypeError, ValueError) as error:
        raise UserError(f"the model has a setting that {CONFIG} cannot hold ({first_line(error)}); use fcn.save instead") from error
    if not same:
        raise UserError(f"the model has a setting that {CONFIG} would change; use fcn.save instead")
    return text + "\n"


def save_tensors(weights: Mapping[str, Tensor], path: Path) -> None:
    """Tensors by name as a safetensors file, whole ones of their own: names that share memory get a copy each."""
    from safetensors.torch import save_file

    taken: set[int] = set()
    own: dict[str, Tensor] = {}
    for name, tensor in weights.items():
        place = tensor.untyped_storage().data_ptr()
        whole = tensor.detach().cpu().contiguous()
        own[name] = whole.clone() if place in taken else whole
        taken.add(place)
    path.touch()
    mode = path.stat().st_mode
    save_file(own, path, metadata={"format": "pt"})
    path.chmod(mode)  # the library writes files that only their owner may read
