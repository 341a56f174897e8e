"""The Chromium of the browser tests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "deploy"))
import browser as chromium


@contextmanager
def launched_browser() -> Iterator[Browser]:
    """The installed one (`make browser`), without a window."""
    flags = ["--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    if os.geteuid() == 0:
        flags.append("--no-sandbox")
    with sync_playwright() as playwright:
        instance = playwright.chromium.launch(executable_path=chromium.find(), args=flags)
        yield instance
        instance.close()
