"""Classifiers by name: ``torchvision/NAME``, ``timm/NAME``, and the project's own ``compact``.

Each is given with the side of the square images that it was trained on, in pixels. Where a linear layer stands on a flattened map, no other
size fits.
"""

from typing import Any

from torch import nn

from fcn.core.errors import UserError
from fcn.core.names import suggest
from fcn.models.compact import compact

COMPACT_SIZE = 32
USUAL_SIZE = 224


def create_classifier(name: str, *, num_classes: int | None = None) -> tuple[nn.Module, int]:
    """The classifier of that name with a random start, and the side of its training images.

    num_classes: number of classes; None: as many as its published weights tell apart, of ``compact`` 10.

    Raises UserError, naming the origins or the names that are near, for one that does not exist.
    """
    origin, slash, rest = name.partition("/")
    options: dict[str, Any] = {} if num_classes is None else {"num_classes": num_classes}
    if name == "compact":
        return compact(**options), COMPACT_SIZE
    if slash and origin in ORIGINS:
        return ORIGINS[origin](rest, options)
    raise UserError(f"classifier={name} is not known; write compact, or {' or '.join(f'{origin}/NAME' for origin in ORIGINS)}")


def from_torchvision(name: str, options: dict[str, Any]) -> tuple[nn.Module, int]:
    import torchvision

    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        raise UserError(f"classifier=torchvision/{name} is not known; {suggest(name, names)}")
    plain: dict[str, Any] = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    network = torchvision.models.get_model(name, weights=None, **plain, **options)
    transforms: Any = torchvision.models.get_model_weights(name).DEFAULT.transforms
    return network, int(getattr(network, "image_size", transforms.keywords["crop_size"]))


def from_timm(name: str, options: dict[str, Any]) -> tuple[nn.Module, int]:
    import timm

    if not timm.is_model(name):
        raise UserError(f"classifier=timm/{name} is not known; {suggest(name, timm.list_models())}")
    network = timm.create_model(name, pretrained=False, **options)
    return network, int(network.default_cfg.get("input_size", (3, USUAL_SIZE, USUAL_SIZE))[-1])


ORIGINS = {"torchvision": from_torchvision, "timm": from_timm}
