"""From parts of a configuration to the objects that they name."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from fcn.config.models import BackboneConfig, ModelConfig, UpsampleConfig

if TYPE_CHECKING:
    from fcn.models.segmenter import Segmenter


def load_split(data: dict[str, Any], split: str) -> Any:
    """A split of the data set that a ``data`` configuration, as plain values, describes."""
    from fcn.data import create_split

    options = {key: value for key, value in data.items() if key not in ("name", "train", "val", "recipe", "verify")}
    return create_split(data["name"], split, **options)


def part_options(part: Any, *left_out: str) -> dict[str, Any]:
    """The settings of a part of the configuration as keyword arguments."""
    return {key: value for key, value in asdict(part).items() if key not in left_out}


def model_of(
    model: ModelConfig,
    backbone: BackboneConfig,
    upsample: UpsampleConfig,
    num_classes: int,
    class_names: Sequence[str] | None = None,
) -> "Segmenter":
    """The network of these three parts, with the weights that they name."""
    from fcn.models.segmenter import create_model

    return create_model(
        model.name,
        backbone=backbone.name,
        upsample=upsample.name,
        num_classes=num_classes,
        output_stride=backbone.output_stride,
        weights=model.weights,
        backbone_weights=backbone.weights,
        model_options=part_options(model, "name", "weights"),
        backbone_options=part_options(backbone, "name", "weights", "output_stride"),
        upsample_options=part_options(upsample, "name"),
        class_names=class_names,
    )
