"""Every page in docs/: its Python blocks run in order as one program and print what stands below them."""

import subprocess
import sys

import pytest
from documents import ROOT, blocks_of, check_command, commands_of

PAGES = {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md"))}

COMMANDS = sorted({line for page in PAGES.values() for line in commands_of(page)})

LINE = "=" * 20 + " end of block"


@pytest.mark.parametrize("name", [name for name, page in PAGES.items() if "```python" in page])
def test_blocks_run_in_order_and_print_what_the_page_says(name, tmp_path):
    blocks = blocks_of(PAGES[name])
    snippets = [text for language, text in blocks if language == "python"]
    program = tmp_path / "page.py"
    program.write_text("".join(f"{snippet}\nprint({LINE!r})\n" for snippet in snippets), encoding="utf-8")

    done = subprocess.run([sys.executable, program], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    printed = iter(done.stdout.split(f"{LINE}\n"))
    for (language, _), following in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language == "python":
            assert next(printed) == (following[1] if following[0] == "text" else "")


@pytest.mark.parametrize("line", COMMANDS)
def test_command_names_what_exists(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    check_command(line)
