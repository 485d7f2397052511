"""Optional packages that rasters are written with."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from fcn.core.errors import UserError

EXTRAS = {"shapely": "polygons", "pyogrio": "polygons"}  # by package; that of the others is "rasters"


def needs(package: str, what: str) -> Any:
    """The package. Raises UserError where it is not there. what: is written with it, for the message."""
    name = package.partition(".")[0]
    if find_spec(name) is None:
        raise UserError(f'{what} needs {name}: pip install "fcn-toolkit[{EXTRAS.get(name, "rasters")}]"')
    return import_module(package)
