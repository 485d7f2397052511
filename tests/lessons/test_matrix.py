"""A convolution as a matrix, as im2col + GEMM, transposed, and its gradients: against torch, in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from fcn.lessons.matrix import (
    Convolution,
    col2im,
    convolution_matrix,
    convolve,
    convolve_gemm,
    gradient_to_input,
    gradient_to_weight,
    im2col,
    insert_zeros,
    transposed_by_zeros,
    transposed_convolve,
)

SETTINGS = [
    Convolution(),
    Convolution(stride=(2, 1)),
    Convolution(stride=(2, 3), padding=(1, 2)),
    Convolution(padding=(2, 0), dilation=(2, 1)),
    Convolution(stride=(3, 2), padding=(1, 1), dilation=(2, 3), groups=2),
    Convolution(groups=4),
]
KERNELS = [(3, 3), (1, 2), (2, 3)]
SIZE = (9, 11)


def draw(settings: Convolution, kernel: tuple[int, int]) -> tuple[Tensor, Tensor, dict[str, object]]:
    torch.manual_seed(0)
    x = torch.randn(4, *SIZE, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(8, 4 // settings.groups, *kernel, dtype=torch.float64, requires_grad=True)
    options = {"stride": settings.stride, "padding": settings.padding, "dilation": settings.dilation, "groups": settings.groups}
    return x, weight, options


def test_the_lectures_example() -> None:
    """4x4 input, 3x3 kernel, valid: a 4 x 16 matrix whose rows are the kernel, shifted."""
    weight = torch.arange(1.0, 10).view(1, 1, 3, 3)
    matrix = convolution_matrix(weight, (4, 4)).to_dense()
    assert matrix.shape == (4, 16)
    assert matrix[0].tolist() == [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    assert matrix[3].tolist() == [0, 0, 0, 0, 0, 1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9]
    assert torch.equal(matrix[1, 1:], matrix[0, :-1])


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("kernel", KERNELS, ids=str)
class TestAgainstTorch:
    def test_two_forms_of_a_convolution(self, settings: Convolution, kernel: tuple[int, int]) -> None:
        x, weight, options = draw(settings, kernel)
        expected = F.conv2d(x[None], weight, **options)[0]
        torch.testing.assert_close(convolve(x, weight, settings), expected)
        torch.testing.assert_close(convolve_gemm(x, weight, settings), expected)

    def test_im2col_and_back(self, settings: Convolution, kernel: tuple[int, int]) -> None:
        x, _, options = draw(settings, kernel)
        del options["groups"]
        columns = F.unfold(x[None], kernel, **options)[0]
        torch.testing.assert_close(im2col(x, kernel, settings), columns)
        torch.testing.assert_close(col2im(columns, SIZE, kernel, settings), F.fold(columns[None], SIZE, kernel, **options)[0])

    def test_transposed_by_matrix_and_by_zeros(self, settings: Convolution, kernel: tuple[int, int]) -> None:
        x, weight, options = draw(settings, kernel)
        y = torch.randn_like(F.conv2d(x[None], weight, **options)[0])
        plain = F.conv_transpose2d(y[None], weight, **options).shape[2:]
        extra = [size - found for size, found in zip(SIZE, plain, strict=True)]
        expected = F.conv_transpose2d(y[None], weight, output_padding=extra, **options)[0]
        torch.testing.assert_close(transposed_convolve(y, weight, SIZE, settings), expected)
        torch.testing.assert_close(transposed_by_zeros(y, weight, SIZE, settings), expected)

    def test_gradients_are_products(self, settings: Convolution, kernel: tuple[int, int]) -> None:
        x, weight, options = draw(settings, kernel)
        y = F.conv2d(x[None], weight, **options)[0]
        gradient = torch.randn_like(y)
        to_x, to_weight = torch.autograd.grad(y, (x, weight), gradient)
        torch.testing.assert_close(gradient_to_input(gradient, weight, SIZE, settings), to_x)
        torch.testing.assert_close(gradient_to_weight(gradient, x, kernel, settings), to_weight)

    def test_the_transpose_is_the_adjoint(self, settings: Convolution, kernel: tuple[int, int]) -> None:
        """``<A x, y> = <x, A^T y>``."""
        x, weight, _ = draw(settings, kernel)
        y = torch.randn_like(convolve(x, weight, settings))
        torch.testing.assert_close((convolve(x, weight, settings) * y).sum(), (x * transposed_convolve(y, weight, SIZE, settings)).sum())


def test_zeros_between_cells() -> None:
    assert insert_zeros(torch.tensor([[[1.0, 2.0]]]), (1, 3)).tolist() == [[[1, 0, 0, 2]]]


def test_a_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"an input of \(5, 5\) is convolved to \(3, 3\), not \(4, 4\)"):
        transposed_convolve(torch.zeros(1, 4, 4), torch.zeros(1, 1, 3, 3), (5, 5))
