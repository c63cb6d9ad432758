"""The page in a browser: Debian's chromium, driven by Playwright; skipped where there is none."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from fedtrack_ui.report import write_report
from fedtrack_ui.serve import PageServer
from support.journaled import JournaledRun
from support.venv import ROOT

from .conftest import HOSTILE, fill

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
#: Fetched by `python tools/vendor.py axe`.
AXE = ROOT / "build" / "axe.min.js"

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
    pytest.mark.slow,
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


def wait_until(page: Any, script: str, seconds: float = 30.0) -> None:
    """Wait until a script is true; Playwright's own waiting needs an `eval`, which the page's policy forbids."""
    until = monotonic() + seconds
    while not page.evaluate(script):
        assert monotonic() < until, script
        page.wait_for_timeout(50)


class Tab:
    """A tab, with what its console said and what it asked for."""

    def __init__(self, browser: Any, width: int = 1280, height: int = 800) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height})
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda said: self.said.append(said.text) if said.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))

    def open(self, url: str) -> Any:
        self.page.goto(url)
        self.page.wait_for_selector("#across .uplot")
        wait_until(self.page, "!page || page.settled")  # there is no page of one run in a comparison
        return self.page


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    found = Tab(browser)
    yield found
    found.context.close()


@pytest.fixture
def served(run: JournaledRun) -> Iterator[str]:
    """The address of the page over the run."""
    server, ready = PageServer(run.base, port=0), threading.Event()
    thread = threading.Thread(target=server.run, args=(ready.set,))
    thread.start()
    assert ready.wait(10)
    yield server.url
    server.stop()
    thread.join(10)


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (390, "dark")])
def test_the_page_says_no_error_fits_and_keeps_hostile_names_inert(
    browser: Any, run: JournaledRun, served: str, width: int, theme: str
) -> None:
    tab = Tab(browser, width, 844)
    page = tab.open(f"{served}#run={run.run_id}&theme={theme}")
    page.wait_for_selector("#steps svg")
    page.wait_for_selector(".acct b")
    for id_ in ("across", "matrix", "time", "delivery", "steps", "sites", "media", "params"):
        assert page.locator(f"#{id_} h2").count() == 1, id_
    assert page.locator(".answer").count() == 4
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    assert page.get_by_role("button", name=HOSTILE).count() == 1
    page.locator("#media summary", has_text="note").click()
    wait_until(page, "document.querySelector('#media pre').textContent === '<b>bold</b>'")
    assert page.evaluate("[...document.images].map(image => image.alt)") == ["digits of site-1 · round 0 · step 1"]
    assert page.evaluate("window.hacked") is None
    assert tab.said == []
    assert all(url.startswith((served, "data:")) for url in tab.asked)
    assert faults_by_axe(page) == []
    tab.context.close()


def test_the_values_at_the_pointer_and_under_the_arrow_keys(tab: Tab, run: JournaledRun, served: str) -> None:
    page = tab.open(f"{served}#run={run.run_id}&site=site-2")
    said = "round 2  ·  weighted mean 0.7100  ·  3 sites: 0.7000 (site-1) to 0.7200 (<img src=x oner…), median 0.7100"
    box = page.locator("#across .u-over").bounding_box()
    page.wait_for_selector("#steps svg")
    page.mouse.move(box["x"] + page.evaluate("page.chart.valToPos(2, 'x')"), box["y"] + 40)
    wait_until(page, "document.querySelector('#across .read').textContent.startsWith('round 2')")
    read = page.locator("#across .read").text_content()
    assert read.startswith(said)
    assert "site-2 0.7100" in read
    page.focus("#across .u-over")
    page.keyboard.press("End")
    assert page.locator("#across .read").text_content().startswith("round 3  ·  weighted mean 0.8100")
    page.keyboard.press("ArrowLeft")
    assert page.locator("#across .read").text_content().startswith(said)
    page.select_option("#matrix select[aria-label='Order of rows']", "name")
    page.focus("#matrix canvas")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowUp")
    assert "site-1 · round 3: 0.8000" in page.locator("#matrix .read").text_content()
    page.keyboard.press("Enter")
    assert "site-1" in page.url
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"


def test_a_logged_value_is_drawn_without_a_reload(tab: Tab, run: JournaledRun, served: str) -> None:
    page = tab.open(f"{served}#run={run.run_id}")
    page.wait_for_selector("#steps svg")
    run.log_values("site-1", "accuracy", [0.95], 4)
    wait_until(page, "page.chart.data[0].length === 5")
    assert tab.said == []


def test_a_report_is_read_without_a_server(tab: Tab, run: JournaledRun, tmp_path: Path) -> None:
    other = JournaledRun(tmp_path / "other", "b" * 32)
    fill(other)
    other.journal.close()
    write_report([run.base], tmp_path / "run.html")
    page = tab.open((tmp_path / "run.html").as_uri())
    page.wait_for_selector("#steps svg")
    page.select_option("#across select[aria-label=Metric]", "train_loss")
    wait_until(page, "document.querySelector('#across h2').textContent === 'Across sites: train_loss'")
    assert page.evaluate("document.images.length") == 1
    write_report([run.base, other.base], tmp_path / "both.html")
    page = tab.open((tmp_path / "both.html").as_uri())
    assert page.locator("#params").text_content().startswith("Parameters that differ")
    assert tab.said == []
    assert [url for url in tab.asked if not url.startswith(("file:", "data:"))] == []


def faults_by_axe(page: Any) -> list[Any]:
    """Return what axe-core finds; nothing where it was not fetched."""
    if not AXE.exists():
        return []
    page.evaluate(AXE.read_text())
    script = "axe.run().then(found => found.violations.map(v => [v.id, v.nodes.length, v.nodes[0].html]))"
    found: list[Any] = page.evaluate(script)
    return found
