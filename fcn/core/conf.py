"""The configuration files: where they are, and each command's default parts."""

import re
from functools import cache
from pathlib import Path


def conf_folder() -> Path:
    """The configuration files: inside the installed package, or beside it in a checkout."""
    inside = Path(__file__).parents[1] / "conf"
    return inside if inside.is_dir() else Path(__file__).parents[2] / "conf"


@cache
def default_parts(file: str) -> dict[str, str]:
    """The default word of each kind of part: from the defaults list of ``conf/FILE.yaml``, and of the files that it names."""
    text = (conf_folder() / f"{file}.yaml").read_text()
    found: dict[str, str] = {}
    for name, word in re.findall(r"^\s+- (\w+)(?:: (\S+))?", text.split("_self_", 1)[0], flags=re.MULTILINE):
        if word:
            found[name] = word
        elif (conf_folder() / f"{name}.yaml").is_file():
            found |= default_parts(name)
    return found
