"""The page's second tab: the receptive field of layers in words, of a classifier or of a segmentation network."""

from pathlib import Path
from typing import NamedTuple

from fcn.core.errors import UserError
from fcn.core.files import written
from fcn.tools.inspect.settings import InspectConfig
from fcn.tools.schema import part_schema

LAYERS, CLASSIFIER, NETWORK = "layers in words", "classifier", "segmentation network"
KINDS = (LAYERS, CLASSIFIER, NETWORK)
EXAMPLE = "conv3 s2 p1, pool2 s2, conv3 d2"


class Fields(NamedTuple):
    """The table of the layers, sentences on the output's field, and the file of the picture."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str]
    picture: Path


def settings(kind: str, layers: str, classifier: str, model: str, backbone: str, *, size: float, ignore_global: bool) -> InspectConfig:
    """What the form says, as the settings of ``fcn inspect``. Raises UserError where it does not go together."""
    if kind == LAYERS:
        if not layers.strip():
            raise UserError(f"give layers in words, as: {EXAMPLE}")
        return InspectConfig(layers=layers, input_size=int(size))
    if kind == CLASSIFIER:
        return InspectConfig(classifier=classifier.strip(), input_size=int(size), ignore_global=ignore_global)
    parts = {"model": part_schema("model", model.strip())(), "backbone": part_schema("backbone", backbone.strip())()}
    return InspectConfig(**parts, input_size=int(size), ignore_global=ignore_global)  # type: ignore[arg-type]


def fields_of(config: InspectConfig, photograph: str | None, folder: Path) -> Fields:
    """The table and the picture of ``fcn inspect``. photograph: file to draw on; None: a drawn picture. Raises what that raises."""
    from fcn.data.images import read_image
    from fcn.tools.inspect.picture import fitted
    from fcn.tools.inspect.run import of_layers, of_network
    from fcn.tools.inspect.table import cells, notes

    _, report, draw = of_layers(config) if config.layers is not None else of_network(config)
    header, rows, total = cells(report)
    figure = draw(fitted(None if photograph is None else read_image(photograph), report.input_shape[2:]))
    with written(folder / "field.png") as temporary:
        figure.savefig(temporary, format="png")
    return Fields(header, [*rows, total], notes(report), folder / "field.png")
