"""The real parts that tests need beside Python: Chromium, PostgreSQL, Redis. `python -m` installs what is missing."""

import os
import shutil
import subprocess
from pathlib import Path

from playwright.sync_api import sync_playwright

_CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_HOW = {
    "chromium": "Chromium is missing: run “apt-get install chromium” (Debian) or “playwright install chromium”.",
    "postgresql": "PostgreSQL is missing: install it (Debian: apt-get install postgresql); its tests are skipped.",
    "redis-server": "Redis is missing: install it (Debian: apt-get install redis-server); its tests are skipped.",
}


def chromium() -> str | None:
    """Find a Chromium: the system's, or Playwright's own."""
    for name in _CHROMIUMS:
        if found := shutil.which(name):
            return found
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    return own if Path(own).exists() else None


def postgresql() -> Path | None:
    """Find the folder of PostgreSQL's server programs."""
    if found := shutil.which("initdb"):
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    return folders[-1].parent if folders else None


def redis() -> str | None:
    """Find Redis's server program."""
    return shutil.which("redis-server")


def missing() -> list[str]:
    """Name what is not there."""
    finders = {"chromium": chromium, "postgresql": postgresql, "redis-server": redis}
    return [name for name, find in finders.items() if find() is None]


def install(packages: list[str]) -> None:
    """Install Debian packages where that is possible."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return
    quiet = {"env": os.environ | {"DEBIAN_FRONTEND": "noninteractive"}, "stdout": subprocess.DEVNULL}
    subprocess.run(["apt-get", "update", "-q"], check=False, **quiet)
    subprocess.run(["apt-get", "install", "-q", "-y", *packages], check=False, **quiet)


if __name__ == "__main__":
    if packages := missing():
        print(f"Installing {', '.join(packages)} for the tests …")
        install(packages)
    for name in missing():
        print(_HOW[name])
