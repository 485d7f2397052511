"""From parts of a configuration to the objects that they name."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.core.names import first_line
from fcn.core.registry import find
from fcn.tools.schema import PartConfig

if TYPE_CHECKING:
    from fcn.data.split import Split
    from fcn.models.segmenter import Segmenter

log = logging.getLogger(__name__)
T = TypeVar("T")


def load_split(data: dict[str, Any], split: str) -> "Split":
    """A split of the data set that a ``data`` configuration, as plain values, describes."""
    return load_splits(data, split)[0]


def load_splits(data: dict[str, Any], *splits: str) -> list[Any]:
    """Several splits of a data set. One error names what is wrong with any of them. What its reader notes (files that were passed over) is
    told once for all."""
    from fcn.data.sets import create_split

    part = find("data", data["name"])
    aside = {"name", "recipe", *(setting.name for setting in part.settings)} - part.own  # what is not for the data set's function
    options = {key: value for key, value in data.items() if key not in aside}
    loaded = all_of([partial(create_split, data["name"], split, **options) for split in splits])
    for note in dict.fromkeys(note for split in loaded for note in getattr(split, "notes", ())):
        log.warning("note: %s", note)
    return loaded


def known_data(chosen: PartConfig | None, state: Mapping[str, Any], checkpoint: str) -> dict[str, Any]:
    """The data set that is chosen, else the one that a checkpoint says it was trained on, as plain values; of that, nothing is downloaded.
    Raises UserError where there is neither."""
    if chosen is not None:
        return asdict(chosen)
    if state.get("data"):
        return {key: value for key, value in state["data"].items() if key != "download"}
    raise UserError(f"{checkpoint} does not say what data it was trained on; give data=NAME")


def known_splits(data: dict[str, Any], names: Sequence[str], checkpoint: str) -> list[Any]:
    """Splits of the data set that a checkpoint names. UserError, naming the checkpoint, where its entry describes none."""
    try:
        return load_splits(data, *names)
    except (ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"the data that {checkpoint} was trained on cannot be read ({first_line(error)}); give another split, or data=NAME"
        ) from error


def all_of(calls: Sequence[Callable[[], T]]) -> list[T]:
    """What the calls return. What they raise as UserError or OSError is raised at the end, all of it in one error."""
    results, errors = [], []
    for call in calls:
        try:
            results.append(call())
        except (UserError, OSError) as error:
            errors.append(error)
    reasons = list(dict.fromkeys(str(error) for error in errors))
    if len(reasons) > 1:
        kind = FileNotFoundError if all(isinstance(error, FileNotFoundError) for error in errors) else UserError
        raise kind(".\nAlso: ".join(reasons)) from errors[0]
    if errors:
        raise errors[0]
    return results


def verify_mode(data: PartConfig) -> str:
    """How many samples of a data set are read before a training, see ``fcn.data.verify``."""
    return "none" if find("data", data.name).facts.get("sound") else data.options()["verify"]


def look_at(training: Any, validation: Any, mode: str, *, progress: bool = True) -> None:
    """Say what is wrong with the data of a training before anything is made for it: files that cannot be used, nothing to tell apart,
    nothing to score. mode, progress: see ``fcn.data.verify``."""
    from fcn.data.census import need_classes, refuse_scoring, refuse_too_few, scoring_warnings, shares, training_warnings
    from fcn.data.verify import verify

    if mode != "none":
        train_census, val_census = all_of([partial(verify, split, mode, progress=progress) for split in (training, validation)])
        all_of(
            [
                partial(refuse_too_few, train_census, 2, "the training split"),
                partial(refuse_scoring, val_census, "the validation split"),
            ]
        )
        log.info("training split: %s: %s", train_census.summary(), shares(train_census))
        log.info("validation split: %s", val_census.summary())
        for warning in dict.fromkeys([*training_warnings(train_census), *scoring_warnings(val_census)]):
            log.warning("note: %s", warning)
    need_classes(training, 2, "the training split")
    need_classes(validation, 1, "the validation split")


def model_of(
    model: PartConfig,
    backbone: PartConfig,
    upsample: PartConfig,
    num_classes: int,
    class_names: Sequence[str] | None = None,
    images: ImageKind = RGB,
) -> "Segmenter":
    """The network of these three parts, with the weights that they name, for images of that kind."""
    from fcn.models.segmenter import ARGUMENTS, create_model

    parts = (model, backbone, upsample)
    options = {f"{part.KIND}_{key}": value for part in parts for key, value in part.options().items() if (part.KIND, key) not in ARGUMENTS}
    return create_model(
        model.name,
        backbone=backbone.name,
        upsample=upsample.name,
        classes=class_names or num_classes,
        in_channels=images.channels,
        dtype=images.dtype,
        weights=model.options()["weights"],
        backbone_weights=backbone.options()["weights"],
        **options,
    )
