"""Laws about the kinds of record that a receiver may support besides metrics."""

from __future__ import annotations

import struct
import zlib

from fedtrack.testing.laws.laws import TIME_NS, TIME_STEP_NS, Laws, batch, series
from fedtrack.testing.laws.values import HOSTILE_KEYS
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Record, Tag, Text

MARKUP = "<script>alert(1)</script> [x](javascript:alert(1)) \x1b[31m \u202e äöü"


class KindLaws(Laws):
    """Laws about single kinds; each is skipped unless the receiver's ``supports`` has the kind."""

    def test_params_are_kept(self) -> None:
        """Parameters of every type are stored, as the backend writes them."""
        self.needs(Param)
        params: dict[str, str | int | float] = {"lr": 0.001, "epochs": 3, "optimizer": "sgd", "note": MARKUP}
        self.deliver(batch([Param(TIME_NS, key, value) for key, value in {**params, "seed": None}.items()]))
        found = {s.key: str(s.value) for s in self.stored(Param)}
        assert {key: found.get(key) for key in params} == {key: str(value) for key, value in params.items()}
        assert "seed" in found

    def test_a_bool_is_never_a_number(self) -> None:
        """True is shown as true, not as 1."""
        self.needs(Param)
        self.deliver(batch([Param(TIME_NS, "nesterov", True), Param(TIME_NS, "amsgrad", False)]))
        shown = {s.key: str(s.value).lower() for s in self.stored(Param) if s.key in ("nesterov", "amsgrad")}
        assert shown == {"nesterov": "true", "amsgrad": "false"}

    def test_a_param_that_changes_does_not_break_the_batch(self) -> None:
        """A script may set a parameter again, which some backends refuse; the records around it arrive."""
        self.needs(Param, Metric)
        params = [Param(TIME_NS, "lr", 0.1), Param(TIME_NS + TIME_STEP_NS, "lr", 0.2)]
        self.deliver(batch([*series("loss", [0.5]), *params, *series("loss", [1.5], first_step=1)]))
        assert self.values("loss") == [0.5, 1.5]
        assert self.values("lr", Param)

    def test_a_later_tag_replaces_the_earlier_one(self) -> None:
        """The last value of a tag is the one that is shown."""
        self.needs(Tag)
        self.deliver(batch([Tag(TIME_NS + i * TIME_STEP_NS, "phase", v) for i, v in enumerate(("warm", MARKUP))]))
        assert self.values("phase", Tag)[-1:] == [MARKUP]

    def test_hostile_keys_of_params_and_tags_come_back_as_they_were(self) -> None:
        """Names of parameters and tags are encoded in the same way as those of metrics."""
        kinds = [kind for kind in (Param, Tag) if kind in self.make_receiver().supports]
        self.needs(*(kinds or [Param]))
        records: list[Record] = [kind(TIME_NS, key, f"v{i}") for kind in kinds for i, key in enumerate(HOSTILE_KEYS)]
        self.deliver(batch(records))
        for kind in kinds:
            found = {s.key: s.value for s in self.stored(kind)}
            assert {key: found.get(key) for key in HOSTILE_KEYS} == {k: f"v{i}" for i, k in enumerate(HOSTILE_KEYS)}

    def test_text_is_kept(self) -> None:
        """Text arrives whole, whether it is in the record or in a file of its own."""
        self.needs(Text)
        long = "line of a long report\n" * 4000
        ref = self.run.blobs.put(long.encode())
        self.deliver(batch([Text(TIME_NS, "short", MARKUP, 0), Text(TIME_NS + TIME_STEP_NS, "long", ref, 1)]))
        assert self.values("short", Text) == [MARKUP]
        assert self.values("long", Text) == [long]

    def test_images_are_kept(self) -> None:
        """An image's bytes arrive unchanged, whether they are in the record or in a file of their own."""
        self.needs(Image)
        small, large = png(1), png(2)
        ref = self.run.blobs.put(large)
        self.deliver(batch([Image(TIME_NS, "small", small, 0), Image(TIME_NS + TIME_STEP_NS, "large", ref, 1)]))
        assert self.values("small", Image) == [small]
        assert self.values("large", Image) == [large]

    def test_histograms_are_kept(self) -> None:
        """Edges and counts arrive, bucket by bucket."""
        self.needs(Histogram)
        edges, counts = (-1.0, 0.0, 0.5, 2.0), (3.0, 0.0, 5.0)
        self.deliver(batch([Histogram(TIME_NS, "weights", edges, counts, 4)]))
        found = [(tuple(s.value[0]), tuple(s.value[1]), s.step) for s in self.stored(Histogram, key="weights")]
        assert found == [(edges, counts, 4)]

    def test_artifacts_are_kept(self) -> None:
        """A file arrives under its path, whether its bytes are in the record or in a file of their own."""
        self.needs(Artifact)
        large = bytes(range(256)) * 200
        ref = self.run.blobs.put(large)
        self.deliver(batch([Artifact(TIME_NS, "config.json", b"{}"), Artifact(TIME_NS, "models/best.bin", ref)]))
        assert self.values("config.json", Artifact) == [b"{}"]
        assert self.values("models/best.bin", Artifact) == [large]


def png(size: int) -> bytes:
    """Return a grey square PNG of ``size`` pixels a side."""
    rows = (b"\0" + b"\x80" * size) * size
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
