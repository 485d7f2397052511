"""Users' modules that register parts: those that a call names, and those of installed packages."""

import logging
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from fcn.core.errors import UserError
from fcn.core.names import first_line

log = logging.getLogger(__name__)


def load_plugins(modules: Sequence[str]) -> None:
    """Import the users' modules that register parts. Raises UserError for one that is missing or fails."""
    for module in modules:
        load_module(module, f"plugins=[{module}]")


def load_module(module: str, given: str) -> None:
    """Import a module of a user's, looked for in the working directory too. Raises UserError for one that is missing or fails.

    given: the words of the call that name it, for the messages.
    """
    if module in sys.modules:
        return
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not (module == error.name or module.startswith(f"{error.name}.")):
            raise UserError(f"{given} cannot be imported: {first_line(error)}; install what it needs") from error
        hint = f"; write {given.replace(module, module[:-3].replace('/', '.'))}" if module.endswith(".py") else ""
        raise UserError(f"{given}: there is no module {module} in {os.getcwd()} or among the installed packages{hint}") from error
    except Exception as error:  # the user's own code runs
        raise UserError(f"{given} fails while it is imported: {type(error).__name__}: {first_line(error)}") from error


def check_plugins(modules: Sequence[str], origin: str) -> None:
    """Raises UserError if ``origin`` needs parts of a module that is not imported. This never imports it: a stranger's file must not choose
    what code runs. Plugins of installed packages are imported, as everywhere."""
    load_packages()
    missing = [module for module in modules if module not in sys.modules]
    if missing:
        names = ", ".join(missing)
        raise UserError(f"{origin} was made with parts of {names}; give plugins=[{names}] too (in Python: import {names} first)")


@cache
def load_packages() -> None:
    """Import the plugins of installed packages. One that fails does not stop the others."""
    for point in entry_points(group="fcn.plugins"):
        try:
            point.load()
        except Exception as error:
            log.warning(
                "the plugin %s of an installed package cannot be used: %s: %s", point.value, type(error).__name__, first_line(error)
            )
