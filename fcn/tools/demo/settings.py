"""The settings of ``fcn demo``."""

from dataclasses import dataclass, field
from typing import Annotated, ClassVar

from fcn.core.settings import between
from fcn.tools.schema import Checked
from fcn.tools.settings import AUTO_DEVICE


@dataclass
class DemoConfig(Checked):
    """``fcn demo``.

    checkpoint: models to choose from: a file, a folder or a glob; null: what is below outputs/, and builtin
    host: address that the page is served at; 127.0.0.1 is for this machine alone, 0.0.0.0 for all that reach it
    port: port of the page; null: the first free one from 7860 on
    browser: open the page in a browser
    device: device that the networks run on
    plugins: your own modules that register parts, as [my_parts]
    """

    SUMMARY: ClassVar[str] = "opens a page: label a picture, receptive fields, where a classifier looks"
    EXAMPLES: ClassVar[str] = """fcn demo                                    the models below outputs/, on this machine alone
fcn demo checkpoint=RUN/best.pt browser=true
fcn demo 'checkpoint=runs/*/best.pt' port=8080
fcn demo checkpoint=hf://user/name"""

    checkpoint: str | None = None
    host: str = "127.0.0.1"
    port: Annotated[int | None, between(1, 65535)] = None
    browser: bool = False
    device: Annotated[str, AUTO_DEVICE] = "auto"
    plugins: list[str] = field(default_factory=list)
