import tomllib

import pytest
from documents import ROOT, blocks_of, check_command, commands_of

README = (ROOT / "README.md").read_text(encoding="utf-8")

BLOCKS = blocks_of(README)

SNIPPETS = [text for language, text in BLOCKS if language == "python"]

COMMANDS = commands_of(README)


def output_below(snippet):
    """Returns the text block that follows a snippet at once, or with a sentence between, as what it prints."""
    following = BLOCKS.index(("python", snippet)) + 1
    return BLOCKS[following][1] if BLOCKS[following][0] == "text" else None


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_snippet_runs_and_prints_what_the_readme_says(snippet, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)

    exec(compile(snippet, "README.md", "exec"), {"__name__": "__main__"})

    expected = output_below(snippet)
    if expected is not None:
        assert capsys.readouterr().out == expected


@pytest.mark.parametrize("line", COMMANDS)
def test_command_names_what_exists(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    check_command(line)


def test_every_packaged_config_is_mentioned():
    from spiral_trl.run import config_names

    assert [name for name in config_names() if name not in README] == []


def test_every_extra_is_mentioned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert [
        extra for extra in project["optional-dependencies"] if f"`{extra}`" not in README and f"[{extra}]" not in README
    ] == []
