"""docs/operations.md is the table of the code, and says what the code does."""

from dataclasses import replace
from pathlib import Path

import torch

from fcn.graph.ops import TABLE
from fcn.tools.operation_table import operation_table
from fcn.tools.tables import replaced

DOCUMENT = Path(__file__).parent.parent.parent / "docs" / "operations.md"


def test_the_document_is_up_to_date():
    """Where this fails: python scripts/operation_table.py docs/operations.md."""
    text = DOCUMENT.read_text()
    assert replaced(text, "operations", operation_table()) == text


def test_every_operation_has_its_line_and_what_is_added_shows(monkeypatch):
    lines = DOCUMENT.read_text().splitlines()
    assert all(sum(f"`{name}`" in line for line in lines) == 1 for name in TABLE)
    monkeypatch.setitem(TABLE, "mine", replace(TABLE["conv2d"], macs=None))
    assert "| `mine`" in operation_table()


def test_entries_are_of_atens_operations_and_know_its_views():
    for name in TABLE.keys() - {"getitem"}:
        packet = getattr(torch.ops.aten, name)
        returns = [value for form in packet.overloads() for value in getattr(packet, form)._schema.returns]
        views = any(value.alias_info is not None and not value.alias_info.is_write for value in returns)
        assert TABLE[name].alias or not views, name
