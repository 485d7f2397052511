"""The report of a network: the published fields through it, sums that lose nothing, and rows that say what lectures say."""

from fractions import Fraction

import pytest
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from fcn.lessons.notation import parse_words
from fcn.models.classifiers import create_classifier
from fcn.models.compact import Compact
from fcn.tools.inspect.report import Report, Row, inspect_layers, inspect_network


def output(report: Report) -> tuple[object, ...]:
    """Size and jump of the output's field along both axes, which agree in all that follows."""
    (first, second) = report.output
    assert first == second
    return (first.size, first.stride) if first else (None, None)


class TestPublishedFields:
    def test_of_googlenet_with_its_window_and_of_the_papers_with_5x5_branches(self) -> None:
        network, side = create_classifier("torchvision/googlenet")
        assert output(inspect_network(network, side, pool_as_window=True)[0]) == (571, 32)
        for module in list(network.modules()):
            if hasattr(module, "branch3"):
                conv = module.branch3[1].conv  # type: ignore[union-attr, index]
                module.branch3[1].conv = nn.Conv2d(conv.in_channels, conv.out_channels, 5, padding=2, bias=False)  # type: ignore[union-attr, index]
        network.maxpool4 = nn.MaxPool2d(3, 2, ceil_mode=True)
        assert output(inspect_network(network, side, pool_as_window=True)[0]) == (907, 32)


class TestWorkedExamples:
    def rows(self, text: str, size: int = 32, channels: int = 3) -> tuple[Row, ...]:
        return inspect_layers(parse_words(text, channels), (size, size)).rows

    def test_ten_filters_on_a_small_picture(self) -> None:
        (row,) = self.rows("conv5 p2 c10")
        assert (row.channels, row.inputs, row.outputs, row.parameters) == ((3, 10), (32, 32), (32, 32), 760)
        assert row.macs == 32 * 32 * 10 * 75

    def test_separable_weights(self) -> None:
        assert self.rows("conv3 c32 nobias", channels=16)[0].parameters == 4608
        assert sum(row.parameters for row in self.rows("separable3 c32 nobias", channels=16)) == 656

    def test_two_small_kernels_see_what_a_large_one_does(self) -> None:
        small, large = self.rows("conv3 nobias, conv3 nobias", channels=1), self.rows("conv5 nobias", channels=1)
        assert small[-1].field == large[-1].field == (5, 5)
        assert (sum(row.parameters for row in small), large[0].parameters) == (18, 25)

    def test_a_stack_of_a_course(self) -> None:
        rows = self.rows("conv3 p1, pool2, conv3 p1, pool2, conv3 s2 p1", 64)
        assert [row.field[0] for row in rows] == [3, 4, 8, 10, 18]
        assert [row.jump[0] for row in rows] == [1, 2, 2, 4, 8]
        assert [row.outputs[0] for row in rows] == [64, 32, 32, 16, 8]

    def test_a_pool_after_convolutions_sees_their_sum(self) -> None:
        assert self.rows("conv7, pool3", 40)[-1].field == (9, 9)


class TestRows:
    def test_layers_in_words_and_as_modules_have_the_same_rows(self) -> None:
        from fcn.lessons.modules import as_network

        named = parse_words("conv3 s2 p1 c8, depthwise3 d2, pool2, conv1x3 g2 c4 same, tconv4 s2 p1, avgpool3 s1 p1, nearest2, shuffle2")
        by_formula = inspect_layers(named, (41, 30))
        by_graph, _ = inspect_network(as_network([layer for _, layer in named]), (41, 30))
        assert by_formula.output == by_graph.output
        for first, second in zip(by_formula.rows, by_graph.rows, strict=True):
            same = {**vars(first), "layer": second.layer}
            if first.operation in ("average pool", "bilinear"):  # whose sums the graph does not count
                same["macs"] = second.macs
            assert same == vars(second)

    @pytest.mark.parametrize("depth", [None, 1, 2, 3])
    def test_nothing_is_lost_in_folding(self, depth: int | None) -> None:
        network = torchvision.models.mobilenet_v3_small(weights=None)
        report, fields = inspect_network(network, 64, depth=depth)
        assert report.parameters == sum(tensor.numel() for tensor in network.parameters())
        assert report.macs == sum(node.macs for node in fields.graph)
        assert report.rows[-1].outputs == (1, 1)
        if depth:
            assert len({row.layer for row in report.rows}) == len(report.rows)
            assert all(row.layer.count(".") < depth for row in report.rows)
            (first,) = [row for row in report.rows if row.layer.startswith("features.0" if depth > 1 else "features")][:1]
            assert first.inputs == (64, 64)

    def test_a_folded_block_has_the_output_of_its_branches_together(self) -> None:
        network, side = create_classifier("torchvision/googlenet")
        (block,) = [row for row in inspect_network(network, side, depth=1)[0].rows if row.layer == "inception3a"]
        assert (block.operation, block.channels, block.inputs, block.outputs) == ("7 layers", (192, 256), (28, 28), (28, 28))

    def test_every_operation_has_a_row_on_request(self) -> None:
        report, fields = inspect_network(Compact(), 32, every=True)
        assert len(report.rows) == len(fields.graph.nodes) - 1
        assert report.aside == 0
        usual, _ = inspect_network(Compact(), 32)
        assert len(usual.rows) + usual.aside == len(report.rows)
        assert (usual.parameters, usual.macs) == (report.parameters, report.macs)
        assert not {"batch norm", "relu"} & {row.operation for row in usual.rows}

    def test_names_of_operations(self) -> None:
        class Named(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.grouped, self.up = nn.Conv2d(4, 8, 3, groups=2), nn.ConvTranspose2d(8, 8, 2, 2)
                self.pool, self.pad, self.fc = nn.MaxPool2d(2), nn.ZeroPad2d((1, 2, 0, 0)), nn.Linear(8 * 4, 5)

            def forward(self, x: Tensor) -> Tensor:
                x = self.pad(self.pool(self.up(self.grouped(x))))
                x = F.interpolate(x, scale_factor=2.0, mode="bilinear")
                return self.fc(F.adaptive_avg_pool2d(x, 2).flatten(1))

        report, _ = inspect_network(Named(), (9, 9))
        words = [row.operation for row in report.rows]
        assert words == ["conv, 2 groups", "transposed conv", "max pool", "pad", "bilinear", "average pool", "linear"]
        grouped, up, _, pad, bilinear, pool, linear = report.rows
        assert (grouped.kernel, grouped.stride, grouped.padding) == ((3, 3), (1, 1), ((0, 0), (0, 0)))
        assert up.stride == bilinear.stride == (Fraction(1, 2),) * 2
        assert (pad.padding, pad.kernel) == (((0, 0), (1, 2)), (None, None))
        assert pool.kernel == (None, None)
        assert pool.cause
        assert (linear.kernel, linear.channels, linear.inputs, linear.outputs) == ((2, 2), (8, 5), (2, 2), (1, 1))

    def test_layers_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(ValueError, match="gives no cells from 3 x 3; give a larger input"):
            inspect_layers(parse_words("conv3, conv5"), (5, 5))
