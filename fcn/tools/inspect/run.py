"""``fcn inspect``: a network layer by layer, as a table on standard output and a picture in a folder."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fcn.core.conf import default_parts
from fcn.core.garbage import uncollected
from fcn.core.images import RGB, ImageKind
from fcn.tools.folders import new_folder, refuse_used
from fcn.tools.inspect.settings import InspectConfig
from fcn.tools.networks import network_of, saved_model
from fcn.tools.parts import model_of
from fcn.tools.schema import part_schema

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor, nn

log = logging.getLogger(__name__)

USUAL_SIZE = 224
CLASSES = 21  # of Pascal VOC


@uncollected()
def run(config: InspectConfig) -> int:
    """Print the table of a network and leave it with a picture of the centre cell's fields in a folder.

    Standard output has the table alone. Without a picture, a folder is made only where ``output`` names one.
    """
    from fcn.core.files import written
    from fcn.data.images import read_image
    from fcn.tools.inspect.picture import fitted
    from fcn.tools.inspect.table import FORMATS, SUFFIXES

    refuse_used(config.output)
    photograph = None
    if config.image is not None:
        photograph = read_image(config.image) if config.channels is None else picture_of(config.image, config.channels)
    name, report, draw = of_layers(config) if config.layers is not None else of_network(config)
    text = FORMATS[config.format](report)
    height, width = report.input_shape[2:]
    log.info("%s, on %d x %d pixels", name, height, width)
    print(text, flush=True)
    if not config.picture and config.output is None:
        return 0
    folder = new_folder("inspect", config.output)
    with written(folder / f"layers.{SUFFIXES[config.format]}") as temporary:
        temporary.write_text(text + "\n")
    if config.picture:
        figure = draw(fitted(photograph, (height, width)))
        with written(folder / "field.png") as temporary:
            figure.savefig(temporary, format="png")
        log.info("the theoretical and the effective field of the centre cell: %s", folder / "field.png")
    return 0


def picture_of(path: str, channels: int) -> "Tensor":
    """Three channels of an image that is read as it is stored, uint8 (3, H, W)."""
    from fcn.data.measured import ranged
    from fcn.data.stored import read_stored, stored_kind
    from fcn.data.visible import visible

    kind = stored_kind(path, channels)
    image = read_stored(path, kind)
    shown: Tensor = visible(image, ranged(image, kind))[:, :]
    return shown


Inspected = tuple[str, Any, Callable[[Any], "Figure"]]  # a name, the report, and what draws the fields on an image


def of_layers(config: InspectConfig) -> Inspected:
    """Layers in words, by formula."""
    from fcn.lessons.notation import parse_words
    from fcn.tools.inspect.picture import layers_picture
    from fcn.tools.inspect.report import inspect_layers

    named = parse_words(config.layers or "")
    report = inspect_layers(named, sizes(config.input_size or USUAL_SIZE))
    return "layers in words", report, lambda image: layers_picture([layer for _, layer in named], image)


def of_network(config: InspectConfig) -> Inspected:
    """A model, a backbone or a classifier, read from its graph."""
    from fcn.tools.inspect.picture import network_picture
    from fcn.tools.inspect.report import inspect_network

    name, network, output, size = build(config)
    report, fields = inspect_network(
        network,
        sizes(config.input_size or size),
        output=output,
        ignore_global=config.ignore_global,
        pool_as_window=config.pool_as_window,
        every=config.all,
        depth=config.depth,
    )
    return name, report, lambda image: network_picture(network, fields, image, output=output, name=name)


def build(config: InspectConfig) -> tuple[str, "nn.Module", str | None, int]:
    """A name for people, the network, which of its outputs is meant (None: its only one), and the side of the images it is for."""
    import torch

    from fcn.models.backbones import create_backbone
    from fcn.models.channels import with_channels
    from fcn.models.classifiers import create_classifier

    torch.manual_seed(0)
    if config.checkpoint is not None:
        return config.checkpoint, saved_model(config.checkpoint, config.network), None, USUAL_SIZE
    images = RGB if config.channels is None else ImageKind(config.channels)
    if config.network is not None:
        return config.network, network_of(config.network), None, USUAL_SIZE
    if config.classifier is not None:
        classifier, size = create_classifier(config.classifier)
        return config.classifier, classifier, None, size
    if config.model is None:
        backbone = config.backbone or part_schema("backbone", "compact")()
        given = {key: value for key, value in backbone.options().items() if value is not None}
        features = create_backbone(backbone.name, **given)
        with_channels(features, backbone.name, images.channels, pretrained=given.get("weights") is not None)
        network = features.network if features.margin is None else features  # whose layers have shorter names
        return f"backbone {backbone.name}, deepest feature", network, str(len(features.channels) - 1), USUAL_SIZE
    usual = default_parts("train")
    backbone = config.backbone or part_schema("backbone", usual["backbone"])()
    upsample = config.upsample or part_schema("upsample", usual["upsample"])()
    model = model_of(config.model, backbone, upsample, config.num_classes or CLASSES, images=images)
    return f"{config.model.name}, {backbone.name}, {upsample.name}", model, None, USUAL_SIZE


def sizes(given: int | list[int]) -> tuple[int, int]:
    return (given, given) if isinstance(given, int) else (given[0], given[1])
