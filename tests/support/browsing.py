"""A browser without a window, driven by selenium, which reaches nothing but this machine."""

import shutil
from pathlib import Path

import pytest


def open_browser(profile: Path):
    """A driver of Chromium; its profile is a new folder. Skips if anything is missing."""
    pytest.importorskip("selenium", reason="selenium is not installed")
    paths = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
    for name, path in paths.items():
        if path is None:
            pytest.skip(f"{name} is not installed")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = paths["chromium"]
    for switch in (
        "headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
        "disable-background-networking", "disable-component-update", "disable-sync",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "window-size=900,900", f"user-data-dir={profile}",
    ):  # fmt: skip
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    # The driver is named, so that selenium looks for none elsewhere.
    return webdriver.Chrome(options, Service(executable_path=paths["chromedriver"]))
