"""Classifiers as fully convolutional networks with the same weights: see ``convolutionalize`` and ``linear_to_conv``."""

from fcn.rewrite.convolutionalize.linear import linear_to_conv
from fcn.rewrite.convolutionalize.network import convolutionalize

__all__ = ["convolutionalize", "linear_to_conv"]
