"""The models that ``checkpoint=`` and ``network=`` name.

A checkpoint holds no code and imports none. Where it was made of a network of a user's own, the call names the code: ``network=``.
"""

import inspect
import sys
from typing import TYPE_CHECKING

from fcn.core.errors import UserError
from fcn.core.names import a_type, suggest
from fcn.core.plugins import load_module

if TYPE_CHECKING:
    from torch import nn

    from fcn.models.segmenter import Segmenter


def saved_model(checkpoint: str, network: str | None) -> "Segmenter":
    """The model of a checkpoint, in evaluation mode; network: ``my_module:build``, for the weights of a network of a user's own."""
    from fcn.training.checkpoint import load

    return load(checkpoint, network=None if network is None else network_of(network))


def network_of(word: str, *, setting: str = "network") -> "nn.Module":
    """The network that ``my_module:build`` names: a torch module, or what a function without arguments makes.

    setting: what names it, for the messages.

    Raises UserError for anything else.
    """
    from torch import nn

    module, _, name = word.partition(":")
    if not (module and name.isidentifier()):
        raise UserError(f"{setting}={word} is not allowed; write the module and the name in it, as my_module:build")
    load_module(module, f"{setting}={word}")
    found = getattr(sys.modules[module], name, None)
    if found is None:
        raise UserError(f"{setting}={word}: there is no {name} in {module}; {suggest(name, public(module))}")
    if callable(found) and not isinstance(found, nn.Module):
        try:
            inspect.signature(found).bind()
        except TypeError as error:
            raise UserError(f"{setting}={word} cannot be called without arguments ({error}); name a function that can") from error
        made = found()
    else:
        made = found
    if not isinstance(made, nn.Module):
        raise UserError(f"{setting}={word} gives {a_type(made)}; give a torch module, or a function that makes one")
    return made


def public(module: str) -> list[str]:
    return [name for name in vars(sys.modules[module]) if not name.startswith("_")]
