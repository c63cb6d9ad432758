"""What people read of a tally: the same words everywhere, and a question mark for what nobody knows."""

from __future__ import annotations

from fedtrack.delivery.report import ReceiverTally
from fedtrack.runs.tally import SiteTally
from fedtrack.runs.tally_rows import grouped_sites, receiver_rows, site_rows


def test_a_column_is_there_when_it_says_something() -> None:
    sites = {"a": SiteTally(40, 40, in_spool=0, lost=0), "b": SiteTally(None, 1_000, dropped=7, in_spool=0, lost=0)}
    assert site_rows(sites) == [
        {"site": "a", "logged": "40", "journaled": "40", "dropped": "0"},
        {"site": "b", "logged": "?", "journaled": "1,000", "dropped": "7"},
    ]
    assert [*site_rows({"a": sites["a"]}, always=("in spool",))[0]] == ["site", "logged", "in spool", "journaled"]


def test_a_receiver_has_taken_so_many_of_so_many() -> None:
    receiver = ReceiverTally("mlflow", "server", 38, {}, 0, 1, skipped_total=2, addressed=41)
    assert receiver_rows({"mlflow": receiver}, always=("delivered",)) == [
        {"receiver": "mlflow", "delivered": "38", "skipped": "2", "pending": "1", "of": "41"}
    ]


def test_of_many_sites_only_those_with_something_to_say_have_a_line() -> None:
    sites = {f"site-{index}": SiteTally(2, 2, in_spool=0, lost=0) for index in range(30)}
    sites |= {"server": SiteTally(5, 5), "site-7": SiteTally(3, 2, in_spool=1, lost=0)}
    shown = grouped_sites(sites, 20)
    assert [*shown] == ["29 sites", "server", "site-7"] or [*shown] == ["29 sites", "site-7", "server"]
    assert (shown["29 sites"].logged, shown["29 sites"].journaled) == (58, 58)
    assert grouped_sites(sites, 40) == sites
