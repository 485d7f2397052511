"""Output folders: new or empty ones, made once, and shared by the processes of a run."""

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING

from fcn.core.errors import UserError

if TYPE_CHECKING:
    from accelerate import Accelerator

PREDICTIONS = "predict.json"  # in the output folder of fcn predict, with the list of its images


def new_folder(command: str, output: str | None, accelerator: "Accelerator | None" = None) -> Path:
    """Make the output folder, ``output`` or a dated one; the processes of a run share it.

    Raises UserError where it holds something already.
    """
    if accelerator is not None and accelerator.num_processes > 1:
        from accelerate.utils import broadcast_object_list

        made = [str(new_folder(command, output)) if accelerator.is_main_process else ""]
        broadcast_object_list(made)
        return Path(made[0])
    from fcn.core.files import remove_unfinished

    if output is None:
        return dated_folder(command)
    refuse_used(output)
    folder = Path(output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_unfinished(folder)
    except OSError as error:
        raise UserError(f"output={folder} cannot be made ({error.strerror}: {error.filename}); give another folder") from error
    return folder


def refuse_used(output: str | None) -> None:
    """Raises UserError where the output folder holds something already: no run writes over another. What a process that was killed left
    half-written counts for nothing."""
    from fcn.core.files import unfinished

    folder = Path(output) if output else None
    if folder is not None and folder.exists() and (not folder.is_dir() or any(not unfinished(path) for path in folder.iterdir())):
        command = "compare" if (folder / "cells").is_dir() else "predict" if (folder / PREDICTIONS).is_file() else "train"
        more = f"; fcn {command} resume={folder} goes on with the run in it" if (folder / "config.yaml").exists() else ""
        if not more and (folder / "last.pt").is_file():  # a run of fcn.train
            more = f"; fcn.train(..., resume='{folder}') goes on with the run in it"
        raise UserError(f"output={folder} holds something already; give a folder that is new or empty{more}")


def dated_folder(command: str) -> Path:
    """A new folder named after the time; runs that start in the same second get different ones."""
    base = Path("outputs") / command / time.strftime("%Y-%m-%d_%H-%M-%S")
    base.parent.mkdir(parents=True, exist_ok=True)
    for count in itertools.count(1):
        folder = base if count == 1 else base.with_name(f"{base.name}_{count}")
        try:
            folder.mkdir()
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")
