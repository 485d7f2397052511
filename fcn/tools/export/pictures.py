"""The pictures on which an exported file is compared with its model."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from fcn.core.errors import UserError
from fcn.core.images import kind_of
from fcn.data.sets import create_split
from fcn.data.split import Split, check_split, spread
from fcn.inference.predict import Picture, rows_of
from fcn.models.any import Wrapped
from fcn.models.segmenter import Segmenter
from fcn.training.evaluate import check_images

COUNT = 4
LARGEST = 512  # pixels of a side
SIZES = ((161, 223), (97, 130), (192, 256))  # (height, width) beside a picture's own; odd ones among them
MORE = 160  # pixels a side for a network of a user's own, which is only known to run on images of 256 pixels


def pictures(model: Segmenter, images: Sequence[Picture] | None, split: Split | None) -> list[Tensor]:
    """Four pictures (C, H, W) that ``model`` takes: of the caller's images or split, evenly spread, else built-in ones. With fewer than
    four, some come again. Raises UserError where there is none, and where they are of another kind."""
    if images is not None and split is not None:
        raise UserError("images and a split are both given to verify the file with; give one of them")
    if images is not None:
        if isinstance(images, str) or not isinstance(images, Sequence):
            raise UserError(f"images is {type(images).__name__}; give a list of images, each a PIL image, an array or a path")
        chosen = [images[place] for place in spread(range(len(images)), COUNT)]
        found = [rows_of(image, model.images)[:, :] for image in chosen]
    else:
        if split is None:
            if not model.images.is_rgb:
                raise UserError(
                    f"the model takes images of {model.images}, and the built-in pictures are RGB; "
                    "give images or data to verify the file with"
                )
            split = create_split("shapes", "val", val_count=COUNT)
        check_split(split)
        check_images(model, kind_of(split))
        found = [split[place][0] for place in spread(range(len(split)), COUNT)]
    if not found:
        raise UserError("there is no image to verify the file with; give some")
    return [found[place % len(found)] for place in range(COUNT)]


def batches(model: Segmenter, found: Sequence[Tensor], tile: int | None) -> list[Tensor]:
    """The pictures at four sizes, as batches (N, C, H, W); the last of two images. tile: side of all images, where it is fixed."""
    height, width = (min(side, LARGEST) for side in found[0].shape[-2:])
    more = MORE if isinstance(model, Wrapped) else 0
    sizes = [(max(height, more), max(width, more)), *((down + more, across + more) for down, across in SIZES)]
    sizes = sizes if tile is None else [(tile, tile)] * COUNT
    made = [framed(picture, *size)[None] for picture, size in zip(found, sizes, strict=True)]
    return [*made[:-1], torch.cat([made[-1], made[-1].flip(-1)])]


def framed(picture: Tensor, height: int, width: int) -> Tensor:
    """The middle of a picture, (C, height, width), enlarged where the picture is smaller."""
    down, across = picture.shape[-2:]
    grow = max(height / down, width / across, 1.0)
    if grow > 1:
        size = (max(height, round(down * grow)), max(width, round(across * grow)))
        larger = F.interpolate(picture[None].double(), size=size, mode="bilinear", align_corners=False)[0]
        picture = larger.round().to(picture.dtype) if not picture.dtype.is_floating_point else larger.to(picture.dtype)
        down, across = size
    top, left = (down - height) // 2, (across - width) // 2
    return picture[:, top : top + height, left : left + width]
