"""fcn: fully convolutional segmentation networks, from classifiers to label maps.

>>> model = fcn.load("outputs/demo/train/best.pt")        # what fcn train left
>>> labels = fcn.predict(model, Image.open("photo.jpg"))  # uint8 (H, W), class indices; model.labels has their names

The names below are imported when they are first used: ``import fcn`` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.core.errors import UserError as UserError
    from fcn.core.labels import VOID as VOID
    from fcn.core.labels import LabelSet as LabelSet
    from fcn.core.registry import list_parts as list_parts
    from fcn.core.registry import register as register
    from fcn.data.sets import create_split as create_split
    from fcn.graph.receptive_field import receptive_field as receptive_field
    from fcn.inference.predict import predict as predict
    from fcn.models.any import wrap as wrap
    from fcn.models.segmenter import create_model as create_model
    from fcn.rewrite.convolutionalize import convolutionalize as convolutionalize
    from fcn.rewrite.dilate import dilate as dilate
    from fcn.training.checkpoint import load as load
    from fcn.training.checkpoint import save as save

PLACES = {
    "LabelSet": "fcn.core.labels",
    "UserError": "fcn.core.errors",
    "VOID": "fcn.core.labels",
    "convolutionalize": "fcn.rewrite.convolutionalize",
    "create_model": "fcn.models.segmenter",
    "create_split": "fcn.data.sets",
    "dilate": "fcn.rewrite.dilate",
    "list_parts": "fcn.core.registry",
    "load": "fcn.training.checkpoint",
    "predict": "fcn.inference.predict",
    "receptive_field": "fcn.graph.receptive_field",
    "register": "fcn.core.registry",
    "save": "fcn.training.checkpoint",
    "wrap": "fcn.models.any",
}

__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'fcn' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
