"""The plugin is found by its entry point, costs no SDK until it is opened, and needs no more than it declares."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack import plugins
from fedtrack.errors import ConfigError
from fedtrack_mlflow import MLflowReceiver, MLflowWriter


def python(code: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_entry_point_provides_writer_and_receiver() -> None:
    registry = plugins.registry()
    assert registry.receiver("mlflow") is MLflowReceiver
    assert registry.receiver("nvflare.app_opt.tracking.mlflow.mlflow_receiver.MLflowReceiver") is MLflowReceiver
    assert registry.writer("MLflowWriter") is MLflowWriter


def test_importing_and_constructing_loads_no_sdk() -> None:
    code = (
        "import sys, fedtrack_mlflow\n"
        "fedtrack_mlflow.MLflowReceiver(tracking_uri='http://127.0.0.1:1')\n"
        "heavy = {'mlflow', 'sqlalchemy', 'alembic', 'requests', 'filelock', 'pandas', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    assert python(code).strip() == "[]"


def test_positional_arguments_have_flares_order() -> None:
    receiver = MLflowReceiver("http://x", {"run_name": "r"}, "artifacts", events=["analytix_log_stats"])
    assert receiver.options.tracking_uri == "http://x"
    assert receiver.options.artifact_location == "artifacts"
    assert receiver.options.events == ["analytix_log_stats"]
    assert MLflowReceiver(buffer_flush_time=2).gather_seconds == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"kw_args": {"experiment": "x"}},
            r"unknown field `experiment`.*experiment_name, run_name, experiment_tags",
        ),
        ({"kw_args": {"run_tags": "x"}}, r"Expected `object.*\$\.run_tags"),
        ({"tracking_url": "x"}, r"unknown field `tracking_url`.*tracking_uri"),
        ({"buffer_flush_time": "soon"}, r"buffer_flush_time"),
    ],
)
def test_a_wrong_argument_is_named_with_the_valid_ones(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        MLflowReceiver(**arguments)


#: Makes every module unimportable that fedtrack-mlflow[receiver] and its declared dependencies do not bring.
GUARD = """
import sys, time, re
from importlib.metadata import distribution, distributions
from importlib.util import find_spec
from pathlib import Path
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

def closure(wanted, seen):
    wanted = Requirement(wanted)
    place = (canonicalize_name(wanted.name), frozenset(wanted.extras))
    if place not in seen:
        seen.add(place)
        for line in distribution(wanted.name).requires or ():
            marker = Requirement(line).marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted.extras)):
                closure(line, seen)
    return {name for name, _ in seen}

declared = closure("fedtrack-mlflow[receiver]", set())
assert "mlflow-skinny" in declared and "mlflow" not in declared, declared
brought, others = set(), set()
for found in distributions():
    files = {str(file) for file in found.files or () if str(file).endswith((".py", ".so"))}
    (brought if canonicalize_name(found.name) in declared else others).update(files)

class Guard:
    def find_spec(self, name, path=None, target=None):
        base = name.replace(".", "/")
        if {base + ".py", base + "/__init__.py"} & (others - brought):
            raise ModuleNotFoundError(f"No module named {name!r} (guarded)", name=name)
        return None

sys.meta_path.insert(0, Guard())
"""

USE = """
from fedtrack.tracking.blobs import BlobStore
from fedtrack.tracking.events import Batch
from fedtrack.tracking.receiver import RunInfo
from fedtrack.tracking.records import Artifact, Histogram, Image, Metric, Param, Tag, Text
from fedtrack_mlflow import MLflowReceiver

folder = Path(sys.argv[1])
run = RunInfo("run-1", "job", folder, "server", ("site-1",), time.time_ns(), BlobStore(folder / "blobs"))
receiver = MLflowReceiver()
receiver.open(run)
now = time.time_ns()
records = [Metric(now, "loss", 0.5, 1), Param(now, "lr", 0.1), Tag(now, "a", "b"), Text(now, "a.txt", "x"),
           Image(now, "i", b"png", 1), Histogram(now, "h", (0.0, 1.0), (3.0,)), Artifact(now, "m.bin", b"x")]
receiver.receive(Batch("site-1", "a" * 32, range(len(records)), records))
receiver.close("completed")
for module in ("pandas", "sklearn", "flask", "matplotlib"):
    assert module not in sys.modules, module
try:
    import flask
except ModuleNotFoundError:
    print("done")
"""


def test_it_works_with_its_declared_dependencies_only(tmp_path: Path) -> None:
    pytest.importorskip("flask", reason="full mlflow is not installed: nothing to guard against")
    assert python(GUARD + USE, str(tmp_path)).strip() == "done"
    assert (tmp_path / "mlflow.db").exists()


def test_the_interpreters_end_does_not_search_what_mlflow_has_imported() -> None:
    code = (
        "import atexit, gc, sys\n"
        "from fedtrack_mlflow.settings import calm\n"
        "atexit.register(lambda: print(gc.get_freeze_count()))\n"  # handlers run in reverse order: this one last
        "with calm():\n"
        "    print(gc.get_freeze_count())\n"
    )
    before, after = map(int, python(code).split())
    assert before < 1000 < after


def test_opening_while_the_import_is_still_going_on(tmp_path: Path) -> None:
    code = f"""
import sys, threading
from pathlib import Path
from fedtrack.testing import run_info
from fedtrack_mlflow import MLflowReceiver

receiver = MLflowReceiver()
thread = threading.Thread(target=receiver.prepare)
thread.start()
while "mlflow" not in sys.modules:
    pass
assert thread.is_alive()
receiver.open(run_info(Path({str(tmp_path)!r})))
print("opened", receiver.results() is not None)
receiver.close("completed")
thread.join()
"""
    assert python(code).strip() == "opened True"


def test_a_module_is_handed_out_when_it_is_ready(tmp_path: Path) -> None:
    (tmp_path / "slow_module.py").write_text("import time\ntime.sleep(0.5)\nready = True\n")
    code = f"""
import sys, threading
from fedtrack_mlflow.settings import import_quietly

sys.path.insert(0, {str(tmp_path)!r})
thread = threading.Thread(target=import_quietly, args=("slow_module",))
thread.start()
while "slow_module" not in sys.modules:
    pass
print(import_quietly("slow_module").ready)
thread.join()
"""
    assert python(code).strip() == "True"
