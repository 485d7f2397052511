"""Prints the table of operations, or writes it between its marks in a file.

python scripts/operation_table.py [docs/operations.md]
"""

import sys
from pathlib import Path

from fcn.tools.operation_table import operation_table
from fcn.tools.tables import replaced


def main(word: str | None = None) -> None:
    if word is None:
        print(operation_table())
    else:
        file = Path(word)
        file.write_text(replaced(file.read_text(), "operations", operation_table()))


if __name__ == "__main__":
    main(*sys.argv[1:])
