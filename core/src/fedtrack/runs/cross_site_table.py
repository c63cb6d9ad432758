"""Cross-site table: a row for the data of each site, a column for each model, and one metric in the cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from rich.table import Table

#: More rows or columns do not fit a terminal; the results' file has them all.
MAX_SITES, MAX_MODELS = 20, 6

_Results: TypeAlias = Mapping[str, Mapping[str, Mapping[str, float | None]]]


def cross_site_table(results: _Results, key_metric: str, workflow: str = "") -> Table:
    """Return the table.

    Args:
        results: Metrics by data site and model owner; not empty.
        key_metric: The metric to show; if no site reports it, the first reported one.
        workflow: Id of the evaluation, for a job with several of them.
    """
    owners = list(dict.fromkeys(owner for models in results.values() for owner in models))
    metric = _shown_metric(results, key_metric)
    about = f" {workflow}" if workflow else ""
    title = f"Cross-site evaluation{about}: {metric}{_left_out(len(results), len(owners))}"
    table = Table(title=title, title_justify="left")
    table.add_column("data of")
    for owner in owners[:MAX_MODELS]:
        table.add_column(owner.removesuffix("_FL_global_model"), justify="right")
    for site, models in list(results.items())[:MAX_SITES]:
        table.add_row(site, *(_cell(models.get(owner), metric) for owner in owners[:MAX_MODELS]))
    return table


def _shown_metric(results: _Results, key_metric: str) -> str:
    reported = dict.fromkeys(name for models in results.values() for metrics in models.values() for name in metrics)
    return key_metric if key_metric in reported else next(iter(reported))


def _left_out(sites: int, models: int) -> str:
    if sites <= MAX_SITES and models <= MAX_MODELS:
        return ""
    return f" (first {min(sites, MAX_SITES)} of {sites} sites, {min(models, MAX_MODELS)} of {models} models)"


def _cell(metrics: Mapping[str, float | None] | None, metric: str) -> str:
    if metrics is None or metric not in metrics:
        return ""
    value = metrics[metric]
    return "not finite" if value is None else f"{value:.4f}"
