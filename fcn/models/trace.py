"""A network as a graph that can be edited: its operations in order, its parameters under their own names (torch.fx).

What looks the same in modules and in ``forward`` is told apart by nothing but the graph, so that rewriting needs no list of class names.
"""

import copy

from torch import fx, nn


class Tracer(fx.Tracer):
    """Torch's tracer, which leaves whole what timm marks as untraceable (padding computed from the size, and such), and what drops paths
    at random, which would otherwise be traced as it is in evaluation."""

    def __init__(self) -> None:
        from timm.layers import DropPath, get_notrace_functions, get_notrace_modules, pad_same
        from torchvision.ops import StochasticDepth

        super().__init__(autowrap_functions=(*get_notrace_functions(), pad_same))
        rewritable = {"NormFreeBlock", "StdConv2dSame", "ScaledStdConv2dSame"}  # nothing in them that a graph would get wrong
        self.whole = (*(kind for kind in get_notrace_modules() if kind.__name__ not in rewritable), DropPath, StochasticDepth)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.whole) or super().is_leaf_module(m, module_qualified_name)

    def path_of_module(self, mod: nn.Module) -> str:
        """Containers that are made in ``forward`` (slices of a ``Sequential``) have no path; what is in them has."""
        return "" if isinstance(mod, nn.Sequential) and mod not in self.submodule_paths else super().path_of_module(mod)


def trace(network: nn.Module) -> fx.GraphModule:
    """A copy of ``network`` as an editable graph, with the same parameter names; ``network`` is left as it was.

    Branches on ``self.training`` are taken as in evaluation (auxiliary heads are left out); modules such as batch norm and dropout keep
    following the mode of the copy, which starts as that of ``network``. Raises ValueError where the network decides by the values of its
    input.
    """
    training = network.training
    copied = copy.deepcopy(network).eval()
    try:
        graph = Tracer().trace(copied)
    except Exception as error:  # the network's own code runs, and may raise anything
        raise ValueError(
            f"{type(network).__name__} cannot be read as a graph, since its forward decides by what it is given "
            f"({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}); give a network without such branches"
        ) from error
    return fx.GraphModule(copied, graph, type(network).__name__).train(training)
