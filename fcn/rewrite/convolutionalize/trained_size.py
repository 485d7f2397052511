"""The size of the images that a classifier was trained with, from the records of those who publish its weights."""

import sys
from collections.abc import Iterator

from torch import nn

from fcn.core.errors import UserError

DEFAULT = (224, 224)


def trained_size(classifier: nn.Module) -> tuple[int, int]:
    """(height, width) in pixels of the images that ``classifier`` was trained with.

    timm's networks carry it. Torchvision keeps it with the weights. Where all those of one file of networks agree (Inception v3: 299), it
    is theirs. Else it is that of the network with as many parameters (EfficientNet B3: 300; the number of classes may differ). Everything
    else: 224 x 224. Raises UserError where torchvision's records do not decide.
    """
    settings = getattr(classifier, "pretrained_cfg", None) or getattr(classifier, "default_cfg", None)
    if isinstance(settings, dict) and settings.get("input_size"):
        height, width = settings["input_size"][-2:]
        return int(height), int(width)
    module = type(classifier).__module__
    if not module.startswith("torchvision.models.") or module not in sys.modules:
        return DEFAULT
    records = list(_records(module))
    sides = {side for _, side in records}
    if len(sides) > 1:
        parameters = sum(parameter.numel() for parameter in classifier.parameters())
        linear = next((part for part in reversed(list(classifier.modules())) if isinstance(part, nn.Linear)), None)
        if linear is not None:  # as if it had ImageNet's classes
            parameters += (1000 - linear.out_features) * (linear.in_features + 1)
        matching = [side for count, side in records if count == parameters]
        if not matching:
            raise UserError(
                f"the size at which this {type(classifier).__name__} was trained is not known (torchvision's were at "
                f"{', '.join(map(str, sorted(sides)))} pixels); give input_size"
            )
        sides = set(matching[:1])
    return (sides.pop(),) * 2 if sides else DEFAULT


def _records(module: str) -> Iterator[tuple[int, int]]:
    """Parameters, and the side of the images, of all networks of one file of torchvision for which weights are published.

    Those that it calls the default come first.
    """
    from torchvision import models

    everything = []
    for name in models.list_models(module=models):
        if models.get_model_builder(name).__module__ == module:
            weights = models.get_model_weights(name)
            default = getattr(weights, "DEFAULT", None)
            everything += [(found is not default, found.meta["num_params"], found.transforms.keywords["crop_size"]) for found in weights]
    for _, parameters, side in sorted(everything, key=lambda record: record[0]):
        yield parameters, side
