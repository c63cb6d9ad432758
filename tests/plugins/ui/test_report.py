"""The report: one file with everything in it, in which no text of a run can become a script."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack_ui.report import write_report
from support.journaled import JournaledRun

from .conftest import HOSTILE, fill


def data_in(text: str) -> dict[str, object]:
    found = re.search(r'id="report-data">(.*?)</script>', text, re.DOTALL)
    assert found
    data: dict[str, object] = json.loads(found[1])
    return data


def test_a_report_is_one_file_with_what_the_page_asks_for(run: JournaledRun, tmp_path: Path) -> None:
    output = tmp_path / "run.html"
    assert write_report([run.base], output) == output.stat().st_size < 1_000_000
    text = output.read_text()
    base = f"/api/runs/{run.run_id}"
    data = data_in(text)
    for path in (
        base,
        f"{base}/counts",
        f"{base}/across?metric=accuracy&axis=round",
        f"{base}/stream?metric=train_loss",
    ):
        assert path in data
    assert data["start"] == {"run": run.run_id}
    assert not re.findall(r'(?:src|href)="(?!#|data:)', text.replace("https://", "")), "nothing is fetched"


def test_scripts_and_styles_are_allowed_by_their_hashes_only(run: JournaledRun, tmp_path: Path) -> None:
    write_report([run.base], tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy
    assert "unsafe" not in policy[1]
    for element in ("script", "style"):
        content = text.rpartition(f"<{element}>")[2].partition(f"</{element}>")[0]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{element}-src &#x27;sha256-{digest}&#x27;" in policy[1]


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    run = JournaledRun(tmp_path / "ws")
    fill(run)
    run.log_values("</script><script>alert(1)</script>", "accuracy", [0.1], 0)
    run.journal.close()
    write_report([run.base], tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text()
    assert HOSTILE not in text
    assert "<script>alert" not in text
    assert text.count("</script>") == 2


def test_two_runs_are_compared_and_one_run_with_itself_is_not(run: JournaledRun, tmp_path: Path) -> None:
    other = JournaledRun(tmp_path / "other", "b" * 32)
    fill(other)
    other.journal.close()
    write_report([run.base, other.base], tmp_path / "both.html")
    assert data_in((tmp_path / "both.html").read_text())["start"] == {"compare": f"{run.run_id}\n{other.run_id}"}
    with pytest.raises(ConfigError, match="the same run"):
        write_report([run.base, run.base], tmp_path / "same.html")
    with pytest.raises(ConfigError, match="holds no run"):
        write_report([tmp_path / "nowhere"], tmp_path / "none.html")
