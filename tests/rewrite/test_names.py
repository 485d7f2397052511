"""What functions and layers are called, and which entry of the table of operations that is."""

import torch
from torch.nn import functional as F

from fcn.graph.ops import NOTHING
from fcn.rewrite.names import known

X = torch.randn(1, 4, 5, 6, generator=torch.Generator().manual_seed(0))
ACTIVATIONS = (
    """relu relu6 leaky_relu elu celu selu gelu silu mish hardswish hardsigmoid hardtanh sigmoid logsigmoid tanh softplus softsign"""
)


def test_functions_and_layers_are_known_by_their_own_names():
    layers = {name.lower(): name for name in dir(torch.nn)}
    for name in ACTIVATIONS.split():
        for spelled in (name, layers[name.replace("_", "")], f"{name}_"):
            assert known(spelled).scope == "number", spelled
            assert not known(spelled).linear, spelled
        moved = X.clone()
        moved[0, 2, 3, 1] += 0.7
        assert ((getattr(F, name)(moved) != getattr(F, name)(X)).sum() <= 1).item()
    assert known("Identity").linear == known("Dropout2d").linear == known("float").linear == "all"
    assert known("Conv2d").scope == known("interpolate").scope == known("roll").scope == "grid"
    assert known("Bilinear") is known("module") is known("name") is NOTHING
