"""Append-only JSON lines that survive a kill: whole lines only."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast


class JsonLines:
    """A file of one JSON object a line."""

    def __init__(self, path: Path) -> None:
        """Sets where the file is; nothing is opened yet."""
        self.path = path

    def append(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Writes the records and flushes them to the disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # A model may write half a surrogate pair, which JSON can hold only escaped.
        with self.path.open("a", encoding="utf-8", errors="backslashreplace") as file:
            if file.tell() and not self._ends_with_newline():
                file.write("\n")
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
            file.flush()
            os.fsync(file.fileno())

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def read(self) -> list[dict[str, Any]]:
        """Returns the complete records; a line torn by a kill or a full disk is left out."""
        if not self.path.exists():
            return []
        records: list[dict[str, Any]] = []
        with self.path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    record: object = json.loads(line)
                except json.JSONDecodeError:
                    continue
                # A torn line may still be a number or a text.
                if isinstance(record, dict):
                    records.append(cast("dict[str, Any]", record))
        return records
