"""What an exported file says of itself: for this toolkit, for people, and for QGIS's plugin Deepness.

The entry ``fcn`` is what ``fcn/models/onnx_model.py`` reads. The entries of Deepness are those of its documentation ("Add metadata to
model"): values are JSON. It divides the values of an image by 255, then normalises them; the file does that itself, so the plugin is told
a deviation that undoes its division.
"""

import json
from math import ceil
from typing import Any

from fcn.core.errors import UserError
from fcn.graph.receptive_field import receptive_field
from fcn.models.onnx_model import FORMAT, Gives
from fcn.models.segmenter import Segmenter
from fcn.models.spec import spec_words

OVERLAP = (25, 50)  # percent of a tile: where the receptive field is not known, and at most
DEEPNESS_SCALE = 1 / 255


def metadata(model: Segmenter, gives: Gives, tile: int | None) -> dict[str, str]:
    """The entries of a file's metadata: names and JSON."""
    assert model.labels is not None
    names, colors = list(model.labels.names), [list(color) for color in model.labels.colors]
    mean, std = ([float(f"{float(value) * 255:.7g}") for value in values.flatten()] for values in (model.mean, model.std))
    field = field_of(model)
    content: dict[str, Any] = {
        "fcn": {
            "format": FORMAT,
            "model": spec_words(model.spec) if model.spec is not None else "",
            "labels": {"names": names, "colors": colors},
            "images": model.images.plain(),
            "mean": mean,
            "std": std,
            "stride": model.stride,
            "divisor": model.backbone.divisor,
            "gives": gives,
            "tile": tile,
        },
        "class_names": {str(index): name for index, name in enumerate(names)},
        "class_colors": colors,
        "mean": mean,
        "std": std,
        "stride": model.stride,
        "receptive_field": field,
    }
    return {key: json.dumps(value) for key, value in (content | for_deepness(model, gives, tile, field)).items()}


def for_deepness(model: Segmenter, gives: Gives, tile: int | None, field: Any) -> dict[str, Any]:
    """The entries that QGIS's plugin Deepness reads; none for a file of labels, which it does not take."""
    if gives == "labels":
        return {}
    channels, overlap = model.images.channels, OVERLAP[0]
    if tile is not None and isinstance(field, list):
        overlap = min(OVERLAP[1], ceil(100 * max(field) / tile))
    entries: dict[str, Any] = {
        "model_type": "Segmentor",
        "standardization_mean": [0.0] * channels,
        "standardization_std": [DEEPNESS_SCALE] * channels,
        "tiles_overlap": overlap,
        "seg_thresh": 0.0,
    }
    return entries if tile is None else entries | {"tile_size": tile}


def field_of(model: Segmenter) -> list[int] | str | None:
    """Pixels of the image, (height, width), that one score depends on; "whole image", or None where that is not known."""
    try:
        size = receptive_field(model, in_channels=model.in_channels).size
    except UserError:
        return None
    return "whole image" if None in size else [int(side) for side in size if side is not None]
