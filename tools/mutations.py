"""Mutations: the protections of the log path, and how to remove each; see mutation_check.py. All are in one table."""

from __future__ import annotations

from typing import NamedTuple

CORE = "core/src/fedtrack"
BASE = f"{CORE}/spool/base.py"
COMPILED = "core/src/fedtrack/spool/_spool_base.c"
TESTS = "tests/core"
SPOOL = tuple(
    f"{TESTS}/spool/test_{part}.py"
    for part in ("spool", "spool_room", "spool_durability", "spool_interrupted", "base", "base_room")
)
DELIVERY = tuple(f"{TESTS}/delivery/test_delivery{part}.py" for part in ("", "_refusals", "_outages"))
FORWARDER = tuple(f"{TESTS}/transport/test_forwarder{part}.py" for part in ("", "_commits", "_idle", "_thread"))
CAMPAIGNS = "tests/campaigns"
DELIVERER = f"{TESTS}/delivery/deliverer"


class Mutation(NamedTuple):
    """A protection and how to remove it.

    Attributes:
        name: The protection, as a sentence.
        file: Its source file.
        old: The text of the protection, which occurs once in the file.
        new: The text that replaces it.
        tests: The tests of which one should fail, as arguments of pytest.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_APPLY = "            for stream in self._applied(journal, streams):\n"
_DELETE = "                self.found |= self._attempt(stream, stream.source.settle) and stream.found\n"

_FLUSH = "            self._retry.call_receiver(self._recorded.flush, now, patient=True)\n"
_CLAIM = """                # Claimed before the write. An exception between the two may leave a hole, which is legal,
                # but never two records with one number: the journal would drop the second one.
                self._next_seq = seq + 1
"""
_WRITE = """                try:
                    written = os.write(self._fd, data)
                except OSError:
                    written = 0
                if written == len(data):
"""

MUTATIONS = (
    Mutation(
        "A segment is deleted after the commit of its records",
        f"{CORE}/transport/forward_pass.py",
        _APPLY + _DELETE,
        "            for stream in list(streams):\n" + _DELETE + "            self._applied(journal, streams)\n",
        FORWARDER,
    ),
    Mutation(
        "A commit that fails acknowledges nothing",
        f"{CORE}/journal/journal.py",
        "        with self.database.transaction() as writer:\n            for site, stream, run in batches:",
        "        with contextlib.suppress(WorkspaceError), self.database.transaction() as writer:\n"
        "            for site, stream, run in batches:",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "A commit waits for the disk",
        f"{CORE}/journal/database.py",
        "PRAGMA synchronous=FULL",
        "PRAGMA synchronous=OFF",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "The high-water mark drops known frames",
        f"{CORE}/journal/journal.py",
        "    if run.last <= mark:\n        return mark\n",
        "",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "The high-water mark trims partly known batches",
        f"{CORE}/journal/journal.py",
        "    if run.first <= mark:\n        first, count, body = frames.tail(run.body, mark)\n"
        "        run = frames.FrameRange(first, run.last, count, body, run.round, run.plain)\n",
        "",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "Every frame has a checksum",
        f"{CORE}/spool/frames.py",
        "        if crc32(data[position + _SEQ_AT : end], starts[length]) != crc:\n            break\n",
        "",
        (f"{TESTS}/spool/test_frames.py",),
    ),
    Mutation(
        "A checksum belongs to one stream",
        f"{CORE}/spool/frames.py",
        "    return crc32(bytes.fromhex(stream))\n",
        "    return 0\n",
        (f"{TESTS}/spool/test_frames.py",),
    ),
    Mutation(
        "Numbers ascend in a file",
        f"{CORE}/spool/frames.py",
        "        if seq <= previous:\n            break\n",
        "",
        (f"{TESTS}/spool/test_frames.py",),
    ),
    Mutation(
        "A number is claimed before it is written",
        BASE,
        _CLAIM + _WRITE,
        _WRITE + "                    self._next_seq = seq + 1\n",
        (
            f"{TESTS}/spool/test_spool_interrupted.py::test_an_interrupted_call_never_leads_to_two_records_with_one_number",
        ),
    ),
    Mutation(
        "A short write is taken back",
        f"{CORE}/spool/spool.py",
        "            if written != len(data):\n                self._take_back(written)\n",
        "            if written != len(data):\n",
        SPOOL,
    ),
    Mutation(
        "A short write of the fast path is taken back",
        BASE,
        "                        self._take_back(written)\n",
        "                        pass\n",
        SPOOL,
    ),
    Mutation(
        "In C, a short write of the fast path is taken back",
        COMPILED,
        "    if (end < 0 || ftruncate(self->fd, end - written) != 0) {\n",
        "    if (end < 0) {\n",
        SPOOL,
    ),
    Mutation(
        "In C, a segment with a part of a frame takes no more",
        COMPILED,
        "        self->torn = 1;\n        self->plain_until = 0;\n",
        "",
        SPOOL,
    ),
    Mutation(
        "In C, the fast path stops when its room is used up",
        COMPILED,
        "self->segment_size + size > self->plain_until",
        "self->plain_until == 0",
        SPOOL,
    ),
    Mutation(
        "In C, nothing is written while Python is writing",
        COMPILED,
        "    return self->writing || ",
        "    return ",
        SPOOL,
    ),
    Mutation(
        "In C, the checksum starts from the stream's salt",
        COMPILED,
        "crc32_of(self->salt, out + 2, 4)",
        "crc32_of(0, out + 2, 4)",
        SPOOL,
    ),
    Mutation(
        "In C, each record has a number of its own",
        COMPILED,
        "put_frame(self, data, seq++, time",
        "put_frame(self, data, seq, time",
        SPOOL,
    ),
    Mutation(
        "In C, a key is read to its end and no further",
        "core/src/fedtrack/spool/_plain.h",
        "return *size > 0 && *size <= MAX_KEY;",
        "return *size > 0;",
        SPOOL,
    ),
    Mutation(
        "The fast path stops at the spool's limit",
        f"{CORE}/spool/spool.py",
        "            self._plain_until = min(self._segment_bytes, room)\n",
        "            self._plain_until = self._segment_bytes\n",
        SPOOL,
    ),
    Mutation(
        "There is no fast path if log calls wait for the disk",
        f"{CORE}/spool/spool.py",
        '        waits = self._durability != "process" and self._syncer is None\n',
        "        waits = False\n",
        SPOOL,
    ),
    Mutation(
        "A child forked inside a log call leaves the record to its parent",
        f"{CORE}/spool/spool.py",
        "        data = frame(seq, payload, salt)\n        if self._salt != salt:\n",
        "        data = frame(seq, payload, salt)\n        if False:\n",
        SPOOL,
    ),
    Mutation(
        "A child forked inside the fast path leaves the record to its parent",
        BASE,
        "return self._salt != salt  #",
        "return False  #",
        SPOOL,
    ),
    Mutation(
        "A log call inside the fast path does not use its stream",
        BASE,
        "            if self._writing:\n                return False\n",
        "",
        SPOOL,
    ),
    Mutation(
        "A segment with a part of a frame takes no more",
        f"{CORE}/spool/spool.py",
        "if self._fd < 0 or self._torn or ",
        "if self._fd < 0 or ",
        SPOOL,
    ),
    Mutation(
        "Records without room are counted in the stream",
        f"{CORE}/spool/spool.py",
        "        if self._write([encode(Gap(time_ns(), self._unreported, self._reason))], reserve):\n",
        "        if False:\n",
        SPOOL,
    ),
    Mutation(
        "Records without room are counted in the stream's page",
        f"{CORE}/spool/spool.py",
        "        self._counts.add(dropped=count)\n",
        "",
        (f"{TESTS}/transport/test_forwarder_counts.py",),
    ),
    Mutation(
        "A page can be written to where the disk is full",
        f"{CORE}/spool/counter_page.py",
        "        self._words = memoryview(self._map)",
        "        self._words = memoryview(bytearray(self._map))",
        (f"{TESTS}/spool/test_counter_page.py", f"{TESTS}/transport/test_forwarder_counts.py"),
    ),
    Mutation(
        "A segment knows the size of the one before it",
        f"{CORE}/spool/reader.py",
        "        if size < link.size and path not in self.damaged:",
        "        if False:",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "A deleted segment is a loss",
        f"{CORE}/spool/reader.py",
        "            yield damaged_bytes.gone(path, link.size, first, last)\n",
        "            pass\n",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "The end of a stream is compared with its page",
        f"{CORE}/spool/reader.py",
        "        elif extent is not None and extent.first == segment.first_seq and self._offset < extent.size:",
        "        elif False and extent is not None:",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "A file that is cut while it is written is read again from its beginning",
        f"{CORE}/spool/reader.py",
        "            if size < self._offset:",
        "            if False:",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "A damaged segment is kept",
        f"{CORE}/spool/segments.py",
        "    if not damaged:\n        path.unlink(missing_ok=True)\n        return\n",
        "    path.unlink(missing_ok=True)\n    return\n",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "A stream that was not read to its end has lost its files",
        f"{CORE}/transport/spool_source.py",
        "            self._report(stream.stream, damaged_bytes.gone(name, extent.size if extent else 0, "
        "mark + 1, None))\n",
        "            pass\n",
        (f"{TESTS}/spool/test_damaged_bytes.py",),
    ),
    Mutation(
        "A row that is not in its place is damage",
        f"{CORE}/journal/journal.py",
        "or type(body) is not bytes or id_ <= after:",
        "or type(body) is not bytes:",
        (f"{TESTS}/journal/test_read_around.py",),
    ),
    Mutation(
        "Events without a row are counted",
        f"{CORE}/journal/rescue.py",
        "        if lost > 0:",
        "        if False:",
        (f"{TESTS}/journal/test_read_around.py",),
    ),
    Mutation(
        "A journal older than its ledger is a loss",
        f"{CORE}/delivery/ledger.py",
        "                    (-last, SERVER,",
        "                    (1, SERVER,",
        (f"{TESTS}/delivery/test_ledger_rescue.py",),
    ),
    Mutation(
        "A page is kept until its process is gone",
        f"{CORE}/transport/spool_source.py",
        "        if not is_open(path) and read_page",
        "        if read_page",
        (f"{TESTS}/transport/test_forwarder_counts.py",),
    ),
    Mutation(
        "A record comes with the mark of its round",
        f"{CORE}/spool/spool.py",
        "or waits or self._said != self._round:\n",
        "or waits:\n",
        (f"{TESTS}/spool/test_rounds.py",),
    ),
    Mutation(
        "After damage the round is unknown",
        f"{CORE}/spool/reader.py",
        "                self._rounds.lose()\n                torn",
        "                torn",
        (f"{TESTS}/spool/test_rounds.py",),
    ),
    Mutation(
        "A reader that begins in the middle looks for the round before",
        f"{CORE}/spool/reader.py",
        "            self._rounds.pass_over(known)\n",
        "",
        (f"{TESTS}/spool/test_rounds.py",),
    ),
    Mutation(
        "Each segment says the sites' rounds again",
        f"{CORE}/spool/shared.py",
        "        self._said_of.clear()\n",
        "",
        (f"{TESTS}/spool/test_shared_rounds.py",),
    ),
    Mutation(
        "The spool has a limit",
        f"{CORE}/spool/spool.py",
        "        if not self._has_room(size, reserve):\n",
        "        if False:\n",
        (*SPOOL, "tests/plugins/local/test_local_durability.py"),
    ),
    Mutation(
        "A forked child begins a stream of its own",
        f"{CORE}/spool/spool.py",
        "os.register_at_fork(after_in_child=_after_fork_in_child)\n",
        "",
        (f"{TESTS}/spool/test_spool_interrupted.py::test_forks_under_load_have_streams_of_their_own",),
    ),
    Mutation(
        "A log call inside a log call has a stream of its own",
        f"{CORE}/spool/spool.py",
        "            if self._writing:\n                self._inner().append(record)\n                return\n",
        "",
        SPOOL,
    ),
    Mutation(
        "durability=disk waits for the disk",
        f"{CORE}/spool/spool.py",
        '        if self._durability == "disk":\n            self._sync()\n',
        '        if self._durability == "disk":\n            pass\n',
        SPOOL,
    ),
    Mutation(
        "A partial frame at the end of a live file is waited for",
        f"{CORE}/spool/reader.py",
        "final = following is not None or (ended and not is_open(segment.path))",
        "final = True",
        (f"{TESTS}/spool/test_reader.py",),
    ),
    Mutation(
        "A writer holds a lock that dies with it",
        f"{CORE}/spool/segments.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        (f"{TESTS}/spool/test_reader.py", *FORWARDER),
    ),
    Mutation(
        "A folder is listed twice, so that no older segment is missed",
        f"{CORE}/spool/segments.py",
        "    newest = {stream: segments[-1] for stream, segments in _list_once(folder).segments.items()}\n",
        "    return _list_once(folder)\n    newest = {}\n",
        (f"{TESTS}/spool/test_reader.py",),
    ),
    Mutation(
        "A listing is only used again if the folder cannot have changed meanwhile",
        f"{CORE}/spool/segments.py",
        "changed_ns if changed_ns + _SETTLED_NS < before_ns else -1",
        "changed_ns",
        FORWARDER,
    ),
    Mutation(
        "No reader deletes files that another one needs",
        f"{CORE}/spool/reader.py",
        "        known = self.after_seq if up_to is None else min(self.after_seq, up_to)\n",
        "        known = self.after_seq\n",
        (f"{TESTS}/spool/test_reader.py", *FORWARDER, f"{TESTS}/transport/test_server_loss.py"),
    ),
    Mutation(
        "A blob is adopted before its record is stored",
        f"{CORE}/transport/spool_source.py",
        "        kept = self._with_blobs(self.site, stream.stream, run)\n",
        "        kept = run\n",
        FORWARDER,
    ),
    Mutation(
        "Of the streams that share a commit, only one that fails waits",
        f"{CORE}/transport/forward_pass.py",
        "lambda one: _apply(journal, [one])",
        "lambda one: _apply(journal, streams)",
        FORWARDER,
    ),
    Mutation(
        "A blob is named by its content",
        f"{CORE}/tracking/blobs.py",
        "        if hashlib.sha256(content).hexdigest() != data.sha256:\n",
        "        if False:\n",
        (f"{TESTS}/tracking/test_blobs.py",),
    ),
    Mutation(
        "A row of the journal has a checksum",
        f"{CORE}/journal/journal.py",
        "            if crc32(body) != crc:\n",
        "            if False:\n",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "The cursor moves after the flush",
        f"{CORE}/delivery/delivery.py",
        _FLUSH,
        "            self._advance(load, now)\n            self._load = load\n" + _FLUSH,
        DELIVERY,
    ),
    Mutation(
        "A refused batch is bisected",
        f"{CORE}/delivery/load.py",
        "        if len(events) == 1:\n            refused = {0}\n",
        "        refused = refused or set(range(len(events)))\n",
        DELIVERY,
    ),
    Mutation(
        "An outage is never given up",
        f"{CORE}/delivery/retry.py",
        "            self._unknown += not _is_outage(error)\n",
        "            self._unknown += 1\n",
        DELIVERY,
    ),
    Mutation(
        "A backend that cannot be opened does not delay the end of a run",
        f"{CORE}/delivery/recorded_receiver.py",
        "            if not self._calls.state.tried:  # it has had its time",
        "            if True:  #",
        DELIVERY,
    ),
    Mutation(
        "One server at a time uses a workspace",
        f"{CORE}/runs/workspace.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        ("tests/plugins/local/test_two_servers.py",),
    ),
    Mutation(
        "A file of a newer format is left alone",
        f"{CORE}/journal/database.py",
        "            self._check(self.writer)  # before anything is written\n",
        "            pass\n",
        (f"{TESTS}/journal/test_journal.py",),
    ),
    Mutation(
        "Only events that every receiver has are pruned",
        f"{CORE}/journal/pruning.py",
        '_WHICH = "id <= ?1',
        '_WHICH = "?1 >= 0',
        ("tests/e2e/test_stored_runs.py::test_only_what_every_receiver_has_is_pruned",),
    ),
    Mutation(
        "An unreadable stream does not keep the others from being read to the end",
        f"{CORE}/transport/forwarder.py",
        "        return one.found\n\n    def _note",
        "        return one.found and not one.failures\n\n    def _note",
        (f"{CAMPAIGNS}/test_versions.py",),
    ),
    Mutation(
        "Records that a wiped server had deleted become a gap",
        f"{CORE}/transport/spool_source.py",
        "            self._check_start(stream, oldest, mark)\n",
        "",
        (f"{TESTS}/transport/test_server_loss.py", f"{CAMPAIGNS}/test_versions.py"),
    ),
    Mutation(
        "A run whose journal was removed says so",
        f"{CORE}/runs/stored_run.py",
        "        return any(path.exists() for path in [*begun, self.workers]) or",
        "        return False and",
        ("tests/plugins/local/test_local_versions.py",),
    ),
    Mutation(
        "A dead letter is kept as it was logged",
        f"{CORE}/delivery/load.py",
        "event.batch, str(error), event.payload)",
        "event.batch, str(error), msgspec.msgpack.encode(event.record))",
        (f"{CAMPAIGNS}/test_versions.py",),
    ),
    Mutation(
        "The journal's order is that of arrival, not that of a clock",
        f"{CORE}/journal/journal.py",
        "FROM batch WHERE id > ? ORDER BY id",
        "FROM batch WHERE id > ? ORDER BY recv_ns",
        (f"{CAMPAIGNS}/test_clocks.py::test_a_server_whose_clock_swings_stores_everything_once_and_in_order",),
    ),
    Mutation(
        "A wrapped payload without a name is a gap",
        f"{CORE}/spool/hosted.py",
        "if end <= len(payload) else None\n    except UnicodeDecodeError:",
        "if end <= len(payload) else None\n    except ZeroDivisionError:",
        (f"{TESTS}/spool/test_shared.py", f"{CAMPAIGNS}/test_fuzz.py"),
    ),
    Mutation(
        "A journal of an older format is copied before it is migrated",
        f"{CORE}/journal/database.py",
        '        self._copy(self.path.with_name(f"{self.path.name}.format-{found}"))\n',
        "",
        (f"{TESTS}/journal/test_schema.py",),
    ),
    Mutation(
        "One process at a time delivers",
        f"{CORE}/delivery/ledger_lock.py",
        "            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "            pass\n",
        (f"{TESTS}/delivery/test_ledger.py",),
    ),
    Mutation(
        "A ledger belongs to one journal",
        f"{CORE}/delivery/ledger.py",
        "            if _owner(path) not in (None, identity):\n                _put_aside(path)\n",
        "",
        (f"{TESTS}/delivery/test_ledger.py",),
    ),
    Mutation(
        "Gaps and control records are no events",
        f"{CORE}/journal/batches.py",
        "            if frames.is_event(payload):\n",
        "            if True:\n",
        (f"{TESTS}/delivery/test_counts.py", f"{TESTS}/journal/test_streams.py"),
    ),
    Mutation(
        "To a server of version 1 nothing is said that it refuses",
        f"{CORE}/transport/shipper.py",
        "self._call(in_version_1(message) if self.version < 2 else message)",
        "self._call(message)",
        (f"{TESTS}/transport/test_wire.py",),
    ),
    Mutation(
        "A call of a receiver is recorded before it is made",
        f"{CORE}/delivery/calls.py",
        "        self._set(call=call, started_ns=monotonic_ns(), batch=batch, seq=seq, events=events)\n",
        "",
        (f"{TESTS}/delivery/test_calls.py",),
    ),
    Mutation(
        "A record is blamed after three deaths, not after one",
        f"{CORE}/delivery/deliverer/evidence.py",
        "\nTRIES = 3\n",
        "\nTRIES = 1\n",
        (f"{DELIVERER}/test_evidence.py",),
    ),
    Mutation(
        "SIGKILL is no evidence against a record",
        f"{CORE}/delivery/deliverer/evidence.py",
        "    return Death(found.name, found in _FAULTS)\n",
        "    return Death(found.name, proves=True)\n",
        (f"{DELIVERER}/test_evidence.py",),
    ),
    Mutation(
        "A suspect record is handed over in pieces",
        f"{CORE}/delivery/deliverer/standing.py",
        "msgspec.structs.replace(self.spec, precautions=self.evidence.precautions)",
        "self.spec",
        (f"{DELIVERER}/test_supervisor.py::test_two_poisonous_records_cost_two_records",),
    ),
    Mutation(
        "A process that died is started again",
        f"{CORE}/delivery/deliverer/supervisor.py",
        "                self._start_due()\n",
        "",
        (f"{DELIVERER}/test_supervisor.py::test_a_deliverer_that_is_killed_again_and_again_loses_nothing",),
    ),
    Mutation(
        "A deliverer ends with its server",
        f"{CORE}/delivery/deliverer/process.py",
        "            os._exit(_HUNG_UP)\n",
        "            return\n",
        (f"{DELIVERER}/test_orphans.py::test_nothing_is_left_of_a_killed_server_and_nothing_is_lost",),
    ),
)
