"""Local modules: all that a script imports from beside itself goes with it, and nothing of it is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.local_modules import local_modules, third_party_modules


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, source in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(source)
    return folder / "client.py"


def test_imports_are_followed_through_each_other_and_in_circles(tmp_path: Path) -> None:
    script = write(
        tmp_path,
        {
            "client.py": "import a, json\nfrom nets.deep import Net\nraise SystemExit('it was run')\n",
            "a.py": "from b import x\nimport client\n",
            "b.py": "import a\nimport torch.nn as nn\n",
            "nets/__init__.py": "",
            "nets/deep.py": "from . import shallow\nimport c\n",
            "nets/shallow.py": "",
            "c.py": "def f():\n    import d\n",
            "d.py": "",
            "unused.py": "import numpy\n",
        },
    )
    assert set(local_modules(script)) == {"a.py", "b.py", "nets", "c.py", "d.py"}
    assert third_party_modules(script) == ["json", "torch"]


def test_a_script_without_neighbours_brings_nothing(tmp_path: Path) -> None:
    script = write(tmp_path, {"client.py": "import torch\nimport fedtrack.client as flare\n"})
    assert local_modules(script) == {}
    assert third_party_modules(script) == ["fedtrack", "torch"]


def test_a_neighbour_goes_before_what_is_installed(tmp_path: Path) -> None:
    script = write(tmp_path, {"client.py": "import json\n", "json.py": ""})
    assert local_modules(script) == {"json.py": tmp_path / "json.py"}


def test_relative_imports_name_neighbours(tmp_path: Path) -> None:
    script = write(tmp_path, {"client.py": "from .a import x\nfrom . import b\n", "a.py": "", "b.py": ""})
    assert set(local_modules(script)) == {"a.py", "b.py"}


@pytest.mark.parametrize("source", ["def (", "x = '\0'"])
def test_a_file_that_is_no_python_is_named_whichever_it_is(source: str, tmp_path: Path) -> None:
    script = write(tmp_path, {"client.py": "import a\n", "a.py": source})
    with pytest.raises(ConfigError, match=rf"{tmp_path / 'a.py'} is not valid Python"):
        local_modules(script)
