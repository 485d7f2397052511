"""fcn: fully convolutional segmentation networks, from classifiers to label maps. docs/api.md describes every name below.

>>> model = fcn.load("outputs/demo/train/best.pt")  # what fcn train left
>>> labels = fcn.predict(model, "photo.jpg")  # uint8 (H, W), class indices; model.labels has their names

The names below are imported when they are first used: ``import fcn`` itself is cheap.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fcn.core.errors import NotConvertible as NotConvertible
    from fcn.core.errors import NotDilatable as NotDilatable
    from fcn.core.errors import NotStreamable as NotStreamable
    from fcn.core.errors import UserError as UserError
    from fcn.core.images import ImageKind as ImageKind
    from fcn.core.labels import VOID as VOID
    from fcn.core.labels import LabelSet as LabelSet
    from fcn.core.registry import register as register
    from fcn.data.sets import create_split as create_split
    from fcn.data.sets import list_data as list_data
    from fcn.graph.receptive_field import receptive_field as receptive_field
    from fcn.inference.labelmap import label_map as label_map
    from fcn.inference.predict import predict as predict
    from fcn.models.any import wrap as wrap
    from fcn.models.lists import list_backbones as list_backbones
    from fcn.models.lists import list_models as list_models
    from fcn.models.lists import list_upsamplers as list_upsamplers
    from fcn.models.segmenter import create_model as create_model
    from fcn.rasters.opening import open_raster as open_raster
    from fcn.rasters.raster import Raster as Raster
    from fcn.rewrite.convolutionalize import convolutionalize as convolutionalize
    from fcn.rewrite.dilate import dilate as dilate
    from fcn.tools.export.call import Exported as Exported
    from fcn.tools.export.call import export as export
    from fcn.tools.localize.call import localize as localize
    from fcn.tools.localize.classmaps import ClassMaps as ClassMaps
    from fcn.tools.train.call import Trained as Trained
    from fcn.tools.train.call import train as train
    from fcn.training.checkpoint import from_pretrained as from_pretrained
    from fcn.training.checkpoint import load as load
    from fcn.training.checkpoint import save as save
    from fcn.training.evaluate import evaluate as evaluate
    from fcn.training.metrics import Evaluation as Evaluation

PLACES = {
    "ClassMaps": "fcn.tools.localize.classmaps",
    "Evaluation": "fcn.training.metrics",
    "Exported": "fcn.tools.export.call",
    "ImageKind": "fcn.core.images",
    "LabelSet": "fcn.core.labels",
    "NotConvertible": "fcn.core.errors",
    "NotDilatable": "fcn.core.errors",
    "NotStreamable": "fcn.core.errors",
    "Raster": "fcn.rasters.raster",
    "Trained": "fcn.tools.train.call",
    "UserError": "fcn.core.errors",
    "VOID": "fcn.core.labels",
    "convolutionalize": "fcn.rewrite.convolutionalize",
    "create_model": "fcn.models.segmenter",
    "create_split": "fcn.data.sets",
    "dilate": "fcn.rewrite.dilate",
    "evaluate": "fcn.training.evaluate",
    "from_pretrained": "fcn.training.checkpoint",
    "export": "fcn.tools.export.call",
    "label_map": "fcn.inference.labelmap",
    "list_backbones": "fcn.models.lists",
    "list_data": "fcn.data.sets",
    "list_models": "fcn.models.lists",
    "list_upsamplers": "fcn.models.lists",
    "load": "fcn.training.checkpoint",
    "localize": "fcn.tools.localize.call",
    "open_raster": "fcn.rasters.opening",
    "predict": "fcn.inference.predict",
    "receptive_field": "fcn.graph.receptive_field",
    "register": "fcn.core.registry",
    "save": "fcn.training.checkpoint",
    "train": "fcn.tools.train.call",
    "wrap": "fcn.models.any",
}

__all__ = list(PLACES)


def __getattr__(name: str) -> Any:
    if name in PLACES:
        return getattr(import_module(PLACES[name]), name)
    from fcn.core.names import suggest

    raise AttributeError(f"module 'fcn' has no attribute '{name}'; {suggest(name, __all__)}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
