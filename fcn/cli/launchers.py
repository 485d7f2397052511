"""Calls of ``fcn`` handed to a Hydra launcher, as jobs of a cluster or of several processes, instead of one after the other.

Launchers are plugins of Hydra, chosen by ``hydra/launcher=NAME`` and set by ``hydra.launcher.KEY=VALUE``. A job is a whole call of ``fcn``
in its own process. So a launcher carries only words, and a killed job harms no other.
"""

import json
import logging
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fcn.core.conf import conf_folder
from fcn.core.errors import UserError
from fcn.tools.processes import this_fcn

PLUGINS = {  # launcher -> package
    "submitit_local": "hydra-submitit-launcher",
    "submitit_slurm": "hydra-submitit-launcher",
    "joblib": "hydra-joblib-launcher",
    "ray": "hydra-ray-launcher",
}


class Launcher:
    """The launcher that ``words`` describe. Raises UserError, in one sentence, if its package is missing or a setting is wrong."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = sorted(words, key=lambda word: not word.startswith("hydra/launcher="))
        if not self.words[0].startswith("hydra/launcher="):
            raise UserError(
                f"{self.words[0]} is a setting of a launcher that is not chosen; choose it too, as hydra/launcher=submitit_local"
            )
        with _hydra():
            self._configuration("jobs")

    def __call__(self, calls: Sequence[Sequence[str]], folder: Path) -> list[int]:
        """Run ``fcn`` with each list of words and wait for all; returns their exit statuses. What the launcher keeps is in ``folder``.

        Raises RuntimeError where the launcher lost a job; the others have run.
        """
        from hydra._internal.callbacks import Callbacks
        from hydra.core.global_hydra import GlobalHydra
        from hydra.core.plugins import Plugins
        from hydra.types import HydraContext

        for name in ("hydra", "hydra_plugins"):  # they would list the jobs, each a row of hexadecimal digits
            logging.getLogger(name).setLevel(logging.WARNING)
        with _hydra():
            context = HydraContext(config_loader=GlobalHydra.instance().config_loader(), callbacks=Callbacks())
            launcher = Plugins.instance().instantiate_launcher(
                hydra_context=context, task_function=job, config=self._configuration(str(folder.absolute()))
            )
            try:
                jobs = launcher.launch([[f"+call={packed(call)}"] for call in calls], initial_job_idx=0)
                return [int(done.return_value) for done in jobs]
            except Exception as error:  # a launcher raises what its cluster does
                raise RuntimeError(f"{self.words[0]} lost a job: {' '.join(str(error).split())[:500]}") from error

    def _configuration(self, folder: str) -> Any:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf.errors import OmegaConfBaseException

        words = [*self.words, "hydra/hydra_logging=none", "hydra/job_logging=none", "hydra.output_subdir=null"]
        quoted = folder.replace("'", "\\'")
        words += [f"hydra.sweep.dir='{quoted}'", "hydra.sweep.subdir=."]
        loader = GlobalHydra.instance().config_loader()
        try:
            return loader.load_configuration(None, words, run_mode=RunMode.MULTIRUN)
        except (HydraException, OmegaConfBaseException) as error:
            raise UserError(self._wrong(error, loader.get_group_options("hydra/launcher"))) from error

    def _wrong(self, error: Exception, installed: list[str]) -> str:
        name = self.words[0].partition("=")[2]
        if name in installed:
            return f"{' '.join(self.words)}: {str(error).strip().splitlines()[0]}"
        package = PLUGINS.get(name)
        extra = ' (or "fcn-toolkit[submitit]")' if package == "hydra-submitit-launcher" else ""
        advice = f"pip install {package}{extra}" if package else f"known plugins: {', '.join(sorted(set(PLUGINS.values())))}"
        return f"hydra/launcher={name} is not installed; {advice} (installed here: {', '.join(installed)})"


def split_launcher(command: str, words: Sequence[str], *, several: bool) -> tuple[Launcher | None, list[str]]:
    """The launcher that some words of a call choose, if any, and the other words. several: whether the call has ``-m``.

    Raises UserError for a command that makes one run only, and as ``Launcher`` does.
    """
    chosen = [word for word in words if word.startswith(("hydra/launcher=", "hydra.launcher."))]
    if chosen and not (command == "compare" or (command == "train" and several)):
        raise UserError(f"{chosen[0]} is for what makes several runs: fcn compare and fcn train -m")
    return (Launcher(chosen) if chosen else None), [word for word in words if word not in chosen]


def job(configuration: Any) -> int:
    """The function that a launcher runs, on any machine: one call of ``fcn``. Returns the exit status."""
    return subprocess.run(**this_fcn(unpacked(configuration.call)), check=False).returncode


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra, initialised for our configuration."""
    from hydra import initialize_config_dir

    with initialize_config_dir(version_base="1.3", config_dir=str(conf_folder().resolve()), job_name="fcn"):
        yield


def packed(call: Sequence[str]) -> str:
    """Words as one value that Hydra's grammar leaves alone: an x, and hexadecimal digits."""
    return "x" + json.dumps(list(call)).encode().hex()


def unpacked(value: str) -> list[str]:
    return list(json.loads(bytes.fromhex(value[1:])))
