"""Prometheus: the metrics of a collector about itself."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fedtrack.collector.room import Room
from fedtrack.delivery.report import ReceiverTally


class Counted:
    """What a collector counts while it runs."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.messages: Counter[tuple[str, str]] = Counter()
        self.bytes: Counter[str] = Counter()
        self.sites: dict[str, set[str]] = {}

    def message(self, run: str, site: str, size: int, verdict: str) -> None:
        """Count a message of a site and its answer."""
        with self._lock:
            self.messages[run, verdict] += 1
            self.bytes[run] += size
            self.sites.setdefault(run, set()).add(site)


class _Families:
    """The metric families, in the form that prometheus_client asks for."""

    def __init__(self, counted: Counted, receivers: Mapping[str, list[ReceiverTally]], room: Room) -> None:
        self._counted = counted
        self._receivers = receivers
        self._room = room

    def collect(self) -> Iterator[Metric]:
        """Yield each family."""
        messages = CounterMetricFamily("fedtrack_messages", "Messages of sites.", labels=["run", "verdict"])
        for (run, verdict), count in sorted(self._counted.messages.items()):
            messages.add_metric([run, verdict], count)
        yield messages
        received = CounterMetricFamily("fedtrack_received_bytes", "Bytes of those messages.", labels=["run"])
        for run, count in sorted(self._counted.bytes.items()):
            received.add_metric([run], count)
        yield received
        sites = GaugeMetricFamily("fedtrack_sites", "Sites that have sent a message.", labels=["run"])
        for run, names in sorted(self._counted.sites.items()):
            sites.add_metric([run], len(names))
        yield sites
        for name, about in (
            ("delivered", "Events that it has."),
            ("pending", "Events that wait."),
            ("dead", "Refused."),
        ):
            family = GaugeMetricFamily(f"fedtrack_receiver_{name}_events", about, labels=["run", "receiver"])
            for run, tallies in sorted(self._receivers.items()):
                for one in tallies:
                    family.add_metric([run, one.label], getattr(one, name))
            yield family
        yield GaugeMetricFamily("fedtrack_open_runs", "Runs that are open.", len(self._receivers))
        yield GaugeMetricFamily("fedtrack_stored_bytes", "Bytes of the collector's files.", self._room.used)
        yield GaugeMetricFamily("fedtrack_free_bytes", "Free bytes on its disk.", self._room.free)
        yield GaugeMetricFamily(
            "fedtrack_full", "1 if it refuses messages for lack of room.", int(bool(self._room.full))
        )


def exposition(counted: Counted, receivers: Mapping[str, list[ReceiverTally]], room: Room) -> str:
    """Return the metrics in the text format of Prometheus.

    Args:
        counted: What was counted.
        receivers: How far the receivers of each open run have got.
        room: The disk space.
    """
    registry = CollectorRegistry()
    registry.register(_Families(counted, receivers, room))
    return generate_latest(registry).decode()
