"""A segmenter's scores on their own grid as a network, for those who read its graph."""

from torch import Tensor, nn

from fcn.models.segmenter import Segmenter

PREFIX = "segmenter."  # of the layers' names


class ScoresOf(nn.Module):
    """``forward(images)`` is ``segmenter.scores(images)``."""

    def __init__(self, segmenter: Segmenter) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, images: Tensor) -> Tensor:
        return self.segmenter.scores(images)
