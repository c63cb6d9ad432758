"""The choice of job.py arrives in client.py, and every site gets its own part of the images."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from fedtrack.errors import ConfigError
from fedtrack_examples.data_choice import DataChoice, parser

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    "choice",
    [
        DataChoice(),
        DataChoice("imagefolder", Path("/data/my 'own' pictures"), "dirichlet", 0.1, seed=7, n_sites=12),
    ],
)
def test_a_script_reads_what_the_job_chose(choice: DataChoice) -> None:
    args = parser().parse_args(shlex.split(choice.script_args()))
    assert DataChoice.from_args(args) == choice


def test_a_relative_folder_is_made_absolute() -> None:
    assert f"--data-dir={Path.cwd() / 'pictures'}" in DataChoice(data_dir=Path("pictures")).script_args()


def test_no_two_sites_have_the_same_image_to_train_on_or_to_be_tested_on() -> None:
    choice = DataChoice(partition="dirichlet", n_sites=3, seed=5)
    loaded = [choice.load(f"site-{number}") for number in (1, 2, 3)]
    indices = [index for train, _ in loaded for index in train.indices]
    assert sorted(indices) == list(range(1438))
    assert sorted(index for _, test in loaded for index in test.indices) == list(range(359))


def test_more_sites_than_test_images_share_them() -> None:
    _, test = DataChoice(n_sites=400).load("site-400")
    assert len(test) == 359


@pytest.mark.parametrize("site", ["site-3", "site-0", "hospital", "site-01"])
def test_a_site_without_a_part_is_refused(site: str) -> None:
    with pytest.raises(ConfigError, match=f"'{site}': they are dealt out to 2 sites, site-1 to site-2"):
        DataChoice(n_sites=2).load(site)


def test_the_network_fits_the_images(tmp_path: Path, make_images: Callable[[Path, int], None]) -> None:
    assert DataChoice().model("model.py:Net") == "model.py:Net"
    for name in ("cat", "dog", "emu"):
        make_images(tmp_path / name, 2)
    assert DataChoice("imagefolder", tmp_path).model("model.py:Net") == {
        "path": "model.py:Net",
        "args": {"channels": 3, "size": 32, "classes": 3},
    }


def test_what_job_py_imports_imports_no_torch() -> None:
    code = """if True:
        import sys
        from fedtrack_examples import data_choice, fedtrack_examples, options
        data_choice.DataChoice().model("model.py:SimpleNetwork")
        fedtrack_examples()
        assert not {"torch", "torchvision", "sklearn", "PIL"} & sys.modules.keys()
        """
    subprocess.run([sys.executable, "-c", code], check=True)
