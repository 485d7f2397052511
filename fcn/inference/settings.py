"""Settings that several strategies have, written once. Imports nothing that is slow: the command line's help reads it."""

from typing import Annotated

from fcn.core.settings import Help, above, at_least

PASSES = 12

Memory = Annotated[float | None, above(0), Help("memory that a pass may take (GiB); null: half of what is free")]
Passes = Annotated[
    int,
    at_least(1),
    Help("most passes over the image, for networks with layers that see all of it: one more for image pooling, one for each gate"),
]
