"""Take the pictures of docs/images: a job of six unequal sites, as TensorBoard and MLflow show it, in Chromium.

    python tools/screenshots.py WORKSPACE

WORKSPACE is that of a run of examples/fedtrack_examples/hello-pt-mlflow, such as

    python job.py --n-clients 6 --num-rounds 8 --partition dirichlet --alpha 0.3 -w WORKSPACE

It needs Playwright for Python and Debian's package of Chromium. Look at the pictures before you commit them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

IMAGES = Path(__file__).parents[1] / "docs" / "images"
#: Both pages draw their charts some seconds after they have loaded.
DRAW_MS = 15_000
START_SECONDS = 180


def main() -> None:
    """Take every picture."""
    folder = Path(sys.argv[1]).absolute() / "server" / "simulate_job"
    if not folder.is_dir():
        folder = max(Path(sys.argv[1]).absolute().glob("runs/*/server/simulate_job"))
    IMAGES.mkdir(exist_ok=True)
    database = f"sqlite:///{folder / 'mlflow.db'}"
    with import_module("playwright.sync_api").sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        with served(["tensorboard", "--logdir", str(folder / "tb_events"), "--port"]) as url:
            take(browser, f"{url}/#custom_scalars", "tensorboard-bands.png", "text=Across sites")
        with served(["mlflow", "ui", "--workers", "1", "--backend-store-uri", database, "--port"]) as url:
            take(browser, f"{url}/{mlflow_page(database)}", "mlflow-bands.png", "svg.main-svg", close="Close")
        browser.close()


def mlflow_page(database: str) -> str:
    """Return the address of the charts of the job's run."""
    from mlflow import MlflowClient

    client = MlflowClient(database)
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id]):
            if "mlflow.parentRunId" not in run.data.tags and run.data.metrics:
                return f"#/experiments/{experiment.experiment_id}/runs/{run.info.run_id}/model-metrics"
    raise SystemExit(f"{database} has no run of a job")


@contextlib.contextmanager
def served(command: list[str]) -> Iterator[str]:
    """Run a server of the environment's programs on a free port, and yield its address once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = str(Path(sys.executable).parent / command[0])
    process = subprocess.Popen([program, *command[1:], str(port)], stderr=subprocess.DEVNULL, start_new_session=True)
    url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_SECONDS
    try:
        while True:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(url, timeout=5).close()
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start")
            time.sleep(0.5)
        yield url
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait()


def take(browser: Any, url: str, name: str, drawn: str, close: str = "") -> None:
    """Take a picture of a page once its charts are drawn.

    Args:
        browser: The browser.
        url: The page.
        name: The picture's file.
        drawn: What the page has when its charts are there, as a selector.
        close: The name of the button that closes what lies beside the charts.
    """
    page = browser.new_page(viewport={"width": 1280, "height": 695})
    page.goto(url, timeout=120_000)
    page.locator(drawn).first.wait_for(timeout=300_000)
    page.wait_for_timeout(DRAW_MS)
    if close:
        with contextlib.suppress(Exception):  # it is not shown every time
            page.get_by_role("button", name=close).last.click(timeout=5_000)
            page.wait_for_timeout(DRAW_MS)
    page.screenshot(path=IMAGES / name)
    page.close()
    print(IMAGES / name, (IMAGES / name).stat().st_size, "bytes")


if __name__ == "__main__":
    main()
