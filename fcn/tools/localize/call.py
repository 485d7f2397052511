"""``fcn.localize``: the maps of one image."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from torch import nn

from fcn.core.errors import UserError
from fcn.core.names import a_type, said
from fcn.core.settings import plain, settings_of
from fcn.inference.predict import Picture, rows_of
from fcn.models.trained_classifiers import Classifier, described, trained_classifier
from fcn.tools.localize.classmaps import ClassMaps
from fcn.tools.localize.localizer import Localizer
from fcn.tools.localize.settings import LocalizeConfig


def localize(
    classifier: str | nn.Module,
    image: Picture,
    *,
    weights: str | None = None,
    names: Sequence[str] | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    input_size: int | None = None,
    dense: Literal["pixel", "window"] = "pixel",
    output_stride: int | None = None,
    scales: Sequence[float] = (1.0,),
    progress: bool = False,
) -> ClassMaps:
    """Where a classifier sees its classes in an image, without any training: what ``fcn localize`` draws.

    >>> classifier = torchvision.models.resnet18(weights=None)  # in earnest: weights="DEFAULT"
    >>> maps = fcn.localize(classifier, "photo.jpg", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), output_stride=8)
    >>> maps.probabilities.shape, [maps.names[index] for index in maps.top(3)]  # 1000 classes, a cell every 8 pixels

    classifier: "timm/NAME", "torchvision/NAME" or "compact" with ``weights``, or a module from images (N, 3, H, W) to scores (N, classes).
        A module is left as it was, runs where it is, and needs ``mean`` and ``std``, unless it is one of timm's.
    image: PIL image of any mode, uint8 array (H, W, 3) in RGB order, or path of a file.
    weights: "imagenet", which is downloaded or comes from an installed package, or the file of a state dict.
    names: name of each class, in the order of the scores; default: what is known, ImageNet's for 1000 classes.
    mean: means of the channels of images scaled to 0..1; default: those that the weights were trained with.
    std: standard deviations, likewise.
    input_size: side of the images that the classifier was trained with (pixels); default: what timm's or torchvision's records say.
    dense: "pixel" or "window"; default "pixel". "pixel" classifies each cell of the features; the mean of the cells is the classifier's
        result, if all that follows its pool is linear. With "window" each cell is the classifier on one window of the trained size.
    output_stride: pixels from one cell to the next, by dilation: a divisor of the classifier's stride; default: that stride.
    scales: factors of the image's size over which probabilities are averaged; default 1. Larger ones find smaller things.
    progress: show progress on stderr, for an image of 4 million pixels or more; default False.

    Returns a ``ClassMaps``: ``probabilities``, ``top()``, ``heat(name)``, ``winner``, ``margin``, ``agreement``.

    Raises NotConvertible or NotDilatable, naming the layer, for a classifier with which this cannot be done, as a transformer. Raises
    UserError for unknown names, weights of another network, and an image that is smaller than a window.
    """
    given = {"mean": mean, "std": std, "input_size": input_size, "dense": dense, "output_stride": output_stride, "scales": scales}
    for setting in settings_of(LocalizeConfig):
        if setting.name in given:
            setting.check(plain(given[setting.name]))
    if isinstance(classifier, str):
        found = trained_classifier(classifier, checked_weights(classifier, weights))
    elif isinstance(classifier, nn.Module):
        if weights is not None:
            raise UserError(f"weights={weights!r} is for a classifier by name; a module has its weights already: leave it out")
        found = described(classifier)
    else:
        raise TypeError(f"the classifier is {a_type(classifier)}; give a module, or a name as 'timm/resnet50'")
    found = completed(found, names=names, mean=mean, std=std, input_size=input_size)
    return Localizer(found, dense=dense, output_stride=output_stride, scales=scales)(rows_of(image), progress=progress).maps


def checked_weights(classifier: str, weights: str | None) -> str:
    """The weights of a classifier by name. Raises UserError where they are not given: random ones see nothing."""
    if weights is None:
        raise UserError(
            f"{said('classifier', classifier)} starts with random weights, which see nothing; "
            f"give {said('weights', 'imagenet')}, or the file of a state dict"
        )
    return weights


def completed(
    classifier: Classifier,
    *,
    names: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    input_size: int | None,
) -> Classifier:
    """A classifier with what the caller says of it. Raises UserError where mean and deviation are not known."""
    if (mean is None) != (std is None):
        raise UserError(f"{said('mean')} and {said('std')} belong together; give both")
    if mean is not None and std is not None:
        classifier = replace(classifier, mean=tuple(mean), std=tuple(std))
    if classifier.mean is None:
        raise UserError(
            f"{type(classifier.network).__name__} does not say how its images are normalised; give {said('mean')} and {said('std')}, "
            "for most that is 0.485, 0.456, 0.406 and 0.229, 0.224, 0.225"
        )
    if names is not None:
        classifier = replace(classifier, names=tuple(names))
    return classifier if input_size is None else replace(classifier, size=(input_size, input_size))
