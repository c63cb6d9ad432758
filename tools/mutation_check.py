"""Removes one protection at a time from a copy of the source and expects a test to turn red.

    python tools/mutation_check.py            # all
    python tools/mutation_check.py crc fork   # those whose name contains one of the words
    python tools/mutation_check.py --write    # all, and the table in docs/reliability.md

A protection whose removal no test notices is one that the next change may remove.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"
BEGIN, END = "<!-- written by tools/mutation_check.py -->\n", "<!-- end -->\n"
#: Without its protection, code may loop for ever: that is noticed too.
_PATIENCE_SECONDS = 60

TRACKING = "core/src/fedtrack/tracking"
LOCAL = "core/src/fedtrack/engines/local"
TESTS = "tests/core/tracking"
CAMPAIGNS = "tests/campaigns"


class Mutation(NamedTuple):
    """A protection and how to remove it.

    Attributes:
        name: What protects.
        file: Where.
        old: The protecting text, which occurs once.
        new: What stands there without it.
        tests: What should turn red, as pytest takes it.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_APPLY = "            for stream in self._applied(journal, streams):\n"
_DELETE = "                self.found |= self._attempt(stream, stream.source.settle) and stream.found\n"

_FLUSH = "        self._retry.persist(self._receiver.flush, patient=True)\n"
_ADVANCE = "        self._advance(batches[-1].id, delivered)\n"
_CLAIM = "                self._next_seq = seq + 1\n"
_WRITE = "                self._store(frames.frame(seq, payload, self._salt), seq, 1)\n"

MUTATIONS = (
    Mutation(
        "A segment is deleted after the commit of its records",
        f"{TRACKING}/forward_pass.py",
        _APPLY + _DELETE,
        "            for stream in list(streams):\n" + _DELETE + "            self._applied(journal, streams)\n",
        (f"{TESTS}/test_forwarder.py",),
    ),
    Mutation(
        "A commit that fails acknowledges nothing",
        f"{TRACKING}/journal.py",
        "        with self._lock, self._transaction():\n            for site, stream, run in batches:",
        "        with contextlib.suppress(WorkspaceError), self._lock, self._transaction():\n"
        "            for site, stream, run in batches:",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "A commit waits for the disk",
        f"{TRACKING}/store.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=OFF",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "The high-water mark drops what is known",
        f"{TRACKING}/journal.py",
        "        if run.last <= mark:\n            return mark\n",
        "",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "The high-water mark trims what is partly known",
        f"{TRACKING}/journal.py",
        "        if first <= mark:\n            first, count, body = frames.tail(body, mark)\n",
        "",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "Every frame has a checksum",
        f"{TRACKING}/frames.py",
        "        if crc32(data[position + _SEQ_AT : end], starts[length]) != crc:\n            break\n",
        "",
        (f"{TESTS}/test_frames.py",),
    ),
    Mutation(
        "A checksum belongs to one stream",
        f"{TRACKING}/frames.py",
        "    return crc32(bytes.fromhex(stream))\n",
        "    return 0\n",
        (f"{TESTS}/test_frames.py",),
    ),
    Mutation(
        "Numbers ascend in a file",
        f"{TRACKING}/frames.py",
        "        if seq <= previous:\n            break\n",
        "",
        (f"{TESTS}/test_frames.py",),
    ),
    Mutation(
        "A number is claimed before it is written",
        f"{TRACKING}/spool.py",
        _CLAIM + _WRITE,
        _WRITE + _CLAIM,
        (f"{TESTS}/test_spool.py::test_an_interrupted_call_never_leads_to_two_records_with_one_number",),
    ),
    Mutation(
        "A short write is taken back",
        f"{TRACKING}/spool.py",
        "                self._take_back(written)\n",
        "",
        (f"{TESTS}/test_spool.py",),
    ),
    Mutation(
        "What finds no room is counted in the stream",
        f"{TRACKING}/spool.py",
        "        payload = encode(Gap(time_ns(), self._unreported, self._reason))\n",
        "        return\n",
        (f"{TESTS}/test_spool.py",),
    ),
    Mutation(
        "The spool has a limit",
        f"{TRACKING}/spool.py",
        "        if not self._has_room(len(data), reserve):\n",
        "        if False:\n",
        (f"{TESTS}/test_spool.py", "tests/core/engines/test_local_durability.py"),
    ),
    Mutation(
        "A forked child begins a stream of its own",
        f"{TRACKING}/spool.py",
        "os.register_at_fork(after_in_child=_after_fork_in_child)\n",
        "",
        (f"{TESTS}/test_spool.py::test_forks_under_load_have_streams_of_their_own",),
    ),
    Mutation(
        "A log call inside a log call has a stream of its own",
        f"{TRACKING}/spool.py",
        "            if self._writing:\n                self._inner().append(record)\n                return\n",
        "",
        (f"{TESTS}/test_spool.py",),
    ),
    Mutation(
        "durability=disk waits for the disk",
        f"{TRACKING}/spool.py",
        '        if self._durability == "disk":\n            self._sync()\n',
        '        if self._durability == "disk":\n            pass\n',
        (f"{TESTS}/test_spool.py",),
    ),
    Mutation(
        "A partial frame at the end of a live file is waited for",
        f"{TRACKING}/spool_reader.py",
        "final = following is not None or (ended and not is_open(segment.path))",
        "final = True",
        (f"{TESTS}/test_spool_reader.py",),
    ),
    Mutation(
        "A writer holds a lock that dies with it",
        f"{TRACKING}/segments.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        (f"{TESTS}/test_spool_reader.py", f"{TESTS}/test_forwarder.py"),
    ),
    Mutation(
        "A folder is listed twice, so that no older segment is missed",
        f"{TRACKING}/segments.py",
        "    newest = {stream: segments[-1] for stream, segments in _list_once(folder).items()}\n",
        "    return _list_once(folder)\n    newest = {}\n",
        (f"{TESTS}/test_spool_reader.py",),
    ),
    Mutation(
        "A listing is only used again if the folder cannot have changed meanwhile",
        f"{TRACKING}/segments.py",
        "changed_ns if changed_ns + _SETTLED_NS < before_ns else -1",
        "changed_ns",
        (f"{TESTS}/test_forwarder.py",),
    ),
    Mutation(
        "Of two readers, none deletes what the other needs",
        f"{TRACKING}/spool_reader.py",
        "        known = self.after_seq if up_to is None else min(self.after_seq, up_to)\n",
        "        known = self.after_seq\n",
        (f"{TESTS}/test_spool_reader.py", f"{TESTS}/test_forwarder.py", f"{TESTS}/test_server_loss.py"),
    ),
    Mutation(
        "A blob is adopted before its record is stored",
        f"{TRACKING}/forwarder.py",
        "            self._adopt_blobs(run)\n",
        "            pass\n",
        (f"{TESTS}/test_forwarder.py",),
    ),
    Mutation(
        "Of the streams that share a commit, only one that fails waits",
        f"{TRACKING}/forward_pass.py",
        "lambda one: _apply(journal, [one])",
        "lambda one: _apply(journal, streams)",
        (f"{TESTS}/test_forwarder.py",),
    ),
    Mutation(
        "A blob is named by its content",
        f"{TRACKING}/blobs.py",
        "        if hashlib.sha256(content).hexdigest() != data.sha256:\n",
        "        if False:\n",
        (f"{TESTS}/test_blobs.py",),
    ),
    Mutation(
        "A row of the journal has a checksum",
        f"{TRACKING}/journal.py",
        "                    if crc32(body) != crc:\n",
        "                    if False:\n",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "The cursor moves after the flush",
        f"{TRACKING}/delivery.py",
        _FLUSH + _ADVANCE,
        _ADVANCE + _FLUSH,
        (f"{TESTS}/test_delivery.py",),
    ),
    Mutation(
        "A refused batch is bisected",
        f"{TRACKING}/delivery.py",
        "        if len(events) == 1:\n            refused = {0}\n",
        "        refused = refused or set(range(len(events)))\n",
        (f"{TESTS}/test_delivery.py",),
    ),
    Mutation(
        "An outage is never given up",
        f"{TRACKING}/retry.py",
        "                unknown += not _is_outage(error)\n",
        "                unknown += 1\n",
        (f"{TESTS}/test_delivery.py",),
    ),
    Mutation(
        "One server at a time uses a workspace",
        f"{LOCAL}/workspace.py",
        "            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        ("tests/core/engines/test_two_servers.py",),
    ),
    Mutation(
        "A file of a newer format is left alone",
        f"{TRACKING}/store.py",
        "            self._check_format()  # before anything is written\n",
        "            pass\n",
        (f"{TESTS}/test_journal.py",),
    ),
    Mutation(
        "Only what every receiver has is pruned",
        f"{TRACKING}/journal.py",
        '        which = "id <= ? AND recv_ns < ?',
        '        which = "? >= 0 AND recv_ns < ?',
        ("tests/e2e/test_stored_runs.py::test_only_what_every_receiver_has_is_pruned",),
    ),
    Mutation(
        "Beside a stream that nobody can read, the others are brought in to the end",
        f"{TRACKING}/forwarder.py",
        "        return one.found\n\n    def _note",
        "        return one.found and not one.failures\n\n    def _note",
        (f"{CAMPAIGNS}/test_versions.py",),
    ),
    Mutation(
        "What a wiped server had deleted is a gap",
        f"{TRACKING}/forwarder.py",
        "            self._check_start(stream, oldest, mark)\n",
        "",
        (f"{TESTS}/test_server_loss.py", f"{CAMPAIGNS}/test_versions.py"),
    ),
    Mutation(
        "A run whose journal was removed says so",
        f"{LOCAL}/stored_run.py",
        "        return any(path.exists() for path in [*begun, self.workers]) or",
        "        return False and",
        ("tests/core/engines/test_local_versions.py",),
    ),
    Mutation(
        "A dead letter is kept as it was logged",
        f"{TRACKING}/delivery.py",
        "self._bury(event.batch, event.seq, event.payload, str(error))",
        "self._bury(event.batch, event.seq, __import__('msgspec').msgpack.encode(event.record), str(error))",
        (f"{CAMPAIGNS}/test_versions.py",),
    ),
    Mutation(
        "The journal's order is that of arrival, and not a clock's",
        f"{TRACKING}/journal.py",
        "FROM batch WHERE id > ? ORDER BY id",
        "FROM batch WHERE id > ? ORDER BY recv_ns",
        (f"{CAMPAIGNS}/test_clocks.py::test_a_server_whose_clock_swings_stores_everything_once_and_in_order",),
    ),
    Mutation(
        "A wrapped payload without a name is a gap",
        f"{TRACKING}/hosted_spool.py",
        "if end <= len(payload) else None\n    except UnicodeDecodeError:",
        "if end <= len(payload) else None\n    except ZeroDivisionError:",
        (f"{TESTS}/test_hosted_spool.py", f"{CAMPAIGNS}/test_fuzz.py"),
    ),
)


class Outcome(NamedTuple):
    """Which test noticed; "" if none did."""

    mutation: Mutation
    noticed: str
    seconds: float


def copy_tree(target: Path) -> None:
    """Copy what is tracked, and nothing that git ignores."""
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    for name in names:
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def check(mutation: Mutation, tree: Path) -> Outcome:
    """Run the tests of a mutation in ``tree``, which is as it was afterwards."""
    path = tree / mutation.file
    source = path.read_text()
    if source.count(mutation.old) != 1:
        raise SystemExit(
            f"{mutation.name}: {mutation.file} holds the text {source.count(mutation.old)} times, not once."
        )
    path.write_text(source.replace(mutation.old, mutation.new))
    begun = monotonic()
    try:
        output = run_tests(tree, mutation.tests)
    finally:
        path.write_text(source)
    failed = [line.split()[1] for line in output.splitlines() if line.startswith("FAILED ")]
    return Outcome(mutation, failed[0] if failed else "", monotonic() - begun)


def run_tests(tree: Path, tests: tuple[str, ...]) -> str:
    """Return what pytest prints of the code in ``tree``."""
    sources = [tree / "core/src", *(folder / "src" for folder in sorted((tree / "plugins").iterdir()))]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sources)), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--timeout", "20", *tests]
    try:
        done = subprocess.run(
            command, cwd=tree, env=environment, capture_output=True, text=True, check=False, timeout=_PATIENCE_SECONDS
        )
    except subprocess.TimeoutExpired:
        return f"FAILED {tests[0]} (it never ends)"
    if done.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run {tests}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout


def table(outcomes: list[Outcome]) -> str:
    """Return the outcomes in Markdown."""
    lines = ["| protection removed | where | noticed by |", "|---|---|---|"]
    for mutation, noticed, _ in outcomes:
        test = noticed.partition("::")[2].partition("[")[0]
        file = Path(noticed.partition("::")[0]).name
        lines.append(f"| {mutation.name} | `{Path(mutation.file).name}` | `{file}`: `{test}` |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Check the mutations that were asked for; exit code 1 if one goes unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--write", action="store_true", help="write the table into docs/reliability.md")
    arguments = parser.parse_args()
    wanted = [m for m in MUTATIONS if not arguments.words or any(w in m.name.lower() for w in arguments.words)]
    outcomes = []
    with tempfile.TemporaryDirectory(prefix="fedtrack-mutations-") as folder:
        tree = Path(folder)
        copy_tree(tree)
        for mutation in wanted:
            outcomes.append(check(mutation, tree))
            noticed, seconds = outcomes[-1].noticed, outcomes[-1].seconds
            print(f"{'red' if noticed else 'UNNOTICED':<10} {seconds:5.1f} s  {mutation.name}: {noticed}", flush=True)
    unnoticed = [outcome for outcome in outcomes if not outcome.noticed]
    if arguments.write and not unnoticed and not arguments.words:
        text = PAGE.read_text()
        head, _, rest = text.partition(BEGIN)
        PAGE.write_text(head + BEGIN + table(outcomes) + END + rest.partition(END)[2])
    sys.exit(1 if unnoticed else 0)


if __name__ == "__main__":
    main()
