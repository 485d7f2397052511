"""What is read from source without importing is what importing finds."""

import pytest

from fcn.core.declared import declarations, declared_settings
from fcn.core.registry import KINDS, find, function_of, list_parts
from fcn.core.settings import settings_of


@pytest.mark.parametrize("module", sorted({module for kind in KINDS.values() for module in kind.modules}))
def test_declarations_are_those_of_the_imported_functions(module):
    found = declarations(module)
    assert found
    for declaration in found:
        part = find(declaration.kind, declaration.names[0])
        imported = [setting for setting in settings_of(function_of(part)) if setting.name not in declaration.facts]
        assert repr([s.__dict__ | {"ranges": [r.allowed for r in s.ranges]} for s in declaration.settings]) == repr(
            [s.__dict__ | {"ranges": [r.allowed for r in s.ranges]} for s in imported]
        )


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_parts_and_settings_that_can_be_read(kind):
    assert list_parts(kind)
    assert isinstance(declared_settings(KINDS[kind].common), tuple)
