"""The records of a run: JSON lines of games and steps, each of them once."""

from __future__ import annotations

from spiral_envs import json_lines


class JsonLines(json_lines.JsonLines):
    """A file of one JSON object a line, every one with a `step`."""

    def rewind(self, step: int) -> None:
        """Keeps the records up to `step`; later ones, which will be played anew, move to a file beside it.

        That file has `.abandoned` in its name; nothing is deleted.
        """
        records = self.read()
        later = [record for record in records if record["step"] > step]
        kept = [record for record in records if record["step"] <= step]
        if later:
            JsonLines(self.path.with_suffix(".abandoned.jsonl")).append(later)
        if self.path.exists():
            rewritten = self.path.with_suffix(".rewritten")
            rewritten.unlink(missing_ok=True)
            JsonLines(rewritten).append(kept)
            rewritten.replace(self.path)
