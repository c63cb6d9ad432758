"""Truth: what the scripts of the simulation did, as only they know it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Call:
    """One log call.

    Attributes:
        site: Its site.
        number: Its own number, which is also its value.
        kind: ``metric``, ``blob`` (a text in a file), ``big`` (a long text in a record) or ``bad`` (no valid value).
        round: The round in which it was made; None outside rounds.
        at: The clock's seconds when it began.
        nested: Whether it was made inside another one, by a signal handler.
        returned: Whether it has returned.
        excused: Why its record may be missing, or "": the disk was full, the power failed, the journal was removed.
    """

    site: str
    number: int
    kind: str
    round: int | None
    at: float
    nested: bool = False
    returned: bool = False
    excused: str = ""

    @property
    def key(self) -> str:
        """The name under which it logs."""
        return f"key{self.number}"

    @property
    def text(self) -> str:
        """The text that it logs."""
        return f"{self.number} ".ljust(8_000 if self.kind == "big" else 9_000, ".")


@dataclass
class Truth:
    """What was done.

    Attributes:
        calls: By number.
        withheld: Calls that a site kept, by site: those that returned.
        cut_off: Whether a site was killed or interrupted inside a call, which may or may not have been counted.
        power: Whether the power of a machine has failed.
        wiped: Whether the journal was removed.
        big: Whether a spool may have reached its limit.
        untraced: Sites of which a process found no room for its first file, and so left no trace.
        full: Whether a disk or a spool was full.
    """

    calls: dict[int, Call] = field(default_factory=dict)
    withheld: dict[str, int] = field(default_factory=dict)
    cut_off: set[str] = field(default_factory=set)
    power: bool = False
    wiped: bool = False
    full: bool = False
    big: bool = False
    untraced: set[str] = field(default_factory=set)

    def new(self, site: str, kind: str, round: int | None, at: float) -> Call:
        """Return a call that begins now."""
        call = Call(site, len(self.calls) + 1, kind, round, at)
        self.calls[call.number] = call
        return call

    def of(self, site: str) -> list[Call]:
        """Return the calls of a site, in their order."""
        return [call for call in self.calls.values() if call.site == site]
