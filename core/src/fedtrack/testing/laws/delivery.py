"""Laws about arrival: every record of every site arrives, once and in order."""

from __future__ import annotations

import pytest

from fedtrack.testing.laws.laws import OTHER_STREAM, SITE, Laws, batch, receive, series
from fedtrack.tracking.records import Metric

LATE_SITE = "site-9"


class DeliveryLaws(Laws):
    """The promises of ``receive``."""

    def test_every_point_arrives_exactly_once(self) -> None:
        """Without faults no point is lost and none is stored twice, including the last ones of the last batch."""
        self.needs(Metric)
        values = [i / 4 for i in range(57)]
        points = series("loss", values)
        self.deliver(*[batch(points[i : i + 10], first=i) for i in range(0, len(points), 10)])
        assert sorted(self.values("loss"), key=float_of) == values

    def test_order_is_kept_per_site_and_stream(self) -> None:
        """A series is shown in the order in which its site logged it, even if other sites log in between."""
        self.needs(Metric)
        sites = (SITE, "site-2")
        values = {site: [float(n * 100 + i) for i in range(12)] for n, site in enumerate(sites)}
        with self.opened() as receiver:
            for start in range(0, 12, 3):
                for site in sites:
                    points = series("loss", values[site][start : start + 3], first_step=start)
                    receive(receiver, batch(points, first=start, site=site))
        assert {site: self.values("loss", site=site) for site in sites} == values

    def test_a_site_that_was_never_seen_is_created(self) -> None:
        """A site that the job does not name appears with its first record, which is not lost."""
        self.needs(Metric)
        self.deliver(batch(series("loss", [0.5])), batch(series("loss", [1.5, 2.5]), site=LATE_SITE))
        assert self.values("loss", site=LATE_SITE) == [1.5, 2.5]
        assert self.values("loss") == [0.5]

    def test_streams_of_a_site_are_told_apart(self) -> None:
        """A site's second process numbers its records from 0 again; they are new records."""
        self.needs(Metric)
        first, second = series("loss", [0.5, 1.5]), series("loss", [2.5, 3.5], first_step=2)
        self.deliver(batch(first), batch(second, stream=OTHER_STREAM))
        assert self.values("loss") == [0.5, 1.5, 2.5, 3.5]

    def test_a_redelivered_batch_loses_nothing(self) -> None:
        """Delivery is at least once: a batch may come again, divided differently and followed by new records."""
        self.needs(Metric)
        points = series("loss", [i / 4 for i in range(12)])
        self.deliver(batch(points[:4]), batch(points[:8]), batch(points[6:], first=6))
        assert set(self.values("loss")) == {point.value for point in points}

    def test_a_redelivered_batch_adds_nothing(self) -> None:
        """An idempotent receiver stores no record twice, even if the second delivery is divided differently."""
        self.needs(Metric)
        self._needs_idempotence()
        points = series("loss", [i / 4 for i in range(12)])
        self.deliver(batch(points[:4]), batch(points[:4]), batch(points[2:8], first=2), batch(points[6:], first=6))
        assert self.values("loss") == [point.value for point in points]

    def test_a_redelivery_after_a_restart_adds_nothing(self) -> None:
        """A server that dies between storing a batch and moving its cursor delivers it again, to a new receiver."""
        self.needs(Metric)
        self._needs_idempotence()
        points = series("loss", [i / 4 for i in range(8)])
        self.deliver(batch(points[:6]))
        self.deliver(batch(points[2:], first=2))
        assert self.values("loss") == [point.value for point in points]

    def _needs_idempotence(self) -> None:
        if not self.idempotent:
            pytest.skip("the contract declares idempotent = False")


def float_of(value: object) -> float:
    """Return a stored metric's value, which must be a float."""
    assert isinstance(value, float), f"a metric came back as {value!r}"
    return value
