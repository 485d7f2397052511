"""Streamed against whole: what the tests of this folder share."""

from dataclasses import replace
from itertools import product

import torch
from torch import nn

from fcn.inference.stream import Prepared, gather, prepare, score_bands
from fcn.inference.stream.scores import share


def streamed(network, image, *, band, strips=1):
    """The scores of an image (1, C, H, W), from bands of ``band`` rows and ``strips`` strips of columns put together."""
    prepared = prepare(network, *image.shape[-2:])
    output = prepared.program.instructions[prepared.program.output]
    count = min(strips, output.sizes[1])
    asked = []

    def rows(first, end, left, right):
        asked.append((first, end))
        return image[:, :, first:end, left:right]

    canvas, found = torch.full(output.shape, float("nan"), dtype=image.dtype), []
    with torch.inference_mode():
        known = gather(prepared, rows, band=band, strips=count)
        for index in range(count):
            left, right = share(output.sizes[1], index, count)
            found += [(left, *each) for each in score_bands(prepared, rows, known, band=band, columns=(left, right))]
    for left, first, scores in found:  # when all are there: a band is not written to by those after it
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


TYPES = {torch.float32: 1e-5, torch.bfloat16: 2**-6, torch.float64: 1e-12}  # and how far two kernels may be apart, as a share
ORDERS = (torch.contiguous_format, torch.channels_last)


def written(network, image, *, band, strips=1):
    """The names of the instructions of a stream that write into memory which they are given.

    Raises AssertionError where one does not write there what it computes otherwise, or writes beside it: into parts of memory in both
    layouts, from blocks in both layouts, in all types that it can be computed in.
    """
    names = set()

    def checked(instruction):
        def run(blocks, cuts):
            for dtype, source, goal in product(TYPES, ORDERS, ORDERS):
                given = [ordered(block.to(dtype), source) for block in blocks]
                try:
                    expected = instruction.rule.run(given, cuts)
                except NotImplementedError:
                    continue  # not in this type
                for dim in range(expected.dim()):
                    writes_right(instruction, given, cuts, expected, dim, goal)
            names.add(instruction.op)
            return instruction.rule.run(blocks, cuts)

        return replace(instruction, rule=replace(instruction.rule, run=run)) if instruction.rule.into is not None else instruction

    def rows(first, end, left, right):
        return image[:, :, first:end, left:right]

    prepared = prepare(network, *image.shape[-2:])
    instructions = {name: checked(instruction) for name, instruction in prepared.program.instructions.items()}
    watched = Prepared(replace(prepared.program, instructions=instructions))
    with torch.inference_mode():
        known = gather(watched, rows, band=band, strips=strips)
        columns = share(instructions[watched.program.output].sizes[1], 0, strips)
        for _ in score_bands(
            watched, lambda first, end, left, right: image[:, :, first:end, left:right], known, band=band, columns=columns
        ):
            pass
    return names


def writes_right(instruction, blocks, cuts, expected, dim, order):
    """Whether ``rule.into`` gives what is expected, into memory of its own and, where that fits, into the first block's."""
    shape = list(expected.shape)
    shape[dim] += 5
    memory = ordered(torch.full(shape, float("nan"), dtype=expected.dtype), order)
    part = memory.narrow(dim, 2, expected.shape[dim])
    instruction.rule.into(blocks, cuts, part)
    close(part, expected, instruction)
    part.fill_(float("nan"))
    assert memory.isnan().all(), f"{instruction.op} writes beside its memory"
    if blocks[0].shape == expected.shape and all(block.dtype == expected.dtype for block in blocks):
        part.copy_(blocks[0])
        instruction.rule.into([part, *blocks[1:]], cuts, part)
        close(part, expected, instruction)


def close(found, expected, instruction):
    near = (found - expected).abs() <= TYPES[expected.dtype] * (expected.abs() + 1)
    assert (near | (found == expected) | (found.isnan() & expected.isnan())).all(), f"{instruction.op} in {expected.dtype}"


def ordered(x, order):
    return x.contiguous(memory_format=order) if x.dim() == 4 else x


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
