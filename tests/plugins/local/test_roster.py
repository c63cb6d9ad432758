"""Roster: who is alive, and when too few are."""

from __future__ import annotations

import logging
from collections.abc import Collection

import pytest

from fedtrack.errors import JobError, SiteError
from fedtrack_local.roster import Roster

NAMES = ["site-10", "site-2", "hospital"]


def roster(needed: int | None = None, mandatory: Collection[str] = ()) -> tuple[Roster, list[tuple[str, str]]]:
    told: list[tuple[str, str]] = []
    return Roster(NAMES, needed, mandatory, lambda site, reason: told.append((site, reason))), told


def test_the_living_are_in_the_jobs_order() -> None:
    found, _ = roster(needed=1)
    assert found.alive() == NAMES
    found.fail("site-2", SiteError("site-2", "it died"))
    assert found.alive() == ["site-10", "hospital"]


def test_all_are_needed_unless_the_job_says_otherwise() -> None:
    found, told = roster()
    with pytest.raises(JobError, match=r"site-2: it died. 2 of 3 sites are left, the job needs 3\.") as caught:
        found.fail("site-2", SiteError("site-2", "it died", "Traceback ..."))
    assert caught.value.details == "Traceback ..."
    assert told == [("site-2", "site-2: it died")]  # before the job fails, or nobody would hear of it


def test_the_job_goes_on_exactly_as_long_as_enough_are_left(caplog: pytest.LogCaptureFixture) -> None:
    found, _ = roster(needed=2)
    with caplog.at_level(logging.ERROR):
        found.fail("site-2", SiteError("site-2", "it died"))
    assert "site-2: it died; going on with 2 sites" in caplog.text
    with pytest.raises(JobError, match="1 of 3 sites are left, the job needs 2"):
        found.fail("hospital", SiteError("hospital", "it died"))


def test_a_mandatory_site_is_needed_however_many_are_left() -> None:
    found, _ = roster(needed=1, mandatory=["hospital"])
    found.fail("site-2", SiteError("site-2", "it died"))
    with pytest.raises(JobError, match=r"hospital: it died. The job needs this site \(mandatory_clients\)"):
        found.fail("hospital", SiteError("hospital", "it died"))


def test_the_first_reason_stays() -> None:
    found, told = roster(needed=1)
    found.fail("site-2", SiteError("site-2", "its result was not usable"))
    found.fail("site-2", SiteError("site-2", "it was killed"))
    assert str(found.failed["site-2"]) == "site-2: its result was not usable"
    assert len(told) == 1
