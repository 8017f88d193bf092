"""Builds the documentation into `site/`: `python scripts/build_docs.py`, which `make docs` runs.

The pages are those of `docs/`, the README and the changelog; the API reference is made of the docstrings. Fails on a
broken link, a missing picture, a name that the reference does not know, and on anything in the pages that a browser
would load from the network.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

ROOT: Final = Path(__file__).parent.parent

PAGES: Final = ROOT / "build" / "docs"

SITE: Final = ROOT / "site"

_LINK_TO_README: Final = re.compile(r"\]\(\.\./README\.md")

_LINK_TO_DOCS: Final = re.compile(r"\]\(docs/")

_LINK: Final = re.compile(
    r"""<(?:a|link)\b[^>]*\shref=["']?([^"'\s>]+)|<(?:img|script|source)\b[^>]*\ssrc=["']?([^"'\s>]+)"""
)
"""What a page leads to, and what it shows or loads."""

_ANCHOR: Final = re.compile(r"""\sid=["']?([^"'\s>]+)""")

_FROM_THE_NETWORK: Final = re.compile(
    r"<(?:script|img|iframe|source|video|audio)\b[^>]*\ssrc=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\srel=[\"']?(?:stylesheet|preconnect|preload|icon|modulepreload)[^>]*\shref=[\"']?(?:https?:)?//[^>]*>"
    r"|<link\b[^>]*\shref=[\"']?(?:https?:)?//[^>]*\srel=[\"']?(?:stylesheet|preconnect|preload|icon|modulepreload)[^>]*>"
    r"|(?:@import|url\()\s*[\"']?(?:https?:)?//[^)\"';]*",
    re.IGNORECASE,
)
"""What a browser would load from another machine; links that a reader follows are none of it."""


def main() -> int:
    """Builds the site; returns the exit status."""
    gather_pages()
    shutil.rmtree(SITE, ignore_errors=True)
    built = subprocess.run([sys.executable, "-m", "zensical", "build", "--clean", "--strict"], cwd=ROOT, check=False)
    if built.returncode:
        return built.returncode
    found = [*broken_links(SITE), *loaded_from_the_network(SITE)]
    for each in found:
        print(f"error: {each}", file=sys.stderr)
    if not found:
        print(f"The documentation is {SITE / 'index.html'}.")
    return 1 if found else 0


def gather_pages() -> None:
    """Puts the pages together in one folder, with their links as they are there."""
    shutil.rmtree(PAGES, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    for page in PAGES.rglob("*.md"):
        page.write_text(_LINK_TO_README.sub("](overview.md", page.read_text(encoding="utf-8")), encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    (PAGES / "overview.md").write_text(_LINK_TO_DOCS.sub("](", readme), encoding="utf-8")
    shutil.copy(ROOT / "CHANGELOG.md", PAGES / "changes.md")
    shutil.copy(ROOT / "LICENSE", PAGES / "LICENSE")


def broken_links(site: Path) -> Iterator[str]:
    """Yields what the finished pages lead to or show and is not there; only the build knows the API reference."""
    # The page for what is not found is shown under any address, so its links begin at the root of the server.
    pages = {
        page.resolve(): page.read_text(encoding="utf-8") for page in site.rglob("*.html") if page.name != "404.html"
    }
    anchors = {page: set(_ANCHOR.findall(text)) for page, text in pages.items()}
    for page, text in pages.items():
        # A menu leads to the same page twice.
        for link in dict.fromkeys(unescape(match[1] or match[2]) for match in _LINK.finditer(text)):
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            known = anchors.get(target)
            if not target.exists() or (parts.fragment and known is not None and unquote(parts.fragment) not in known):
                yield f"broken link in {page.relative_to(site.resolve())}: {link}"


def loaded_from_the_network(site: Path) -> Iterator[str]:
    """Yields what the pages of a site would load from another machine, with the file that says so."""
    for file in sorted(site.rglob("*")):
        if file.suffix in {".html", ".css"}:
            text = file.read_text(encoding="utf-8")
            yield from (
                f"{file.relative_to(site)} loads from the network: {match[0]}"
                for match in _FROM_THE_NETWORK.finditer(text)
            )


if __name__ == "__main__":
    sys.exit(main())
