"""Which terms a loss has: what is checked before anything is built. Imports nothing that is slow: the command line asks here first."""

from collections.abc import Mapping
from typing import Any

from fcn.core.errors import UserError
from fcn.core.registry import find, list_parts

CROSS_ENTROPY = "cross_entropy"  # the term that adds up over parts exactly


def check_terms(weights: Mapping[str, float], options: Mapping[str, Mapping[str, Any]], *, class_weights: bool) -> None:
    """Raises UserError where nothing would be learnt from, and for settings of a term whose weight is 0.

    weights: of each term. options: settings of the terms. class_weights: whether those are given.
    """
    for name, weight in weights.items():
        if not 0 <= weight <= 1e9:
            raise UserError(f"{name}={weight} is not allowed; the weight of a term of the loss is 0 to 1e9")
    if not any(weights.values()):
        raise UserError(
            f"every term of the loss is 0; give one a weight, as {CROSS_ENTROPY}=1 (the terms are {', '.join(list_parts('loss'))})"
        )
    for name in options:
        if not weights.get(name):
            raise UserError(f"{name} has settings and the weight 0; give it a weight, as {name}=1, or leave its settings out")
    takers = [name for name in list_parts("loss") if "class_weights" in find("loss", name).own]
    if class_weights and not any(weights.get(name) for name in takers):
        raise UserError(
            f"class_weights is for {' and '.join(takers)}, which are both 0; give one of them a weight, or leave class_weights out"
        )
