"""ModelStore: a model is saved whole, or the previous one stays."""

from __future__ import annotations

import math
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedtrack.errors import ModelError, WorkspaceError
from fedtrack_local.models.model_store import ModelStore
from fedtrack_local.models.params import save_params


def test_a_model_comes_back_with_its_round_and_metrics(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "server" / "app_server")
    assert (store.load(), store.load_best()) == (None, None)
    store.save({"w": np.arange(3.0)}, 4, {"accuracy": 0.1, "nan": math.nan, "inf": -math.inf}, result=b"\x00\xff")
    store.save_best({"w": np.zeros(3)}, 2)
    assert sorted(path.name for path in store.folder.iterdir()) == [
        "FL_global_model.safetensors",
        "best_FL_global_model.safetensors",
    ]
    assert stat.S_IMODE(store.folder.stat().st_mode) == 0o700
    resumed = ModelStore(store.folder)
    stored, best = resumed.load(), resumed.load_best()
    assert stored is not None
    assert best is not None
    assert stored.params["w"].tolist() == [0.0, 1.0, 2.0]
    assert (stored.current_round, best.current_round) == (4, 2)
    assert stored.metrics["accuracy"] == 0.1
    assert math.isnan(stored.metrics["nan"])
    assert stored.metrics["inf"] == -math.inf
    assert best.metrics == {}
    assert (stored.result, best.result) == (b"\x00\xff", b"")


def test_a_loaded_model_outlives_its_file(tmp_path: Path) -> None:
    store = ModelStore(tmp_path)
    store.save({"w": np.ones(3)}, 0)
    stored = store.load()
    assert stored is not None
    # The aggregator reads it until the next round's model is in its place.
    store.save({"w": stored.params["w"] * 2}, 1)
    assert stored.params["w"].tolist() == [1.0, 1.0, 1.0]


def test_a_model_by_someone_else_has_no_round(tmp_path: Path) -> None:
    save_params({"w": np.ones(1)}, tmp_path / "FL_global_model.safetensors")
    stored = ModelStore(tmp_path).load()
    assert stored is not None
    assert (stored.current_round, stored.metrics) == (None, {})


@pytest.mark.parametrize("origin", ["", "[]", '{"current_round": "x"}', '{"metrics": {"a": "b"}}'])
def test_strange_metadata_is_refused(origin: str, tmp_path: Path) -> None:
    save_params({}, tmp_path / "FL_global_model.safetensors", {"fedtrack.origin": origin})
    with pytest.raises(ModelError, match="about its round and metrics"):
        ModelStore(tmp_path).load()


def test_a_damaged_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "best_FL_global_model.safetensors").write_bytes(b"torn")
    with pytest.raises(ModelError, match=r"best_FL_global_model\.safetensors is no usable model file"):
        ModelStore(tmp_path).load_best()


def test_a_folder_that_cannot_be_made_is_said_to_be_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WorkspaceError, match="Cannot create"):
        ModelStore(tmp_path / "file" / "folder").save({}, 0)


def test_file_and_folder_are_on_the_disk_before_a_save_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    fsync = os.fsync

    def watched(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    ModelStore(tmp_path).save({"w": np.ones(3)}, 0)
    assert synced == [(tmp_path / "FL_global_model.safetensors").stat().st_ino, tmp_path.stat().st_ino]


def test_killed_at_any_moment_a_whole_model_remains(tmp_path: Path) -> None:
    code = (
        "import sys, itertools, numpy as np\n"
        "from pathlib import Path\n"
        "from fedtrack_local.models.model_store import ModelStore\n"
        "store = ModelStore(Path(sys.argv[1]))\n"
        "for number in itertools.count(int(sys.argv[2])):\n"
        "    store.save({'w': np.full(2**20, number, np.int64)}, number)\n"
        "    print(number, flush=True)\n"
    )
    store, last = ModelStore(tmp_path), 0
    for saves in (1, 2, 3):
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path), str(last)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(saves)]
        process.send_signal(signal.SIGKILL)
        said += [int(line) for line in process.stdout.read().split()]
        process.stdout.close()
        assert process.wait() == -signal.SIGKILL
        stored = store.load()
        assert stored is not None
        assert stored.current_round is not None
        assert stored.current_round >= said[-1]
        assert np.unique(stored.params["w"]).tolist() == [stored.current_round]
        last = stored.current_round + 1
