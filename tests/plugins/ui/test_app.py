"""What each address of the page returns."""

from __future__ import annotations

import json
import math
from time import monotonic
from typing import Any

import pytest
from starlette.testclient import TestClient

from support.journaled import JournaledRun

from .conftest import HOSTILE, PICTURE, SITES


def asked(client: TestClient, run: JournaledRun, rest: str = "", **query: Any) -> Any:
    answer = client.get(f"/api/runs/{run.run_id}{rest}", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_the_list_has_state_and_last_value(client: TestClient, run: JournaledRun) -> None:
    found = client.get("/api/runs").json()
    (row,) = found["runs"]
    assert (row["name"], row["state"], row["key"], row["rounds"]) == (run.run_id, "completed", "accuracy", 4)


def test_a_run_has_answers_rounds_sites_and_parameters(client: TestClient, run: JournaledRun) -> None:
    found = asked(client, run)
    assert [one["question"] for one in found["answers"]] == [
        "Is it learning?",
        "Does a site stand out?",
        "Where does time go?",
    ]
    assert found["answers"][0]["short"] == "accuracy 0.8100"
    assert [one["end"] - one["start"] for one in found["time"]["rounds"]] == [30.0] * 4
    assert {one["site"] for one in found["sites"]} == set(SITES)
    by = {one["key"]: one for one in found["params"]}
    assert by["batch"] == {"key": "batch", "same": True, "value": 32, "sites": 3}
    assert by["lr"]["by"][HOSTILE] == pytest.approx(0.3)
    assert next(iter(by)) == "lr", "what differs comes first"
    assert [one["kind"] for one in found["items"]] == ["artifact", "histogram", "text", "image"]


def test_a_metric_over_all_sites(client: TestClient, run: JournaledRun) -> None:
    found = asked(client, run, "/across", metric="accuracy")
    assert found["sites"] == list(SITES)
    assert found["places"]["mean"] == [0.51, 0.61, 0.71, 0.81]
    assert found["server"] == [0.51, 0.61, 0.71, 0.81]
    assert found["values"][2] == [0.52, 0.62, 0.72, 0.82]
    assert found["laggard"] == "site-1"


def test_a_series_step_by_step(client: TestClient, run: JournaledRun) -> None:
    found = asked(client, run, "/stream", metric="train_loss", site=["site-1", HOSTILE])
    assert set(found["series"]) == {"site-1", HOSTILE}
    one = found["series"]["site-1"]
    assert (one["points"], one["x0"][0], one["x1"][-1], one["first"][1]) == (80, 0, 79, 1.0)


def test_values_that_json_does_not_have_travel_by_name(client: TestClient, run: JournaledRun) -> None:
    run.log_values("site-1", "odd", [math.nan, math.inf, -math.inf], 0)
    found = asked(client, run, "/stream", metric="odd", site="site-1")
    assert found["series"]["site-1"]["first"] == ["NaN", "Infinity", "-Infinity"]
    assert asked(client, run, "/across", metric="odd")["odd"] == [[0, "site-1", "-Infinity"]]


def test_counts_say_what_became_of_every_call(client: TestClient, run: JournaledRun) -> None:
    found = asked(client, run, "/counts")
    assert found["totals"]["journaled"] == run.journal.total()
    assert found["answer"]["short"] == "Nothing lost"
    assert found["sites"]["site-1"]["journaled"] == run.journal.counts()["site-1"]


def test_a_logged_value_is_there_within_two_seconds(client: TestClient, run: JournaledRun) -> None:
    asked(client, run)
    run.log_values("site-2", "fresh", [7.0], 3)
    until = monotonic() + 2
    while monotonic() < until:
        if any(one["key"] == "fresh" for one in asked(client, run)["metrics"]):
            return
    pytest.fail("the value was not shown")


def test_images_texts_histograms_and_files_are_read_from_the_journal(client: TestClient, run: JournaledRun) -> None:
    items = {one["kind"]: one["id"] for one in asked(client, run)["items"]}
    answers = {kind: client.get(f"/api/runs/{run.run_id}/items/{id_}") for kind, id_ in items.items()}
    assert answers["image"].content == PICTURE
    assert answers["image"].headers["content-type"] == "image/png"
    assert answers["text"].text == "<b>bold</b>"
    assert answers["text"].headers["content-type"] == "text/plain; charset=utf-8"
    assert json.loads(answers["histogram"].text) == {"edges": [0.0, 1.0, 2.0], "counts": [3.0, 5.0]}
    assert answers["artifact"].headers["content-disposition"] == 'attachment; filename="b.bin"'


def test_models_are_downloaded_by_name_only(client: TestClient, run: JournaledRun) -> None:
    folder = run.folder / "app_server"
    folder.mkdir()
    (folder / "FL_global_model.safetensors").write_bytes(b"model")
    (folder / "other.txt").write_bytes(b"other")
    base = f"/api/runs/{run.run_id}/models/"
    assert client.get(f"{base}FL_global_model.safetensors").content == b"model"
    for name in ("other.txt", "..%2frun.json", "%2e%2e%2frun.json"):
        assert client.get(base + name).status_code == 404


@pytest.mark.parametrize("path", ["/api/runs/unknown", "/static/../app.py", "/static/guard.py", "/api/runs/x/items/1"])
def test_what_is_not_there_is_said_so(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404


def test_every_file_that_the_page_names_is_served(client: TestClient) -> None:
    page = client.get("/").text
    names = [part.split('"')[0] for part in page.split('="/static/')[1:]]
    assert len(names) > 10
    for name in names:
        assert client.get(f"/static/{name}").status_code == 200


def test_a_run_that_is_only_read_is_not_changed_but_for_its_view(client: TestClient, run: JournaledRun) -> None:
    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in run.folder.glob("*") if path.is_file()}

    before = files()
    for rest in ("", "/counts", "/across"):
        asked(client, run, rest)
    after = files()
    assert {name for name in after if after[name] != before.get(name) and not name.startswith("view.db")} <= {
        "journal.db-shm"  # SQLite's own, which any reader of the journal touches
    }
