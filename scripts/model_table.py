"""Prints the table of models, or writes it between its marks in README.md: python scripts/model_table.py [README.md]"""

import sys
from pathlib import Path

from fcn.studies.model_table import model_table, replaced


def main(path: str | None = None) -> None:
    table = model_table()
    if path is None:
        print(table)
        return
    file = Path(path)
    file.write_text(replaced(file.read_text(), table))


if __name__ == "__main__":
    main(*sys.argv[1:])
