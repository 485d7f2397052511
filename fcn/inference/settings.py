"""Settings that several strategies have, written once. Imports nothing that is slow: the command line's help reads it."""

from typing import Annotated

from fcn.core.settings import Help, above, at_least

PASSES = 12

Memory = Annotated[float | None, above(0), Help("upper bound of the memory of a pass (GiB); null: half of the free memory")]
Passes = Annotated[
    int,
    at_least(1),
    Help("upper bound of passes over the image; a network needs one more for each layer that sees all of it (image pooling, gates)"),
]
