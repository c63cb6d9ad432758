"""File system: which folders a restart takes away."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.connection.file_system import kind_of

MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 0:5 / /tmp rw shared:7 - tmpfs tmpfs rw
24 22 0:6 / /data\\040sets rw - nfs4 server:/x rw
25 22 0:7 / /tmp/deep rw - xfs /dev/sdb rw
broken
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/a", "ext4"),
        ("/tmp", "tmpfs"),
        ("/tmp/x/y", "tmpfs"),
        ("/tmpother", "ext4"),
        ("/tmp/deep/z", "xfs"),
        ("/data sets/a", "nfs4"),
    ],
)
def test_the_deepest_mount_counts(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    assert kind_of(Path(path), mounts) == kind


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert kind_of(tmp_path, tmp_path / "nowhere") == ""
