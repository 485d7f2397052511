"""The command line: ``fcn COMMAND [key=value ...]``, composed by Hydra from ``conf/`` and checked before anything runs.

An error is one line on standard error. The exit status is 2 for a wrong call, 1 for an error while the command runs. A bug is named as one,
with its place. ``FCN_DEBUG=1`` shows the traceback.
"""

import errno
import logging
import os
import re
import signal
import sys
import traceback
from importlib import import_module
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any, NoReturn

from fcn import tools as schema
from fcn.cli.composing import build, compose
from fcn.cli.experiments import with_experiment
from fcn.cli.help import command_help, general_help
from fcn.cli.launchers import split_launcher
from fcn.cli.reading import read
from fcn.cli.tree import use_plugins
from fcn.cli.words import WrongCallError, check_brackets, text_of, values
from fcn.core.errors import UserError
from fcn.core.names import saying_settings, shown, suggest
from fcn.core.progress import tell

LONGEST = 3000  # characters of a message: a few long paths, and no line of a file that has no ends of lines


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run one command and exit: 0 done, 1 it failed, 2 the call was wrong. Who reads only the first lines (``| head``) ends it quietly."""
    try:
        status = run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:  # raised by whatever was printed next; nothing more can be printed, at the interpreter's end neither
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 128 + signal.SIGPIPE
    sys.exit(status)


def run(arguments: list[str]) -> int:
    """As ``main``, but returns the exit status."""
    with saying_settings():
        try:
            return dispatch(arguments)
        except WrongCallError as error:
            return complain(str(error))
        except BrokenPipeError:
            raise
        except Exception as error:
            return complain(explain(error), 1)


def dispatch(arguments: list[str]) -> int:
    """Run what the words of a call ask for. Raises WrongCallError for a call that is wrong."""
    flags = [word for word in arguments if word.startswith("-")]
    words = [word for word in arguments if not word.startswith("-")]
    if "--version" in flags:
        print(f"fcn {version('fcn-toolkit')}")
        return 0
    if not words or words[0] == "help":
        print(general_help())
        return 0 if flags in ([], ["--help"], ["-h"]) else complain(f"there is no flag {flags[0]}; allowed: --help, --version")
    command, overrides = words[0], words[1:]
    if command not in schema.COMMANDS:
        hint = f"put the command first, as fcn train {command}" if "=" in command else suggest(command, schema.COMMANDS)
        return complain(f"there is no command '{command}'; {hint}")
    if {"--help", "-h"} & set(flags):
        use_plugins(overrides)
        print(command_help(command))
        return 0
    wrong = [flag for flag in flags if flag not in ("-m", "--multirun")]
    if wrong:
        return complain(
            f"there is no flag {wrong[0]}; allowed: --help, -m (one run for each of several comma-separated values); settings are key=value"
        )
    multirun = bool({"-m", "--multirun"} & set(flags))
    try:
        launch, overrides = split_launcher(command, overrides, several=multirun)
    except UserError as error:
        raise WrongCallError(str(error)) from error
    if multirun:
        return sweep(command, overrides, launch)
    return execute(command, compose(command, overrides), **({"launch": launch} if launch else {}))


def complain(message: str, status: int = 2) -> int:
    """One line on standard error. Only the first process reports a wrong call; a failure is reported by the process that met it."""
    rank = os.environ.get("RANK", "0")
    message = shown(message, LONGEST)
    if rank == "0" or status == 1:
        tell(f"fcn: {message}" if rank == "0" else f"fcn (process {rank}): {message}")
    return status


class Lines(logging.Handler):
    """A log handler that writes each record as one line with ``tell``."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(self.format(record))


def execute(command: str, settings: Any, **more: Any) -> int:
    """Run a command; an error is reported in one line. more: arguments of its function beside the settings."""
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s", handlers=[Lines()], force=True)
    try:
        return int(import_module(f"fcn.tools.{command}.run").run(settings, **more) or 0)
    except KeyboardInterrupt:
        return complain("interrupted; nothing is left half-written", 130)
    except BrokenPipeError:
        raise
    except Exception as error:
        return complain(explain(error), 1)


def explain(error: Exception) -> str:
    """An error in one line. A mistake of the user, or a lack of memory or disk, says what to do. Anything else is a bug, with its place.

    With ``FCN_DEBUG=1`` the error is raised again.
    """
    if os.environ.get("FCN_DEBUG"):
        raise error
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"the disk is full while writing {error.filename or 'the output'}; free some space, then start again (or resume=DIR)"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'a file'} cannot be used: {error.strerror}; choose another place, or free this one"
    if text and isinstance(error, UserError | OSError | FloatingPointError):
        return text
    kind = type(error).__name__
    if isinstance(error, MemoryError) or "out of memory" in text or "not enough memory" in text:
        return f"memory ran out ({kind}: {text}); give smaller images, crops or batches, or free some memory"
    frames = traceback.extract_tb(error.__traceback__) or [None]
    place = next((frame for frame in reversed(frames) if frame and "site-packages" not in frame.filename), frames[-1])  # of fcn or a plugin
    where = f", in {place.name} ({Path(place.filename).name}:{place.lineno})" if place else ""
    return f"a bug in fcn or in a plugin: {kind}: {text or 'no text'}{where}; FCN_DEBUG=1 shows the traceback"


def sweep(command: str, words: list[str], launch: Any = None) -> int:
    """One run for each combination of comma-separated values, in a folder of that name below the output. All are checked before the first.

    Returns 1 where runs failed, which are named; the others are not lost.
    """
    from fcn.tools.folders import new_folder

    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise WrongCallError("-m makes its runs one after the other in one process; under torchrun start each run by itself")
    given, overrides = read(command, with_experiment(command, words), several=True)
    by_key = {override.key_or_group: override for override in overrides}
    if "resume" in by_key:
        raise WrongCallError("-m begins new runs; resume each interrupted one by itself, as resume=DIR")
    rest = [override for override in overrides if override.key_or_group != "output"]
    runs, calls = {}, []
    for choice in product(*(values(override) for override in rest)):
        chosen = [f"{override.key_or_group}={value}" for override, value in zip(rest, choice, strict=True)]
        swept = [word for override, word in zip(rest, chosen, strict=True) if override.is_sweep_override()]
        fixed = [override.input_line for override in rest if not override.is_sweep_override()]
        name = re.sub(r"[^\w=.,-]+", "_", ",".join(swept)) or "run"
        while name in runs:  # of values that differ only in what is "_" in a name
            name += "_"
        runs[name] = build(command, fixed + swept)
        calls.append([command, *fixed, *swept])
    check_brackets(given, overrides)
    try:
        folder = new_folder(command, text_of(by_key["output"]) if "output" in by_key else None)
    except (UserError, OSError) as error:
        raise WrongCallError(explain(error)) from error
    failed = []
    if launch:
        calls = [[*call, f"output={(folder / name).absolute()}"] for name, call in zip(runs, calls, strict=True)]
        try:
            failed = [name for name, status in zip(runs, launch(calls, folder / "jobs"), strict=True) if status]
        except RuntimeError as error:
            return complain(explain(error), 1)
    else:
        for name, settings in runs.items():
            print(f"--- {name}", file=sys.stderr)
            settings.output = str(folder / name)
            if execute(command, settings):
                failed.append(name)
    return complain(f"{len(failed)} of {len(runs)} runs failed: {'; '.join(failed)}", 1) if failed else 0
