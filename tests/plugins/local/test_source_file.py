"""Scripts as main programs and files as modules: what Python itself would have, and what their children find."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest


def python(folder: Path, code: str) -> str:
    """Run ``code`` in a Python of its own, which has imported multiprocessing already, and return its output."""
    program = "import multiprocessing, sys\nfrom pathlib import Path\nfrom fedtrack_local.source_file import *\n"
    command = [sys.executable, "-P", "-c", program + dedent(code)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


LOOK = """
import json, sys
from dataclasses import dataclass
number: int = 1

@dataclass
class Part:
    value: "int"

main = sys.modules["__main__"]
seen = {
    "names": [n for n in ("__name__", "__file__", "__doc__", "__package__", "__spec__", "__cached__")],
    "values": [__name__, __file__, __doc__, __package__, repr(__spec__), __cached__],
    "loader": type(__loader__).__name__, "builtins": __builtins__ is __import__("builtins"),
    "argv": sys.argv, "path": sys.path[0], "module": Part.__module__, "class": main.Part is Part,
    "annotations": sorted(__annotations__),
}
print(json.dumps(seen))
"""


def test_a_script_finds_itself_as_python_would_have_it(tmp_path: Path) -> None:
    script = tmp_path / "look.py"
    script.write_text(LOOK)
    command = [sys.executable, str(script), "--lr", "1"]
    plain = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    ours = python(tmp_path, f"run_script(Path({str(script)!r}), ['--lr', '1'])")
    assert json.loads(ours) == json.loads(plain.stdout)


USE = """
import inspect, pickle, typing
module = import_file(Path("FILE.py"))
part = module.Part(1)
assert pickle.loads(pickle.dumps(part)) == part
assert typing.get_type_hints(module.Part) == {"value": int}
assert "class Part" in inspect.getsource(module.Part)
assert sys.modules[module.__name__] is module and module.__name__ != "__main__"
print(module.__name__)
"""


@pytest.mark.parametrize(
    ("file", "name"),
    [("client", "client"), ("random", "fedtrack_file_random"), ("my-app", "fedtrack_file_my_app")],
)
def test_a_file_is_a_real_module(file: str, name: str, tmp_path: Path) -> None:
    (tmp_path / f"{file}.py").write_text(
        "from dataclasses import dataclass\n@dataclass\nclass Part:\n    value: 'int'\n"
    )
    assert python(tmp_path, USE.replace("FILE", file)) == f"{name}\n"
    assert [path.name for path in tmp_path.iterdir()] == [f"{file}.py"]  # no cache in a job's folder


def test_a_file_that_cannot_be_imported_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("1 / 0")
    code = """
    try:
        import_file(Path("client.py"))
    except ZeroDivisionError:
        print("client" in sys.modules)
    """
    assert python(tmp_path, code) == "False\n"


def test_children_of_a_process_without_a_script_run_no_main_program(tmp_path: Path) -> None:
    (tmp_path / "client.py").write_text("def double(x):\n    return 2 * x\n")
    code = """
    forget_main()
    module = import_file(Path("client.py").absolute())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(pool.map(module.double, [1, 2]))
    """
    assert python(tmp_path, code) == "[2, 4]\n"
