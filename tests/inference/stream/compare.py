"""Streamed against whole: what the tests of this folder share."""

import torch
from torch import nn

from fcn.inference.stream import gather, prepare, score_bands
from fcn.inference.stream.scores import share


def streamed(network, image, *, band, strips=1):
    """The scores of an image (1, C, H, W), from bands of ``band`` rows and ``strips`` strips of columns put together."""
    prepared = prepare(network, *image.shape[-2:])
    output = prepared.program.operations[prepared.program.output]
    count = min(strips, output.sizes[1])
    asked = []

    def rows(first, end):
        asked.append((first, end))
        return image[:, :, first:end]

    canvas = torch.full(output.shape, float("nan"), dtype=image.dtype)
    with torch.inference_mode():
        known = gather(prepared, rows, band=band, strips=count)
        for index in range(count):
            left, right = share(output.sizes[1], index, count)
            for first, scores in score_bands(prepared, rows, known, band=band, columns=(left, right)):
                goal = canvas[..., first : first + scores.shape[-2], left : left + scores.shape[-1]]
                assert goal.isnan().all(), "a row of scores is given twice"
                goal.copy_(scores)
    assert asked == sorted(asked) or count > 1 or prepared.passes > 1
    return canvas


def differs(network, image, **settings):
    """The largest difference between streamed and whole scores, as a share of the scores' range."""
    with torch.inference_mode():
        whole = network(image)
    found = streamed(network, image, **settings)
    assert found.shape == whole.shape
    scale = max(float(whole.max() - whole.min()), float(whole.abs().max()), 1e-12)
    return float((found - whole).abs().nan_to_num(nan=float("inf")).max()) / scale


def lively(network):
    """The network in float64 and evaluation mode, with statistics and weights that no layer could be confused by."""
    generator = torch.Generator().manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 4)
            module.running_var.copy_(torch.rand(module.num_features, generator=generator) + 0.5)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.rand(parameter.shape, generator=generator) / 2)
            elif not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5)
    return network.double().eval()
