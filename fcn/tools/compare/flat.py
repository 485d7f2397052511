"""What a network makes of nothing: its scores where every feature map is flat.

Far inside an image of one colour each feature map is constant. A decoder that is given such maps should give constant scores. What varies
is a pattern that its up-samplers lay over every image, periodic with the deepest stride (Odena et al. 2016, "Deconvolution and Checkerboard
Artifacts", Distill). The index of a network is the share that this pattern has of the energy of those scores.
"""

import copy

import torch
from torch import Tensor, nn

from fcn.graph.networks import evaluating
from fcn.lessons.checkerboard import checkerboard
from fcn.models.segmenter import Segmenter, to_image_size

GREYS = (-1.0, 1.0)  # of the flat images, deviations from the mean; of the mean itself a network without biases makes zeros
IMAGE = 384  # side, pixels, of the images whose middle is taken: its borders are then far away
FLAT = 256  # side, pixels, of the scores' middle that is looked at is half of this
LARGEST = 1024  # side, pixels, of what a decoder is given at most


def flat_scores(model: Segmenter) -> Tensor:
    """Scores (2, num_classes, FLAT / 2, FLAT / 2), float32, of a dark and of a bright flat image, far from all borders.

    A decoder's own borders reach into its scores, an atrous pyramid's far. Its input is made larger until the middle of the scores stays
    the same.
    """
    with evaluating(model):
        greys = torch.tensor(GREYS, device=model.mean.device).view(-1, 1, 1, 1)
        features = model.backbone(greys.expand(-1, model.in_channels, IMAGE, IMAGE).contiguous())
        middles = [feature[..., feature.shape[-2] // 2, feature.shape[-1] // 2][..., None, None] for feature in features]

        def middle(side: int) -> Tensor:
            strides = model.backbone.strides
            flat = [cell.expand(-1, -1, side // stride, side // stride).contiguous() for cell, stride in zip(middles, strides, strict=True)]
            scores = to_image_size(model.decoder(flat), model.stride, side, side)
            edge = (side - FLAT // 2) // 2
            return scores[..., edge:-edge, edge:-edge].float().cpu()

        side, scores = FLAT, middle(FLAT)
        while side < LARGEST:
            side, before = 2 * side, scores
            scores = middle(side)
            if (scores - before).abs().max() <= 1e-6 * scores.abs().max():
                break
    return scores


def untrained_scores(model: Segmenter) -> Tensor:
    """``flat_scores`` of a network before its training. Weights that start at zero, as those of an FCN's scores do, are drawn at random in
    a copy: zero times a pattern would hide it."""
    model = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    for module in model.decoder.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.any():
            with torch.no_grad():
                module.weight.copy_(torch.randn(module.weight.shape, generator=generator) / module.weight[0].numel() ** 0.5)
    return flat_scores(model)


def checkerboard_index(scores: Tensor, period: int) -> float:
    """The share, 0 to 1, of the energy of ``scores`` (..., num_classes, H, W) at the multiples of 1 / ``period`` cycles per pixel.

    What is added to all classes alike says nothing and is taken away first. What each class has everywhere stays in the energy, unlike in
    ``checkerboard``. So a faint pattern on decided scores is a small share, also where nothing else varies. Scores of zero have index 0.
    """
    scores = scores.double()
    scores = scores - scores.mean(-3, keepdim=True)
    varying = (scores - scores.mean((-2, -1), keepdim=True)).square().mean()
    energy = scores.square().mean()
    return checkerboard(scores, period) * float(varying / energy) if energy > 0 else 0.0
