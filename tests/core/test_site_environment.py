"""SiteEnvironment: what a program needs passes, what a server keeps for itself does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fedtrack.site_environment import VARIABLE, site_environment

pytestmark = pytest.mark.threat("T9")

SECRETS = (
    "GITHUB_TOKEN GH_TOKEN HF_TOKEN HUGGING_FACE_HUB_TOKEN PGPASSWORD OPENAI_API_KEY ANTHROPIC_API_KEY WANDB_API_KEY "
    "MLFLOW_TRACKING_PASSWORD AWS_SECRET_ACCESS_KEY AZURE_CLIENT_SECRET GOOGLE_APPLICATION_CREDENTIALS FEDTRACK_TOKEN "
    "FEDTRACK_CONFIG SSH_AUTH_SOCK DBUS_SESSION_BUS_ADDRESS XAUTHORITY KUBECONFIG VAULT_TOKEN NPM_TOKEN MY_VARIABLE "
    "SLURM_JWT PYTHON_TOKEN UV_PUBLISH_TOKEN DATABASE_URL BASH_ENV"
)
NEEDED = (
    "PATH HOME LANG LC_ALL TZ TMPDIR PYTHONPATH PYTHONHASHSEED PYTHONUNBUFFERED LD_LIBRARY_PATH CUDA_VISIBLE_DEVICES "
    "NVIDIA_VISIBLE_DEVICES OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS NCCL_DEBUG TORCH_HOME HF_HOME "
    "XDG_CACHE_HOME SSL_CERT_FILE VIRTUAL_ENV SLURM_JOB_ID COVERAGE_PROCESS_START FEDTRACK_SPEEDUPS"
)


@pytest.fixture(autouse=True)
def nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("FEDTRACK_CONFIG", raising=False)


@pytest.mark.parametrize("name", SECRETS.split())
def test_what_the_server_has_for_itself_stays_out(name: str) -> None:
    assert site_environment({name: "x"}) == {}


@pytest.mark.parametrize("name", NEEDED.split())
def test_what_a_program_needs_passes(name: str) -> None:
    assert site_environment({name: "x"}) == {name: "x"}


def test_a_proxy_with_a_password_stays_out() -> None:
    found = site_environment({"HTTPS_PROXY": "http://me:pw@proxy:3128", "HTTP_PROXY": "http://proxy:3128"})
    assert found == {"HTTP_PROXY": "http://proxy:3128"}


def test_the_operator_can_name_more(tmp_path: Path) -> None:
    (tmp_path / "fedtrack").mkdir()
    (tmp_path / "fedtrack" / "fedtrack.toml").write_text('[jobs]\nsite_variables = ["DATA_*"]\n')
    given = {"DATA_A": "1", "HF_TOKEN": "2", "OTHER": "3"}
    assert site_environment(given) == {"DATA_A": "1"}
    named = {**given, VARIABLE: "HF_TOKEN, OTH*"}
    assert site_environment(named) == {"HF_TOKEN": "2", "OTHER": "3"}


def test_a_file_that_is_not_valid_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "fedtrack").mkdir()
    (tmp_path / "fedtrack" / "fedtrack.toml").write_text("[jobs\n")
    assert site_environment({"DATA_A": "1", "PATH": "/bin"}) == {"PATH": "/bin"}


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="only Linux shows what a process began with")
def test_a_process_forgets_what_it_began_with() -> None:
    code = """
import os, pathlib, shutil, subprocess
from fedtrack.site_environment import keep_only, site_environment
assert b"canary" in pathlib.Path("/proc/self/environ").read_bytes()
keep_only({**site_environment(), "MADE": "here"})
assert b"canary" not in pathlib.Path("/proc/self/environ").read_bytes()
assert "GITHUB_TOKEN" not in os.environ
assert shutil.which("env") == subprocess.check_output(["sh", "-c", "command -v env"], text=True).strip()
print(subprocess.check_output(["env"], text=True))
"""
    environment = {"PATH": "/usr/bin:/bin", "GITHUB_TOKEN": "canary-1", "PYTHONPATH": ":".join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "MADE=here" in done.stdout
    assert "canary" not in done.stdout
