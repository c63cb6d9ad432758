"""Laws about a receiver's life: construction, ``open``, ``flush``, ``close``, and death."""

from __future__ import annotations

import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from fedtrack.errors import ConfigError, Permanent, Transient
from fedtrack.plugins.checks import check_provided
from fedtrack.testing import child
from fedtrack.testing.laws.kinds import png
from fedtrack.testing.laws.laws import TIME_NS, Laws, batch, receive, series
from fedtrack.tracking.receiver import Results
from fedtrack.tracking.records import AnyRecord, Artifact, Image, Metric, Text


class LifecycleLaws(Laws):
    """Laws before, between and after the calls of ``receive``."""

    def test_the_class_says_what_it_is(self) -> None:
        """Listings and the job's check before its start rely on these attributes."""
        check_provided("receiver", type(self.make_receiver()))

    def test_construction_imports_no_sdk_and_touches_nothing(self, tmp_path: Path) -> None:
        """Building a job constructs receivers too: SDK, files and network belong to ``open``."""
        report = child.construct(self.make_receiver(), tmp_path)
        assert report.imported == [], "SDK modules that importing or constructing the receiver has loaded"
        assert report.touched == [], "what constructing the receiver has opened or made"

    def test_an_unknown_option_is_a_config_error(self) -> None:
        """A misspelt option is an error that names it."""
        receiver = self.make_receiver()
        options = msgspec.to_builtins(receiver.options, enc_hook=str)
        with pytest.raises(ConfigError, match="no_such_option"):
            type(receiver)(**options, no_such_option=1)

    def test_close_runs_after_a_failed_open(self, tmp_path: Path) -> None:
        """``close`` may run twice, without ``open``, and after an ``open`` that raised."""
        never_opened = self.make_receiver()
        never_opened.close("aborted")
        failed = self.make_receiver()
        with suppress(Exception):  # a backend elsewhere may not need the folder
            failed.open(replace(self.run, folder=blocked_folder(tmp_path)))
        failed.close("failed")
        failed.close("failed")

    def test_open_can_be_tried_again(self, tmp_path: Path) -> None:
        """A failed ``open`` leaves nothing behind that makes the next one fail."""
        self.needs(Metric)
        receiver = self.make_receiver()
        blocked = blocked_folder(tmp_path)
        self.run = replace(self.run, folder=blocked)
        try:
            receiver.open(self.run)
        except Exception:
            blocked.parent.unlink()
            blocked.mkdir(parents=True)
            receiver.open(self.run)
        else:
            receiver.close("completed")
            pytest.skip("this receiver can be opened without a results folder")
        receive(receiver, batch(series("loss", [0.5])))
        receiver.flush()
        receiver.close("completed")
        assert self.values("loss") == [0.5]

    def test_an_unreachable_backend_is_transient(self) -> None:
        """A backend that does not answer raises Transient, which tells delivery that waiting may help."""
        receiver = self.make_unreachable_receiver()
        if receiver is None:
            pytest.skip("the contract knows no unreachable backend (make_unreachable_receiver)")
        with pytest.raises(Transient):
            receiver.open(self.run)
        receiver.close("failed")

    def test_flush_and_close_can_be_repeated(self) -> None:
        """Both are idempotent, and a flush with nothing to flush changes nothing."""
        self.needs(Metric)
        with self.opened() as receiver:
            receiver.flush()
            receive(receiver, batch(series("loss", [0.5, 1.5])))
            receiver.flush()
            receiver.flush()
            receive(receiver, batch(series("loss", [2.5], first_step=2), first=2))
        receiver.close("completed")
        assert self.values("loss") == [0.5, 1.5, 2.5]

    def test_a_second_receiver_adopts_the_run(self) -> None:
        """A resumed or replayed run goes on: stored records stay, and new ones are added to them."""
        self.needs(Metric)
        self.deliver(batch(series("loss", [0.5, 1.5])))
        self.deliver(batch(series("loss", [2.5], first_step=2), first=2), batch(series("acc", [0.25]), first=3))
        assert self.values("loss") == [0.5, 1.5, 2.5]
        assert self.values("acc") == [0.25]

    def test_flushed_records_survive_sigkill(self) -> None:
        """After ``flush`` the death of the process loses nothing."""
        self.needs(Metric)
        if not self.survives_kill:
            pytest.skip("the contract declares survives_kill = False")
        points = series("loss", [i / 4 for i in range(23)])
        ended = child.flush_and_die(self.make_receiver(), self.run, points)
        assert ended.returncode == -signal.SIGKILL, ended.stderr
        assert self.values("loss") == [point.value for point in points]

    def test_nothing_is_written_outside_the_results_folder(self) -> None:
        """No name that a site sends becomes a path outside of the results folder."""
        supports = self.make_receiver().supports
        around = self.run.folder.parent.parent
        before = files_beside(around, self.run.folder)
        with self.opened() as receiver:
            for site in ("../../evil-site", f"{around}/evil-site", ".."):
                for seq, record in enumerate(hostile_names(around)):
                    if type(record) in supports:
                        with suppress(Permanent):  # a receiver may refuse such a name instead of encoding it
                            receive(receiver, batch([record], first=seq, site=site))
        assert files_beside(around, self.run.folder) == before

    def test_results_say_where_to_look(self) -> None:
        """Once open, a receiver names a place that a person can open, or None."""
        with self.opened() as receiver:
            results = receiver.results()
        assert results is None or (isinstance(results, Results) and results.location)


def blocked_folder(folder: Path) -> Path:
    """Return a path at which no folder can be made, because its parent is a file."""
    obstacle = folder / "obstacle"
    obstacle.write_text("a file where a folder is needed")
    return obstacle / "run"


def hostile_names(target: Path) -> list[AnyRecord]:
    """Return records whose names are paths to ``target``; a site that forges its frames could send them."""
    names = [f"{up}evil" for up in ("../", "../../", "../../../", f"{target}/")]
    return [record for name in names for record in _named(name)]


def _named(name: str) -> list[AnyRecord]:
    return [
        Metric(TIME_NS, name, 0.5, 0),
        Text(TIME_NS, name, "evil", 0),
        Image(TIME_NS, name, png(1), 0),
        Artifact(TIME_NS, name, b"evil"),
    ]


def files_beside(root: Path, folder: Path) -> set[Path]:
    """Return every file below ``root`` that does not lie in ``folder``."""
    return {path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(folder)}
