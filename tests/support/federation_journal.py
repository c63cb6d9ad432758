"""A journal of a federation, written batch by batch as sites and a server would."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from fedtrack.journal.journal import Journal
from fedtrack.spool import frames
from fedtrack.tracking.events import SERVER
from fedtrack.tracking.records import Metric, Record, Tag, TaskRecord, decode, encode


class FederationJournal:
    """One stream for each site and one for the server."""

    def __init__(self, path: Path) -> None:
        self.journal = Journal(path)
        self._last: Counter[str] = Counter()

    def stream(self, site: str) -> str:
        return site.encode().hex().rjust(32, "0")[-32:]

    def write(self, site: str, records: Iterable[Record], round: int | None = None) -> int:
        """Store records of a site and return the number of the last one."""
        stream, payloads = self.stream(site), [encode(record) for record in records]
        first = self._last[site] + 1
        self._last[site] += len(payloads)
        salt = frames.salt_of(stream)
        body = b"".join(frames.frame(seq, payload, salt) for seq, payload in enumerate(payloads, start=first))
        run = frames.FrameRange(first, self._last[site], len(payloads), body, round)
        self.journal.apply(site, stream, [run])
        return self._last[site]

    def log(self, site: str, round: int | None, step: int | None = None, **values: float) -> int:
        return self.write(site, [Metric(1, key, value, step) for key, value in values.items()], round)

    def ask(self, round: int | None, sites: Iterable[str], step: int | None = None) -> None:
        names = tuple(sites)
        step = round if step is None else step
        asked = TaskRecord(1, "train", round, step, names, (10**9,) * len(names), (), (), (), (), (), {}, {}, {})
        self.write(SERVER, [asked], round)

    def answer(
        self,
        round: int | None,
        returned: Mapping[str, Mapping[str, float]],
        *,
        step: int | None = None,
        errors: Mapping[str, str] | None = None,
        weights: Mapping[str, float] | None = None,
        ends: Mapping[str, int] | None = None,
    ) -> None:
        names = tuple(returned)
        keys = dict.fromkeys(key for metrics in returned.values() for key in metrics)
        record = TaskRecord(
            1,
            "train",
            round,
            round if step is None else step,
            names,
            (10**9,) * len(names),
            tuple((3 + index) * 10**9 for index in range(len(names))),
            (100,) * len(names),
            (50,) * len(names),
            tuple((weights or {}).get(site, 1.0) for site in names),
            tuple(1.0 + index / 2 for index in range(len(names))),
            {key: tuple(metrics.get(key) for metrics in returned.values()) for key in keys},
            dict(errors or {}),
            {self.stream(site): last for site, last in (ends or {}).items()},
        )
        self.write(SERVER, [record], round)

    def end(self, round: int) -> None:
        self.log(SERVER, round, round, **{"round/seconds": 1.0})

    def view(self) -> dict[tuple[str, int | None], list[float]]:
        """Return every value of the view by key and step, in the order of the journal."""
        found: dict[tuple[str, int | None], list[float]] = defaultdict(list)
        for record in self.records():
            if isinstance(record, Metric):
                found[record.key, record.step].append(record.value)
        return dict(found)

    def tags(self) -> list[tuple[str, str]]:
        return [(record.key, record.value) for record in self.records() if isinstance(record, Tag)]

    def records(self) -> list[Record]:
        own, found = self.stream(SERVER), []
        for batch in self.journal.read(0, 2**40):
            if batch.site == SERVER and batch.stream != own:
                found += [decode(payload) for _, payload in frames.split(batch.body)]
        return found  # type: ignore[return-value]


def across(view: Mapping[tuple[str, int | None], list[float]], key: str, step: int) -> dict[str, float]:
    """Return the statistics of one metric in one round; each may be there once."""
    found = {}
    for (name, at), values in view.items():
        metric, _, statistic = name.removeprefix("across_sites/").rpartition("/")
        if metric == key and at == step:
            (found[statistic],) = values
    return found


def same(a: float, b: float) -> bool:
    return a == b or (math.isnan(a) and math.isnan(b))
