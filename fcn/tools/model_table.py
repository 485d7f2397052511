"""The table of models in README, computed from the code: what each model is, what it costs, and what one of its cells sees.

Each network has its own output stride, ``BACKBONE``, bilinear up-sampling and 21 classes. Multiply-adds are for one ``SIDE`` x ``SIDE``
image, without interpolations. The receptive field is that of one cell of the scores, in pixels.
"""

from collections.abc import Sequence

from torch import Tensor

from fcn.core.errors import UserError
from fcn.graph import read_graph
from fcn.graph.receptive_field import ReceptiveField
from fcn.models.segmenter import Segmenter, create_model
from fcn.tools.tables import markdown_table

BACKBONE, SIDE, CLASSES = "resnet50", 512, 21
HEADER = ("`model=`", "what it is", "output stride", "scores every", "parameters", "multiply-adds", "one score sees")
WORDS = {
    "fcn32s": "the paper's FCN: scores of the deepest feature",
    "fcn16s": "adds the scores of the feature at 16 pixels a cell",
    "fcn8s": "adds those at 8",
    "fcn4s": "adds those at 4 (not in the paper)",
    "fcn2s": "adds those at 2 (not in the paper)",
    "fcn": "torchvision's FCN: one head on a dilated backbone",
    "deeplabv3": "atrous spatial pyramid",
    "deeplabv3plus": "the pyramid beside a fine feature, separable convolutions",
    "unet": "all features, from the deepest up",
    "lraspp": "MobileNetV3's light decoder",
    "smp": "an architecture of segmentation-models-pytorch (`arch=`; here Unet)",
}


def model_row(model: str) -> tuple[str, ...]:
    """One line of the table. Raises KeyError for a model without words."""
    network = create_model(model, backbone=BACKBONE, num_classes=CLASSES).eval()
    graph = read_graph(UpToScores(network), SIDE)
    field = ReceptiveField(graph, ignore_global=True)
    seen = f"{max(size for size in field.size if size is not None):,} px" + (", the whole image" if graph.globals else "")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    macs = sum(node.macs for node in graph)
    strides = f"{network.backbone.strides[-1]}", f"{network.stride} px"
    return f"`{model}`", WORDS[model], *strides, f"{parameters / 1e6:.1f} M", f"{macs / 1e9:.1f} G", seen


class UpToScores(Segmenter):
    """A network up to the scores that its decoder hands over."""

    def __init__(self, network: Segmenter) -> None:
        super().__init__(network.backbone, network.decoder)

    def forward(self, images: Tensor) -> Tensor:
        return self.scores(images)


def model_table(models: Sequence[str] = tuple(WORDS)) -> str:
    """The table in Markdown, one line for each of ``models``, by default all. Raises UserError for a name that is none."""
    unknown = [model for model in models if model not in WORDS]
    if unknown:
        raise UserError(f"{', '.join(map(repr, unknown))}: no such model; there are {', '.join(WORDS)}")
    return markdown_table(HEADER, [model_row(model) for model in models], left=2)
