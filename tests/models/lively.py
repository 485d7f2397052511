"""Classifiers with random weights whose scores nevertheless depend on the image."""

import torch
from torch import nn


def lively(classifier: nn.Module, size: int) -> nn.Module:
    """``classifier`` with random norms and biases, and with the statistics that its batch norms have on random images of ``size``.

    Without them a deep network at its random start gives the same scores for all images, and a test of it cannot fail.
    """
    torch.manual_seed(0)
    dtype = next(classifier.parameters()).dtype
    with torch.no_grad():
        for parameter in classifier.parameters():
            if parameter.dim() < 2:
                parameter.add_(torch.rand_like(parameter) - 0.5)
        norms = [module for module in classifier.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 1.0
        if norms:
            classifier.train()(torch.randn(3, 3, size, size, dtype=dtype))
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
    return classifier.eval()
