"""Every row of every layer is computed exactly once: counted while the last pass runs."""

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fcn.inference.stream import gather, prepare, score_bands
from fcn.inference.stream.run import Run
from fcn.models.segmenter import create_model

HEIGHT, WIDTH = 83, 40
BACKBONES = {"lraspp": "mobilenet_v3_small"}


@cache
def prepared_for(model):
    """The network's program, the rows of an image, and the statistics that the last pass builds on."""
    prepared = prepare(create_model(model, backbone=BACKBONES.get(model, "resnet18"), num_classes=3).eval(), HEIGHT, WIDTH)
    image = torch.randn(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))

    def rows(first, end, left, right):
        return image[:, :, first:end, left:right]

    with torch.inference_mode():
        return prepared, rows, gather(prepared, rows, band=32)


@pytest.mark.parametrize(
    "model",
    [
        "fcn8s",
        pytest.param("deeplabv3", marks=pytest.mark.slow),
        "deeplabv3plus",
        *(pytest.param(model, marks=pytest.mark.slow) for model in ("unet", "lraspp")),
    ],
)
@settings(max_examples=5, deadline=None, derandomize=True)
@given(band=st.integers(1, HEIGHT + 10))
def test_every_row_of_every_layer_is_computed_exactly_once(model, band):
    prepared, rows, known = prepared_for(model)
    computed: dict[str, list[int]] = {}
    compute, runs = Run._compute, []

    def counting(self, instruction, step, first, end, image):
        compute(self, instruction, step, first, end, image)
        runs.append(self)
        start, block = self.blocks[instruction.name]
        dim = instruction.dims[0]
        assert dim is None or start + block.shape[dim] == end, "a block is as long as it says"
        assert (first, end) == self.plan.rows(instruction.name, step)
        computed.setdefault(instruction.name, []).extend(range(first, end))

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(Run, "_compute", counting)
        scores = sum(block.shape[2] for _, block in score_bands(prepared, rows, known, band=band))
    run = runs[0]
    assert all(each is run for each in runs), "there is one last pass"
    read = dict.fromkeys(run.shapes, 0)  # rows of each layer that somebody reads
    read[prepared.program.output] = scores
    for instruction in reversed(run.instructions):
        for source in instruction.reads:
            if source.source in read and source.maps is not None:
                read[source.source] = max(read[source.source], source.maps[0].reads(0, read[instruction.name])[1])
    assert scores == prepared.program.instructions[prepared.program.output].sizes[0]
    assert computed == {name: list(range(count)) for name, count in read.items()}
