"""Answers: what is asked in the first five seconds, as sentences with numbers. They stand above every chart.

They are always about the job's key metric, not about the one that is being looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from fedtrack.runs import Tally
from fedtrack_ui.across import Across
from fedtrack_ui.departure import Departure
from fedtrack_ui.quantiles import median
from fedtrack_ui.standing import Standings
from fedtrack_ui.timeline import SITES_WITH_PROCESSES, Timeline
from fedtrack_ui.words import clipped, names, number, plural, seconds

#: A metric is flat if it moved by less than this share of its range.
_FLAT = 0.01
_RECENT = 5


class Answer(NamedTuple):
    """An answer.

    Attributes:
        question: What is asked.
        short: The answer, in a few words.
        detail: The numbers behind it, in a sentence.
        mood: ``ok``, ``warn``, ``bad`` or "".
        panel: The panel that shows more.
        metric: The metric to look at there, or "".
        site: The site to look at there, or "".
    """

    question: str
    short: str
    detail: str
    mood: str = ""
    panel: str = ""
    metric: str = ""
    site: str = ""


def learning(metric: str, found: Across | None) -> Answer:
    """Say whether the key metric gets better."""
    question = "Is it learning?"
    if found is None or not metric:
        return Answer(question, "Nothing to see yet", "No metric has arrived.", panel="across")
    low = found.low
    values = _course(found)
    if not values:
        return Answer(question, "No value yet", f"{metric} has no finite value.", "warn", "across", metric)
    best = min(values, key=lambda pair: pair[1] if low else -pair[1])
    last = values[-1]
    what = "round" if found.axis == "round" else found.axis
    parts = ["The best so far" if best[0] == last[0] else f"Best {number(best[1])} in {_named(best[0], found)}"]
    if len(values) > _RECENT:
        moved = last[1] - values[-1 - _RECENT][1]
        width = max(value for _, value in values) - min(value for _, value in values)
        sign = "+" if moved > 0 else "-"
        flat = abs(moved) <= width * _FLAT
        parts.append(f"flat for {_RECENT} {what}s" if flat else f"{sign}{number(abs(moved))} in {_RECENT} {what}s")
    if (fall := _worst_step(values, low=low)) is not None:
        parts.append(f"{'rose' if low else 'fell'} by {number(fall[1])} in {_named(fall[0], found)}")
    return Answer(question, f"{metric} {number(last[1])}", "; ".join(parts) + ".", "", "across", metric)


def _course(found: Across) -> list[tuple[int, float]]:
    """Return (place, value) of the server's values or, without them, of the mean over the sites."""
    own = [value is not None and value == value for value in found.server]
    line = found.server if any(own) else [place.mean for place in found.places]
    values = [(at, value) for at, value in enumerate(line) if value is not None and abs(value) < float("inf")]
    if found.final is not None and found.final == found.final:
        values.append((len(line), found.final))
    return values


def _named(at: int, found: Across) -> str:
    if at >= len(found.x):
        return "the final model"
    return f"round {at}" if found.axis == "round" else f"{found.axis} {found.x[at]:,}"


def _worst_step(values: Sequence[tuple[int, float]], *, low: bool) -> tuple[int, float] | None:
    """Return the largest step in the wrong direction, if it is a large part of the range."""
    width = max(value for _, value in values) - min(value for _, value in values)
    steps = [(after[0], (after[1] - before[1]) * (1 if low else -1)) for before, after in pairwise(values)]
    worst = max(steps, key=lambda step: step[1], default=None)
    return worst if worst is not None and worst[1] > width * 0.15 else None


def standing_out(found: Standings | None, departed: Departure | None, *, low: bool = False) -> Answer:
    """Say which sites failed, are silent, lag, are slow, or once left the others."""
    question = "Does a site stand out?"
    if found is None or not found.sites:
        return Answer(question, "Waiting", "No site has logged anything.", panel="sites")
    failed = [one.site for one in found.sites if one.error]
    silent = [one.site for one in found.sites if one.silent]
    trouble = [f"{names(sites)} {what}" for sites, what in ((failed, "failed"), (silent, "silent")) if sites]
    rest = [] if departed is None else [_departed(departed)]
    rest += _lagging(found, low=low)
    slow = [one.site for one in found.sites if one.is_slow and not one.error and one.site != found.laggard]
    if slow:
        rest.append(f"{names(slow)} slow")
    if not rest:
        flat = found.is_flat and len(found.sites) > 1
        rest = ["All report the same values: they score the same data" if flat else "None is far from the others"]
    mood = "bad" if failed else "warn" if silent else ""
    detail = "; ".join(rest) + "."
    short = ", ".join(trouble) or ("All take part" if len(found.sites) > 1 else "One site")
    if departed is None:
        return Answer(question, short, detail, mood, "sites")
    return Answer(question, short, detail, mood, "matrix", departed.metric, departed.site)


def _departed(found: Departure) -> str:
    return (
        f"{clipped(found.site)} left the others in round {found.at}: {found.metric} {number(found.value)}, "
        f"median {number(found.median)}"
    )


def _lagging(found: Standings, *, low: bool) -> list[str]:
    if found.is_coarse:
        return ["Sites report only a few different values, so none can be told to lag"]
    if not found.laggard:
        return []
    one = next(site for site in found.sites if site.site == found.laggard)
    if len(found.far) > 1 and len(found.sites) > SITES_WITH_PROCESSES:
        return [f"{len(found.far)} sites lag, most {clipped(one.site)} by {number(one.lag)}"]
    slow = "slow and " if one.is_slow else ""
    side = "above" if low else "below"
    return [f"{clipped(one.site)} is {slow}{number(one.lag)} {side} the median now"]


def losing(tally: Tally, *, running: bool = False) -> Answer:
    """Say whether every logged event is where it belongs."""
    question = "Is anything lost?"
    dropped = sum(site.dropped or 0 for site in tally.sites.values())
    lost = sum(site.lost or 0 for site in tally.sites.values())
    journaled = sum(site.journaled for site in tally.sites.values())
    waiting = sum(site.in_spool or 0 for site in tally.sites.values())
    behind = [one for one in tally.receivers.values() if one.pending]
    refused = [one for one in tally.receivers.values() if one.dead]
    if dropped or lost or tally.gaps:
        counted = f"{dropped + lost:,} lost" if dropped + lost else "Something is lost"
        why = f": {tally.gaps[0][1]}" if tally.gaps else ""
        return Answer(question, counted, clipped(f"See below which, and why{why}", 160) + ".", "bad", "delivery")
    if not journaled:
        return Answer(
            question, "Nothing logged yet", f"{plural(len(tally.receivers), 'receiver')} ready.", "", "delivery"
        )
    if behind and not running:
        count = sum(one.pending for one in behind)
        detail = f"{count:,} wait in the journal; nothing is lost."
        return Answer(question, f"{_receivers(behind)} behind", detail, "warn", "delivery")
    if refused:
        detail = f"{sum(one.dead for one in refused):,} events; each is kept, with the reason."
        return Answer(question, f"{_receivers(refused)} refused some", detail, "warn", "delivery")
    if waiting or tally.waiting:
        return Answer(question, "Nothing lost", f"{waiting:,} are still in spools.", "ok", "delivery")
    unknown = [name for name, site in tally.sites.items() if site.calls is None]
    if unknown and not running:
        detail = f"{names(unknown)} could not count its log calls; each that returned is kept."
        return Answer(question, "Nothing known to be lost", detail, "", "delivery")
    return Answer(question, "Nothing lost", _arrived(tally, journaled), "ok", "delivery")


def _arrived(tally: Tally, journaled: int) -> str:
    count = len(tally.receivers)
    if not count:
        return f"All {journaled:,} events are in the journal; the run has no receiver."
    pending = sum(one.pending for one in tally.receivers.values())
    if pending:
        return f"{journaled:,} events in the journal; {pending:,} are on their way."
    whom = "the receiver" if count == 1 else f"all {count} receivers"
    return f"All {journaled:,} events reached {whom}."


def _receivers(found: Sequence[object]) -> str:
    return ", ".join(dict.fromkeys(str(getattr(one, "receiver", one)) for one in found))


def time_spent(times: Timeline) -> Answer:
    """Say how long rounds take, who waits, and who is waited for."""
    question = "Where does time go?"
    done = [one for one in times.rounds if one.ended]
    if not done:
        return Answer(question, "Not known yet", "After the first round.", panel="time")
    usual, parts = median(one.seconds for one in done), []
    half = len(done) // 2
    before, after = median(one.seconds for one in done[:half]), median(one.seconds for one in done[half:])
    if before and after and after > before * 1.3:
        parts.append(f"Rounds grew from {seconds(before)} to {seconds(after)}.")
    waited = times.waited()
    if waited is None:
        parts.append(f"{seconds(sum(one.seconds for one in done))} in all rounds.")
        return Answer(question, f"{seconds(usual)} a round", " ".join(parts), "", "time")
    if len(parts) == 0:
        parts.append(f"{seconds(usual)} a round.")
    ends = [one.last for one in done if one.last]
    top = max(sorted(set(ends)), key=ends.count, default="")
    if top and ends.count(top) > len(done) / 2 and len(set().union(*(one.sites for one in done))) > 1:
        lead = median(one.lead for one in done if one.last == top)
        count = ends.count(top)
        parts.append(f"{clipped(top)} ends last in {count} of {len(done)}, {seconds(lead)} after the next.")
    else:
        parts.append("No site sets the pace alone.")
    return Answer(question, f"{waited:.0%} waiting".replace("%", " %"), " ".join(parts), "", "time")
