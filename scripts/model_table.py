"""Prints the table of models, or writes it between its marks in a file.

    python scripts/model_table.py [README.md | models=NAME,...]

``models=``: print the lines of these only.
"""

import sys
from pathlib import Path

from fcn.tools.model_table import model_table
from fcn.tools.tables import replaced


def main(word: str | None = None) -> None:
    if word is None or word.startswith("models="):
        print(model_table(word.removeprefix("models=").split(",")) if word else model_table())
        return
    file = Path(word)
    file.write_text(replaced(file.read_text(), "models", model_table()))


if __name__ == "__main__":
    main(*sys.argv[1:])
