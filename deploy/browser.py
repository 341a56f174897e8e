"""Sees to a Chromium for the browser tests and prints where it is.

In this order: one that is installed, Debian's package where we are root, Playwright's download.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def installed() -> str | None:
    """The path of an installed Chromium or Chrome, or None."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def _playwright_browser() -> str | None:
    """The path of Playwright's own Chromium when it has been downloaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    return path if os.path.exists(path) else None  # noqa: PTH110  (a plain string is asked for)


def _install_from_debian() -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    apt = ["apt-get", "-qq"]
    packages = ["--no-install-recommends", "chromium", "fonts-dejavu-core"]
    for command in ([*apt, "update"], [*apt, "install", "-y", *packages]):
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)


def find() -> str | None:
    """A Chromium that is already there."""
    return installed() or _playwright_browser()


def main() -> int:
    """Finds or installs one; 1 when that is not possible here."""
    path = find()
    if path is None and os.geteuid() == 0 and shutil.which("apt-get"):
        print("Installing Debian's Chromium for the browser tests.", flush=True)
        try:
            _install_from_debian()
        except subprocess.CalledProcessError as error:
            print(f"that failed: {error}", file=sys.stderr)
        path = find()
    if path is None:
        print("Downloading Playwright's Chromium for the browser tests.", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=False)
        path = find()
    if path is None:
        print("No Chromium could be found or installed: install one, then again.", file=sys.stderr)
        return 1
    print(f"Browser tests use {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
