"""Whole recipes: ``fcn train experiment=NAME``, and ``fcn compare``, take the settings in ``conf/experiment/NAME.yaml``, or in a file of
the user's own.

A file is a mapping from settings to values, the keys written as on the command line (``optim.lr: 1e-3``). What stands on the command line
counts more than what stands in the file. Another word for a part also replaces the file's settings of that part, which is said.
"""

import logging
from pathlib import Path
from typing import Any

from fcn.cli.words import WrongCallError, parse, quoted, text_of
from fcn.core.conf import conf_folder, default_parts
from fcn.core.names import first_line, listed, suggest

log = logging.getLogger(__name__)

WITH_RECIPES = ("train", "compare")  # commands


def list_experiments() -> list[str]:
    """The names of the recipes that come with the toolkit."""
    return sorted(path.stem for path in (conf_folder() / "experiment").glob("*.yaml"))


def headline(name: str) -> str:
    """The first line of a recipe's file, which says what it trains."""
    return (conf_folder() / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")


def with_experiment(command: str, words: list[str]) -> list[str]:
    """``words`` with ``experiment=`` replaced by the words that it stands for. Raises WrongCallError for what is no recipe."""
    named = [word for word in words if word.partition("=")[0] == "experiment"]
    if not named or command not in WITH_RECIPES:
        return words
    if len(named) > 1 or "," in named[0]:
        raise WrongCallError(f"{' '.join(named)} names several recipes; give one, and start a run for each")
    given = [word for word in words if word not in named]
    name = text_of(parse(named)[0])
    file = experiment_file(name)
    theirs = {word.partition("=")[0].lstrip("+"): word.partition("=")[2] for word in given}
    if "resume" in theirs:
        raise WrongCallError(f"{named[0]} cannot be given with resume: the run goes on with its own settings")
    settings = mapping(file)
    replaced = {part for part in default_parts(command) if part in theirs and theirs[part] != settings.get(part)}
    taken, left = [], []
    for key, value in settings.items():
        part = key.partition(".")[0]
        if part in replaced and key != part:
            left.append(key)
        elif key not in theirs:
            taken.append(f"{key}={written(key, value, file)}")
    if left:
        log.warning(
            "note: %s without its %s, of another %s", named[0], listed(left, 8), listed(sorted({key.split(".")[0] for key in left}), 8)
        )
    return [*taken, *given]


def experiment_file(name: str) -> Path:
    """The file of a recipe's name, or the file that ``name`` is the path of. Raises WrongCallError where there is none."""
    if name in list_experiments():
        return conf_folder() / "experiment" / f"{name}.yaml"
    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    raise WrongCallError(f"experiment={name} is no recipe, and no file of your own that ends in .yaml; {suggest(name, list_experiments())}")


def mapping(file: Path) -> dict[str, Any]:
    """The settings in a recipe's file. Raises WrongCallError, with what is wrong, for a file that holds anything else."""
    from yaml import YAMLError, safe_load

    try:
        found = safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeError, YAMLError) as error:
        raise WrongCallError(f"experiment={file} cannot be read: {first_line(error)}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise WrongCallError(f"experiment={file} holds no settings; write one a line, as 'epochs: 50' or 'optim.lr: 0.001'")
    return found


def written(key: str, value: Any, file: Path) -> str:
    """A value of the file as it is written on the command line."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, list):
        return f"[{','.join(written(key, item, file) for item in value)}]"
    if isinstance(value, dict):
        if key in default_parts("train") or any(not isinstance(each, str | int | float) for each in value.values()):
            raise WrongCallError(
                f"experiment={file}: '{key}:' holds settings below it; write each on a line, as '{key}.{next(iter(value))}: ...'"
            )
        return f"{{{','.join(f'{name}:{quoted(str(each))}' for name, each in value.items())}}}"
    return quoted(value) if isinstance(value, str) and not value.replace("_", "").replace(".", "").isalnum() else str(value)
