"""The tables in the documents are those that the package gives now."""

import importlib.util
import sys

import pytest
from documents import ROOT

SCRIPT = importlib.util.spec_from_file_location("write_tables", ROOT / "scripts" / "write_tables.py")
assert SCRIPT is not None
assert SCRIPT.loader is not None
write_tables = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(write_tables)


@pytest.mark.parametrize("document", list(write_tables.TABLES))
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="the tables say what Python 3.11 sees")
def test_tables_are_up_to_date(document):
    written = (ROOT / document).read_text(encoding="utf-8")

    assert written == write_tables.with_tables(document), "run python scripts/write_tables.py"
