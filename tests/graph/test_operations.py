"""What the table says of an operation's numbers holds for torch's own: what they depend on, what is linear, what shares memory."""

import pytest
import torch

from fcn.graph.ops import TABLE

X = torch.randn(1, 4, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
WEIGHT = torch.randn(4, 4, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
ALONE = [
    *("abs", "alias", "celu", "clone", "contiguous", "detach", "elu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "log_sigmoid"),
    *("neg", "relu", "relu6", "sigmoid", "silu", "square", "tanh"),
]
GIVEN = {  # arguments behind the tensor
    "add": (2.0,),
    "sub": (2.0,),
    "rsub": (2.0,),
    "mul": (3.0,),
    "div": (3.0,),
    "clamp": (-0.5, 0.5),
    "dropout": (0.5, False),
    "to": (torch.float64,),
    "channel_shuffle": (2,),
    "softmax": (1,),
    "log_softmax": (1,),
    "glu": (1,),
    "cumsum": (2,),
    "sort": (2,),
    "mean": ([1], True),
    "sum": ([1], True),
    "amax": ([1], True),
    "amin": ([1], True),
    "flip": ([1],),
    "var": ([1], True, True),
    "logsumexp": ([1], True),
    "linalg_vector_norm": (2, [1], True),
    "prelu": (torch.rand(4, dtype=torch.float64),),
    "batch_norm": (None, None, torch.rand(4, dtype=torch.float64), torch.ones(4, dtype=torch.float64), False, 0.1, 1e-5, False),
    "group_norm": (2,),
    "expand": ([1, 4, 5, 6],),
    "view": ([1, 4, 5, 6],),
    "reshape": ([4, 5, 6],),
    "slice": (2, 1),
    "narrow": (2, 1, 2),
    "select": (1, 0),
    "unfold": (2, 3, 1),
    "roll": ([1], [2]),
    "repeat": ([1, 2, 1, 1],),
    "constant_pad_nd": ([1, 1, 1, 1],),
    "reflection_pad2d": ([1, 1, 1, 1],),
    "conv2d": (WEIGHT, None),
    "avg_pool2d": ([3], [1], [1]),
    "max_pool2d": ([3], [1], [1]),
    "adaptive_avg_pool2d": ([2, 2],),
    "pixel_shuffle": (2,),
    "im2col": ([3, 3], [1, 1], [1, 1], [1, 1]),
    "upsample_bilinear2d": ([10, 12], False),
}
STATISTICS = ("group_norm",)  # of the whole map, which its scope leaves aside


def result(name, x):
    found = getattr(torch.ops.aten, name)(x, *GIVEN.get(name, ()))
    return found[0] if isinstance(found, tuple) else found


@pytest.mark.parametrize("name", [*ALONE, *GIVEN])
def test_numbers_depend_on_what_the_table_says(name):
    before, moved = result(name, X), X.clone()
    scope = TABLE[name].scope
    if scope == "number":
        moved[0, 2, 3, 1] += 0.7
        changed = (result(name, moved) != before).nonzero().tolist()
        assert changed in ([], [[0, 2, 3, 1]])
    elif scope == "cell" and name not in STATISTICS:
        moved[0, :, 3, 1] += torch.tensor([0.7, -0.3, 0.2, 0.9])
        changed = (result(name, moved) != before).nonzero()
        assert changed.numel() > 0
        assert {tuple(place[-2:]) for place in changed.tolist()} == {(3, 1)}


@pytest.mark.parametrize("name", [name for name in [*ALONE, *GIVEN] if TABLE[name].linear])
def test_what_is_called_linear_is(name):
    other = X.flip(2)
    sum_of_both = result(name, X) + result(name, other) - result(name, torch.zeros_like(X))
    torch.testing.assert_close(result(name, X + other), sum_of_both)


@pytest.mark.parametrize("name", [*ALONE, *GIVEN])
def test_what_shares_memory_is_known_to(name):
    shares = result(name, X).untyped_storage().data_ptr() == X.untyped_storage().data_ptr()
    assert TABLE[name].alias or not shares
