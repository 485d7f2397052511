"""What a network makes of nothing: its scores where every feature map is flat.

Far inside an image of one colour each feature map is constant. A decoder that is given such maps should hand over constant scores; what
varies is a pattern that its up-samplers lay over every image, periodic with the deepest stride (Odena et al. 2016, "Deconvolution and
Checkerboard Artifacts", Distill). The index of a network is the share that this pattern has of the energy of those scores.
"""

import torch
from torch import Tensor

from fcn.geometry.checkerboard import checkerboard
from fcn.models.layers import evaluating
from fcn.models.segmenter import Segmenter, to_image_size

IMAGE = 384  # side, pixels, of the image whose middle is taken: its borders are then far away
FLAT = 256  # side, pixels, of what the decoder is given; the middle half of its scores is far from its borders


def flat_scores(model: Segmenter) -> Tensor:
    """Scores (num_classes, FLAT / 2, FLAT / 2), float32, of a flat image of the mean colour."""
    with evaluating(model):
        features = model.backbone(torch.zeros(1, 3, IMAGE, IMAGE, device=model.mean.device))
        flat = []
        for feature, stride in zip(features, model.backbone.strides, strict=True):
            height, width = feature.shape[-2:]
            side = FLAT // stride
            flat.append(feature[..., height // 2, width // 2][..., None, None].expand(-1, -1, side, side).contiguous())
        scores = to_image_size(model.decoder(flat), model.stride, FLAT, FLAT)
    quarter = FLAT // 4
    return scores[0, :, quarter:-quarter, quarter:-quarter].float().cpu()


def checkerboard_index(scores: Tensor, period: int) -> float:
    """The share, 0 to 1, of the energy of ``scores`` (num_classes, H, W) that lies at the multiples of 1 / ``period`` cycles per pixel.

    What is added to all classes alike says nothing and is taken away first; what each class has everywhere stays in the energy, unlike in
    ``checkerboard``: a faint pattern on decided scores is a small share, also where nothing else varies. Scores of zero have index 0.
    """
    scores = scores.double()
    scores = scores - scores.mean(0)
    varying = (scores - scores.mean((-2, -1), keepdim=True)).square().mean()
    energy = scores.square().mean()
    return checkerboard(scores, period) * float(varying / energy) if energy > 0 else 0.0
