"""One image in, its label map out: ``fcn.predict``."""

import inspect
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from fcn.core.errors import UserError
from fcn.core.images import RGB, ImageKind
from fcn.core.names import a_type
from fcn.data.images import Shown
from fcn.data.stored import open_as
from fcn.graph.networks import evaluating
from fcn.inference import scores
from fcn.inference.blocks import raster_rows
from fcn.inference.precision import number_format
from fcn.inference.strategies import create_strategy
from fcn.inference.to_file import predict_to_file
from fcn.inference.windows import Network
from fcn.models.any import wrap
from fcn.models.segmenter import Segmenter
from fcn.rasters.opening import open_raster
from fcn.rasters.raster import Raster

WRAPPING = tuple(inspect.signature(wrap).parameters)[1:]  # the arguments of wrap beside the network

Picture = Image.Image | NDArray[Any] | str | PathLike[str]
Labels = NDArray[np.uint8] | NDArray[np.int32]


@overload
def predict(
    model: Segmenter | Network,
    image: Picture | Raster,
    *,
    strategy: str = "auto",
    precision: str = "fp32",
    confidence: Literal[False] = False,
    progress: bool = False,
    out: None = None,
    **options: Any,
) -> Labels: ...


@overload
def predict(
    model: Segmenter | Network,
    image: Picture | Raster,
    *,
    strategy: str = "auto",
    precision: str = "fp32",
    confidence: Literal[True],
    progress: bool = False,
    out: None = None,
    **options: Any,
) -> tuple[Labels, Labels]: ...


@overload
def predict(
    model: Segmenter | Network,
    image: Raster | str | PathLike[str],
    *,
    strategy: str = "auto",
    precision: str = "fp32",
    confidence: bool = False,
    progress: bool = False,
    out: str | PathLike[str],
    **options: Any,
) -> Path: ...


def predict(
    model: Segmenter | Network,
    image: Picture | Raster,
    *,
    strategy: str = "auto",
    precision: str = "fp32",
    confidence: bool = False,
    progress: bool = False,
    out: str | PathLike[str] | None = None,
    **options: Any,
) -> Labels | tuple[Labels, Labels] | Path:
    """The labels of one image, at its own size.

    >>> labels = fcn.predict(model, "photo.jpg")
    >>> labels, confidence = fcn.predict(model, "photo.jpg", confidence=True, flip=True)
    >>> labels = fcn.predict(torch.nn.Conv2d(3, 2, 3, padding=1), "photo.jpg", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))

    model: network from ``fcn.load``, ``fcn.create_model`` or ``fcn.wrap``. It runs on its device, in evaluation mode, and is left as it
        was. Any other module is wrapped for this call: give ``mean`` and ``std``; for several images wrap it once. With
        ``strategy="windows"``, any callable from uint8 windows (N, 3, h, w) to scores (N, C, h, w).
    image: PIL image of any mode, uint8 array (H, W, 3) in RGB order, path of a file, or raster from ``fcn.open_raster``. H and W are 1
        or more. A model that takes other images takes an array (H, W, C) of its type. Pixels of a raster that are no data become void.
    strategy: way through the network: "auto", "whole", "stream" or "windows"; default "auto", the fastest exact one that fits into memory.
    precision: number format of the network: "auto", "fp32", "bf16" or "fp16"; default "fp32". "auto" is bf16 if the hardware computes in
        it: the stream is then up to twice as fast, and labels differ where two classes are nearly equal.
    confidence: also return the largest softmax probability of each pixel; default False.
    progress: show progress on stderr, for an image of 4 million pixels or more; default False.
    out: file to write the labels to, in place of an array: ".tif" (tiled, with CRS and overviews), ".zarr", or ".png" where they are small.
        The image is a raster or a path, of which only parts are in memory. Default: none. With ``confidence=True``, the confidence is
        written beside it, to ``NAME_confidence.tif``.
    options: settings of the strategy, such as ``memory=1`` (GiB), and test-time augmentation: ``flip=True``, ``scales=[0.75, 1, 1.25]``;
        for any other module also the arguments of ``fcn.wrap``.

    Returns labels, an array (H, W) of uint8, or int32 with more than 255 classes: indices into ``model.labels.names``. With
    ``confidence=True``, returns a pair of labels and confidence; the confidence is a uint8 array (H, W), 255 for a probability of 1. With
    ``out=``, returns the path of the labels.

    Raises UserError for an array of another shape or type, a file that is no picture, and unknown settings. Raises FileNotFoundError for a
    missing file, TypeError for what is neither an image nor a model.
    """
    words = {key: options.pop(key) for key in WRAPPING if key in options}
    run = create_strategy(strategy, **options)
    if words:
        model = wrapped(model, words)
    check_network(model, strategy)
    if out is not None:
        if not isinstance(image, Raster | str | PathLike):
            raise UserError(f"out= takes a raster or the path of one, and the image is {a_type(image)}; leave out= out for an array")
        with open_raster(image) if not isinstance(image, Raster) else nullcontext(image) as raster:
            return predict_to_file(
                model, raster, out, strategy=strategy, precision=precision, confidence=confidence, progress=progress, **options
            )
    device = next((tensor.device.type for tensor in model.parameters()), "cpu") if isinstance(model, nn.Module) else "cpu"
    dtype = number_format(precision, device)
    images = model.images if isinstance(model, Segmenter) else RGB
    with evaluating(model) if isinstance(model, nn.Module) else nullcontext():
        rows = raster_rows(image, model) if isinstance(image, Raster) else rows_of(image, images)
        sure = torch.empty(rows.shape[-2:], dtype=torch.uint8) if confidence else None
        with nullcontext() if dtype == torch.float32 else torch.autocast(device, dtype):
            labels = run(model, rows, confidence=sure, progress=progress).numpy()
    return labels if sure is None else (labels, sure.numpy())


def wrapped(model: Any, words: dict[str, Any]) -> Segmenter:
    """A torch module as a model; words: the arguments of ``wrap``. Raises UserError for anything else, and for words that lack some."""
    if isinstance(model, Segmenter) or not isinstance(model, nn.Module):
        raise UserError(f"{next(iter(words))}= is for a torch module that is not wrapped yet, and this is {a_type(model)}")
    if not {"mean", "std"} <= words.keys():
        raise UserError("mean= and std= belong together: means and deviations of the channels that the network was trained with")
    return wrap(model, **words)


def check_network(model: Any, strategy: str) -> None:
    """Raises TypeError for what is no network, and UserError for one of a stranger with a strategy that cannot run it."""
    if isinstance(model, str | PathLike) or not callable(model):
        raise TypeError(f"the model is {a_type(model)}; give what fcn.load(PATH) or fcn.create_model(...) returns")
    if not isinstance(model, Segmenter) and strategy != "windows":
        known = "give its mean= and std=, or fcn.wrap(network, mean=, std=)" if isinstance(model, nn.Module) else "use strategy='windows'"
        raise UserError(f"{a_type(model)} does not say how its images are normalised; {known}")


def rows_of(image: Picture, images: ImageKind = RGB) -> scores.Image:
    """A PIL image or that of a file, where it is, or an array (H, W, C) as (C, H, W). images: the kind that is expected."""
    if isinstance(image, str | PathLike):
        return open_as(image, images)
    if not images.is_rgb:
        return rows_of_values(image, images)
    if isinstance(image, Image.Image):
        return Shown(image)
    if not isinstance(image, np.ndarray):
        several = "; for several images call predict once for each" if isinstance(image, list | tuple) else ""
        tensor = "; of a tensor (3, H, W) give tensor.permute(1, 2, 0).cpu().numpy()" if isinstance(image, torch.Tensor) else ""
        raise TypeError(f"the image is {a_type(image)}; give a PIL image, an array (height, width, 3) of uint8, or a path{several}{tensor}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise UserError(
            f"the image is an array of shape {image.shape} and type {image.dtype}; "
            f"give (height, width, 3) of uint8, in RGB order{hint(image)}"
        )
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def rows_of_values(image: Any, images: ImageKind) -> torch.Tensor:
    """An array of images that are not RGB, as (C, H, W)."""
    wanted = f"the model takes images of {images}: give an array (height, width, {images.channels}) of {images.dtype}, or a path"
    if isinstance(image, Image.Image) and images.channels == 1:
        image = np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise TypeError(f"the image is {a_type(image)}, and {wanted}")
    array = image[..., None] if image.ndim == 2 else image
    if array.dtype != images.dtype or array.ndim != 3 or array.shape[2] != images.channels or 0 in array.shape:
        raise UserError(f"the image is an array of shape {image.shape} and type {image.dtype}, and {wanted}")
    return torch.from_numpy(np.require(array, requirements=["C", "W"])).permute(2, 0, 1)


def hint(array: NDArray[Any]) -> str:
    """How an array of another kind becomes an image, where that can be told."""
    if 0 in array.shape:
        return ""
    if array.ndim == 4:
        return "; for several images call predict once for each"
    if array.dtype == np.uint8 and (array.ndim == 2 or (array.ndim == 3 and array.shape[2] == 4)):
        return ", or PIL.Image.fromarray(array), which is read as gray or with transparency"
    if array.dtype == np.uint8 and array.ndim == 3 and array.shape[0] == 3:
        return ", as array.transpose(1, 2, 0)"
    if array.dtype.kind == "f":
        return ", as (array * 255).round().astype(np.uint8) of values from 0 to 1"
    if array.dtype.kind == "b":
        return ", as array.astype(np.uint8) * 255"
    return ""
