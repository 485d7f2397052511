"""From parts of a configuration to the objects that they name."""

from typing import TYPE_CHECKING, Any

from fcn.config.parts import PartConfig
from fcn.core.registry import find

if TYPE_CHECKING:
    from fcn.data.split import Split
    from fcn.models.segmenter import Segmenter


def load_split(data: dict[str, Any], split: str) -> "Split":
    """A split of the data set that a ``data`` configuration, as plain values, describes."""
    from fcn.data.sets import create_split

    return create_split(data["name"], split, **{key: value for key, value in data.items() if key in find("data", data["name"]).own})


def model_of(model: PartConfig, backbone: PartConfig, upsample: PartConfig, num_classes: int) -> "Segmenter":
    """The network of these three parts, with the weights that they name."""
    from fcn.models.segmenter import ModelSpec, assemble, set_options

    of_model, of_backbone = model.options("weights"), backbone.options("weights", "output_stride")
    head = {key: of_model.pop(key) for key in ("aux", "aux_weight", "aux_level")}
    plugins = tuple(sorted({found.plugin for part in (model, backbone, upsample) if (found := find(part.kind, part.name)).plugin}))
    spec = ModelSpec(
        model.name,
        backbone.name,
        upsample.name,
        num_classes,
        backbone.options()["output_stride"],
        set_options(of_model),
        set_options(of_backbone),
        upsample.options(),
        plugins,
    )
    return assemble(spec, backbone.options()["weights"], weights=model.options()["weights"], **head)
