"""A headless Chromium for tests of pages: how it is found, and a page that remembers what went wrong on it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")


def chromium() -> str:
    """Returns the path of a browser, or skips the test and says what it looked for."""
    asked = os.environ.get("CHROMIUM")
    found = shutil.which(asked) if asked else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        looked_for = f"CHROMIUM={asked}" if asked else f"{', '.join(NAMES)} on the PATH or CHROMIUM=PATH"
        pytest.skip(f"there is no browser: looked for {looked_for}")
    return found


@contextmanager
def browser() -> Iterator:
    """Holds a headless Chromium; skips the test where there is none or playwright is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = chromium()
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=path)
        try:
            yield opened
        finally:
            opened.close()


class Watched:
    """A page of a file, with everything on it that should not happen.

    Attributes:
        page: The page.
        complaints: Console messages, uncaught errors, dialogs, and requests for anything but the file itself.
    """

    def __init__(self, browser, file: Path, *, width: int = 1200, fragment: str = "", **options) -> None:
        """Opens the file in a window of this width."""
        self.complaints: list[str] = []
        self._address = file.resolve().as_uri()
        self._context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.page = self._context.new_page()
        self.page.on("console", lambda message: self.complaints.append(f"console: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.on("request", self._check)
        self.page.on("popup", lambda popup: self.complaints.append(f"popup: {popup.url}"))
        self.page.goto(self._address + fragment)

    def close(self) -> None:
        """Closes the window."""
        self._context.close()

    def _dismiss(self, dialog) -> None:
        self.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _check(self, request) -> None:
        if request.url.partition("#")[0] != self._address:
            self.complaints.append(f"request: {request.url}")
