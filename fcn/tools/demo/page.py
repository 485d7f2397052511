"""The page of ``fcn demo``, made with gradio. It asks nothing of other machines: no telemetry, no fonts, no share link."""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr

from fcn.core.errors import UserError
from fcn.core.registry import list_parts
from fcn.tools.demo.fields import CLASSIFIER, EXAMPLE, KINDS, LAYERS, NETWORK, fields_of, settings
from fcn.tools.demo.labelling import HEADER, label_picture
from fcn.tools.demo.localizing import HEADER as PROBABILITIES
from fcn.tools.demo.localizing import Localizers, localize_picture
from fcn.tools.demo.models import Models

SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
TRAINED = ("timm/tf_efficientnet_lite0", "torchvision/resnet50", "timm/convnext_tiny.fb_in1k")
OWN = "the classifier's own"
CLASSIFIERS = ("compact", "torchvision/resnet18", "torchvision/resnet50", "torchvision/vgg16", "timm/tf_efficientnet_lite0")
KEPT = 3600  # seconds after which files of earlier answers are removed
FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif"]
MONOSPACED = ["ui-monospace", "Menlo", "Consolas", "monospace"]
CSS = "table { font-variant-numeric: tabular-nums; } footer { display: none !important; }"


def theme() -> Any:
    return gr.themes.Default(font=FONTS, font_mono=MONOSPACED)


def page(models: Models, folder: Path) -> gr.Blocks:
    """The page. models: those that it offers. folder: where its answers are written."""
    with gr.Blocks(title="fcn", analytics_enabled=False, delete_cache=(KEPT, KEPT)) as made:
        gr.Markdown("# fcn\nLabels every pixel of a picture, tells how far a network sees, and where a classifier looks.")
        with gr.Tab("Label"):
            label_tab(models, folder)
        with gr.Tab("Receptive fields"):
            field_tab(folder)
        with gr.Tab("Localize"):
            localize_tab(Localizers(models.device), folder)
    return made


def label_tab(models: Models, folder: Path) -> None:
    def label(picture: str | None, model: str | None, strategy: str, flip: bool, scales: list[float], alpha: float) -> tuple[Any, ...]:
        with told():
            if picture is None:
                raise UserError("drop a picture first")
            if not scales:
                raise UserError("choose one scale at least; 1 is the picture's own size")
            found = label_picture(
                models(model), picture, new_folder(folder), strategy=strategy, flip=flip, scales=sorted(scales), alpha=alpha
            )
            return str(found.overlay), found.areas, str(found.confidence), str(found.labels)

    with gr.Row():
        with gr.Column():
            picture = gr.Image(label="Picture", type="filepath", sources=["upload", "clipboard"], buttons=["fullscreen"])
            model = gr.Dropdown(models.names, value=next(iter(models.names), None), label="Model")
            strategy = gr.Dropdown(
                list_parts("inference"), value="auto", label="Strategy", info="windows is approximate, the others are exact"
            )
            with gr.Accordion("Test-time augmentation", open=False):
                flip = gr.Checkbox(label="Average over the mirrored picture")
                scales = gr.CheckboxGroup(list(SCALES), value=[1.0], label="Scales to average over")
            alpha = gr.Slider(0, 1, value=0.5, step=0.05, label="Opacity of the labels")
            start = gr.Button("Label", variant="primary")
        with gr.Column():
            overlay = gr.Image(label="Labels", interactive=False, buttons=["fullscreen", "download"])
            table = gr.Dataframe(headers=list(HEADER), label="Areas", interactive=False, wrap=True)
            sure = gr.Image(label="Confidence: white is 1", interactive=False, buttons=["fullscreen", "download"])
            file = gr.File(label="Label map: a PNG of class indices", interactive=False)
    start.click(label, [picture, model, strategy, flip, scales, alpha], [overlay, table, sure, file], api_name="label")


def field_tab(folder: Path) -> None:
    def show(
        kind: str, layers: str, classifier: str, model: str, backbone: str, size: float, leave_out: bool, photograph: str | None
    ) -> tuple[Any, ...]:
        with told():
            config = settings(kind, layers, classifier, model, backbone, size=size, ignore_global=leave_out and kind != LAYERS)
            found = fields_of(config, photograph, new_folder(folder))
            return {"headers": found.header, "data": found.rows}, in_words(found.notes), str(found.picture)

    with gr.Row():
        with gr.Column():
            kind = gr.Radio(list(KINDS), value=LAYERS, label="Of what")
            layers = gr.Textbox(EXAMPLE, label="Layers", info="kind and size, s stride, p padding, d dilation, c channels")
            classifier = gr.Dropdown(
                list(CLASSIFIERS), value=CLASSIFIERS[1], label="Classifier", info="torchvision/NAME or timm/NAME", **hidden()
            )
            model = gr.Dropdown([name for name in list_parts("model") if name != "smp"], value="fcn8s", label="Model", visible=False)
            backbone = gr.Dropdown(list_parts("backbone"), value="resnet18", label="Backbone", **hidden())
            size = gr.Number(224, label="Side of the picture (pixels)", precision=0, minimum=1, maximum=2048)
            leave_out = gr.Checkbox(label="Leave out layers that see the whole image", visible=False)
            photograph = gr.Image(
                label="Photograph to draw on (optional)", type="filepath", sources=["upload", "clipboard"], height=200, buttons=[]
            )
            start = gr.Button("Show", variant="primary")
        with gr.Column(scale=2):
            drawn = gr.Image(label="Field of the centre cell", show_label=False, interactive=False, buttons=["fullscreen", "download"])
            words = gr.Markdown()
            table = gr.Dataframe(label="Layers", interactive=False)
    kind.change(
        lambda chosen: [
            gr.update(visible=chosen == LAYERS),
            gr.update(visible=chosen == CLASSIFIER),
            *[gr.update(visible=chosen == NETWORK)] * 2,
            gr.update(visible=chosen != LAYERS),
        ],
        kind,
        [layers, classifier, model, backbone, leave_out],
        api_name=False,
    )
    form = [kind, layers, classifier, model, backbone, size, leave_out, photograph]
    start.click(show, form, [table, words, drawn], api_name="field")


def localize_tab(localizers: Localizers, folder: Path) -> None:
    def localize(picture: str | None, classifier: str, classes: str, dense: str, stride: str, scales: list[float]) -> tuple[Any, ...]:
        with told():
            check_picture(picture, scales)
            localizer = localizers(classifier, dense, None if stride == OWN else int(stride), tuple(sorted(scales)))
            found = localize_picture(localizer, str(picture), classes, new_folder(folder))
            return str(found.sheet), found.classes, found.agreement

    with gr.Row():
        with gr.Column():
            picture = gr.Image(label="Photograph", type="filepath", sources=["upload", "clipboard"], buttons=["fullscreen"])
            classifier = gr.Dropdown(
                list(TRAINED),
                value=TRAINED[0],
                label="Classifier",
                info="timm/NAME or torchvision/NAME, with ImageNet's weights: of an installed package, else downloaded",
                allow_custom_value=True,
            )
            classes = gr.Textbox(label="Classes", placeholder="tabby, espresso", info="empty: the most probable ones")
            with gr.Accordion("Finer maps", open=False):
                dense = gr.Radio(["pixel", "window"], value="pixel", label="A cell is", info="a cell of the features, or a whole window")
                stride = gr.Dropdown([OWN, "16", "8", "4"], value=OWN, label="Pixels from one cell to the next")
                scales = gr.CheckboxGroup(list(SCALES), value=[1.0], label="Scales to average over")
            start = gr.Button("Localize", variant="primary")
        with gr.Column(scale=2):
            sheet = gr.Image(label="Heat maps", show_label=False, interactive=False, buttons=["fullscreen", "download"])
            table = gr.Dataframe(headers=list(PROBABILITIES), label="Probabilities; cells: share that the class wins", interactive=False)
            words = gr.Markdown()
    form = [picture, classifier, classes, dense, stride, scales]
    start.click(localize, form, [sheet, table, words], api_name="localize")


def check_picture(picture: str | None, scales: list[float]) -> None:
    """Raises UserError where nothing is there to be looked at."""
    if picture is None:
        raise UserError("drop a picture first")
    if not scales:
        raise UserError("choose one scale at least; 1 is the picture's own size")


def hidden() -> dict[str, Any]:
    """Settings of a list of names in which others can be written, and which is not shown at first."""
    return {"allow_custom_value": True, "visible": False}


def in_words(notes: list[str]) -> str:
    """The notes of a table as a list, a layer below what is said of all, and what a halo is."""
    here = "(the check box leaves them out)"  # where the command line has a setting
    lines = [re.sub(r"^( *)", r"\1- ", note).replace("(ignore_global=true goes on as if they were not there)", here) for note in notes]
    if any("halo" in note for note in notes):
        lines.append("- The halo is the context, in pixels, that a tile needs on each side to give the scores of the whole image.")
    return "\n".join(lines)


@contextmanager
def told() -> Iterator[None]:
    """Within it, a mistake of the user is shown on the page, in its sentence."""
    try:
        yield
    except (UserError, OSError) as error:
        raise gr.Error(" ".join(str(error).split()), print_exception=False) from error


def new_folder(folder: Path) -> Path:
    return Path(tempfile.mkdtemp(dir=folder))
