"""What the building of the documentation refuses: links that lead nowhere, and anything from the network."""

import importlib.util

import pytest
from documents import ROOT

SCRIPT = importlib.util.spec_from_file_location("build_docs", ROOT / "scripts" / "build_docs.py")
assert SCRIPT is not None
assert SCRIPT.loader is not None
build_docs = importlib.util.module_from_spec(SCRIPT)
SCRIPT.loader.exec_module(build_docs)


@pytest.fixture
def site(tmp_path):
    """A site of two pages and a picture in which every link leads somewhere."""
    (tmp_path / "guide").mkdir()
    (tmp_path / "picture one.png").write_bytes(b"")
    (tmp_path / "guide" / "page.html").write_text('<h2 id="the-end">End</h2><a href="../index.html">back</a>')
    (tmp_path / "index.html").write_text(
        '<a class=x href="guide/page.html#the-end">end</a><a href=#top id=top>top</a><img src="picture%20one.png">'
        '<a href="https://example.com/x">elsewhere</a><a href="mailto:a@example.com">write</a>'
    )
    (tmp_path / "404.html").write_text('<a href="/of/the/server.html">start</a>')
    return tmp_path


def test_a_site_whose_links_lead_somewhere_has_no_broken_one(site):
    assert list(build_docs.broken_links(site)) == []


@pytest.mark.parametrize(
    ("written", "link"),
    [
        ('<a href="page.htm">x</a>', "page.htm"),
        ('<a title="a" href="page.html#The-end">x</a>', "page.html#The-end"),
        ("<a href=#nowhere>x</a>", "#nowhere"),
        ('<img alt="a" src="picture one.png">', "picture"),
        ('<img src="a.png?x=1&amp;y=2">', "a.png?x=1&y=2"),
        ('<script src="../missing.js"></script>', "../missing.js"),
        ('<link rel="stylesheet" href="../missing.css">', "../missing.css"),
    ],
)
def test_a_broken_link_is_told_once_with_its_page(site, written, link):
    page = site / "guide" / "page.html"
    page.write_text(page.read_text() + 2 * written)

    assert list(build_docs.broken_links(site)) == [f"broken link in guide/page.html: {link}"]


@pytest.mark.parametrize(
    ("name", "written", "is_loaded"),
    [
        ("index.html", '<script async src="https://example.com/a.js"></script>', True),
        ("index.html", '<link href="//example.com/a.css" rel="stylesheet">', True),
        ("index.html", '<link rel="canonical" href="https://example.com/">', False),
        ("index.html", '<img src="http://example.com/a.png">', True),
        ("index.html", '<a href="https://example.com/">read</a>', False),
        ("style.css", "@import url('https://example.com/font.css');", True),
        ("style.css", "a { background: url(data:image/png;base64,AA) }", False),
    ],
)
def test_what_a_browser_would_load_from_the_network_is_told(tmp_path, name, written, is_loaded):
    (tmp_path / name).write_text(written)

    found = list(build_docs.loaded_from_the_network(tmp_path))

    assert [each.startswith(f"{name} loads from the network: ") for each in found] == [True] * is_loaded


def test_pages_link_to_each_other_where_they_are_built(tmp_path, monkeypatch):
    monkeypatch.setattr(build_docs, "PAGES", tmp_path / "pages")

    build_docs.gather_pages()

    overview = (tmp_path / "pages" / "overview.md").read_text(encoding="utf-8")
    assert "](evaluation.md)" in overview
    assert "](docs/" not in overview
    evaluation = (tmp_path / "pages" / "evaluation.md").read_text(encoding="utf-8")
    assert "](overview.md#agents)" in evaluation
    assert {path.name for path in (ROOT / "docs").rglob("*.md")} <= {
        path.name for path in (tmp_path / "pages").rglob("*.md")
    }
