"""Screenshots: the pictures of docs/ui.md, of runs in a folder, taken by Debian's chromium.

    python tools/ui_screenshots.py FOLDER NAME [FRAGMENT] [WIDTHxHEIGHT]

writes docs/images/NAME.png of the newest run in the folder. Look at it before you commit it.
"""

from __future__ import annotations

import shutil
import sys
import threading
from pathlib import Path

from playwright.sync_api import sync_playwright

from fedtrack_ui.places import runs_below
from fedtrack_ui.serve import PageServer

IMAGES = Path(__file__).parents[1] / "docs" / "images"


def main(folder: str, name: str, fragment: str = "", size: str = "1280x900") -> None:
    """Take one picture."""
    width, height = map(int, size.split("x"))
    run = next(iter(runs_below(Path(folder))))
    server, ready = PageServer(Path(folder), port=0), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    ready.wait(10)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": width, "height": height})
            page.goto(f"{server.url}#run={run}&{fragment}")
            page.wait_for_selector("#steps svg")
            page.wait_for_selector(".acct b")
            page.wait_for_timeout(500)
            IMAGES.mkdir(exist_ok=True)
            page.screenshot(path=IMAGES / f"{name}.png")
            browser.close()
    finally:
        server.stop()
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
