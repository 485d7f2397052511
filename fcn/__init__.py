"""fcn: fully convolutional segmentation networks, from classifiers to label maps.

>>> model = fcn.load("outputs/demo/train/best.pt")        # what fcn train left
>>> labels = fcn.predict(model, Image.open("photo.jpg"))  # uint8 (H, W), class indices; model.labels has their names

The names below are imported when they are first used: ``import fcn`` itself is cheap.
"""

from importlib import import_module
from typing import Any

PLACES = {
    "convolutionalize": "fcn.models.convolutionalize",
    "create_model": "fcn.models.segmenter",
    "dilate": "fcn.models.dilate",
    "load": "fcn.training.checkpoint",
    "predict": "fcn.inference.predict",
    "receptive_field": "fcn.geometry.receptive_field",
}

__all__ = ["convolutionalize", "create_model", "dilate", "load", "predict", "receptive_field"]


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    raise AttributeError(f"module 'fcn' has no attribute '{name}'; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
