"""Shift-and-stitch: scores for every pixel from a network of stride s, by s x s passes over shifted images whose outputs are interlaced.

Cell ``i`` of a network of stride ``s`` looks at the image from pixel ``s * i`` on (less its padding). Over the image without its first
``dy`` rows and ``dx`` columns it looks from pixel ``dy + s * i`` on; all s^2 shifts look from every pixel. That is what the dilated
network computes at stride 1 in one pass (``fcn/rewrite/dilate``), several times cheaper, so that this serves as its oracle and as a row of
``fcn benchmark``. For a network without padding the two are equal. With padding they are equal where no padding is seen: a shifted image
is padded at its own borders, where rows and columns of the image were cut away.

Sources: Sermanet et al. 2014 (OverFeat), section 3.3, arXiv:1312.6229; Long et al. 2015, section 3.2, arXiv:1411.4038.
"""

from collections.abc import Callable

from torch import Tensor

from fcn.core.errors import UserError


def shift_and_stitch(network: Callable[[Tensor], Tensor], images: Tensor, stride: int) -> Tensor:
    """Scores (N, C, h, w) at stride 1 of images (N, 3, H, W), h and w being the rows and columns of all shifts together.

    network: (N, 3, H, W) to scores at ``stride``; it must take images that are ``stride - 1`` pixels smaller. Raises UserError where its
    outputs do not interlace, as those of a network of a smaller stride.
    """
    if stride < 1 or min(images.shape[-2:]) < stride:
        raise UserError(
            f"stride={stride} for images of {images.shape[-2]}x{images.shape[-1]} pixels; it is 1 or more and no more than a side"
        )
    passes = [[network(images[..., row:, column:]) for column in range(stride)] for row in range(stride)]
    heights, widths = [line[0].shape[-2] for line in passes], [scores.shape[-1] for scores in passes[0]]
    height, width = sum(heights), sum(widths)
    dense = passes[0][0].new_empty(*passes[0][0].shape[:2], height, width)
    for row, line in enumerate(passes):
        for column, scores in enumerate(line):
            place = dense[..., row::stride, column::stride]
            if place.shape != scores.shape:
                raise UserError(
                    f"the outputs of {stride} x {stride} shifts do not interlace ({heights} rows, {widths} columns); "
                    f"give the network's own stride, and an image that leaves every shift a cell"
                )
            place.copy_(scores)
    return dense
