"""From the words of a call to the checked configuration of a command.

``words.py`` splits the words, ``reading.py`` checks them, ``tree.py`` holds the schemas, ``saved.py`` reads the settings of an earlier run,
and ``comparing.py`` makes several configurations of one call.
"""

from pathlib import Path
from typing import Any

from fcn.cli.comparing import comparison, resume_comparison
from fcn.cli.experiments import with_experiment
from fcn.cli.reading import read
from fcn.cli.saved import resume
from fcn.cli.tree import built
from fcn.cli.words import WrongCallError, check_brackets, text_of, values
from fcn.core.conf import default_parts
from fcn.core.names import saying_settings


@saying_settings()
def compose(command: str, words: list[str]) -> Any:
    """The checked configuration of a command: an object of ``fcn.tools.COMMANDS[command]``. Raises WrongCallError."""
    words = with_experiment(command, words)
    unchosen = [f"{part}=null" for part, word in default_parts(command).items() if word == "null"]
    given, overrides = read(command, [word for word in words if word not in unchosen])
    for override in overrides:
        if override.is_sweep_override():
            listed = f"; [{','.join(values(override))}] compares them" if command == "compare" else ""
            raise WrongCallError(f"{override.input_line} gives several values; add -m for one run of each{listed}")
    resumed = [override for override in overrides if override.key_or_group == "resume" and override.value() is not None]
    if resumed:
        folder = Path(text_of(resumed[0]))
        return resume_comparison(folder, overrides) if command == "compare" else resume(command, folder, overrides)
    settings = build(command, [override.input_line for override in overrides])
    check_brackets(given, overrides)
    return settings


@saying_settings()
def build(command: str, overrides: list[str]) -> Any:
    """The checked configuration that full settings stand for. Raises WrongCallError."""
    return comparison(overrides) if command == "compare" else built(command, overrides)
