"""The table of cross-site evaluation: it fits a terminal, and says what it leaves out."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from fedtrack.runs.cross_site_table import MAX_MODELS, MAX_SITES, cross_site_table


def shown(results: Any, key_metric: str = "accuracy") -> list[str]:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(cross_site_table(results, key_metric))
    return [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in capture.get().splitlines()]


def test_sites_data_are_rows_and_models_are_columns() -> None:
    results = {
        "site-1": {"SRV_FL_global_model": {"accuracy": 0.5}, "site-2": {"accuracy": 0.25}},
        "site-2": {"site-2": {"accuracy": 1 / 3}, "site-3": {"loss": 1.0}},
    }
    lines = shown(results)
    assert lines[0] == "Cross-site evaluation: accuracy"
    assert "data of SRV site-2 site-3" in lines
    assert "site-1 0.5000 0.2500" in lines
    assert "site-2 0.3333" in lines


def test_a_score_that_is_no_number_is_said() -> None:
    assert "a not finite" in shown({"a": {"b": {"accuracy": None}}})


@pytest.mark.parametrize("key_metric", ["", "f1"])
def test_where_nobody_reports_the_key_metric_the_first_one_is_shown(key_metric: str) -> None:
    lines = shown({"a": {"b": {}}, "c": {"b": {"loss": 2.0, "auc": 1.0}}}, key_metric)
    assert "Cross-site evaluation: loss" in " ".join(lines)
    assert "c 2.0000" in lines


def test_what_is_left_out_is_counted() -> None:
    results = {f"site-{n}": {f"model-{m}": {"a": 1.0} for m in range(MAX_MODELS + 1)} for n in range(MAX_SITES + 5)}
    lines = shown(results)
    assert f"(first {MAX_SITES} of {MAX_SITES + 5} sites, {MAX_MODELS} of {MAX_MODELS + 1} models)" in lines[0]
    assert sum(line.startswith("site-") for line in lines) == MAX_SITES
    exact = {f"s{n}": {f"m{m}": {"a": 1.0} for m in range(MAX_MODELS)} for n in range(MAX_SITES)}
    assert shown(exact)[0] == "Cross-site evaluation: a"


def test_one_of_several_evaluations_is_named() -> None:
    table = cross_site_table({"site-1": {"site-1": {"loss": 1.0}}}, "loss", "controller_2")
    assert table.title == "Cross-site evaluation controller_2: loss"
