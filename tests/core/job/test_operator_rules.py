"""OperatorRules: what the receivers of a job may read and where they may send it."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from fedtrack import Receiver
from fedtrack.errors import ConfigError
from fedtrack.job.operator_rules import OperatorRules

pytestmark = pytest.mark.threat("T8", "T9")


class Some(Receiver):
    name = "my-store"
    summary = "For these tests."
    supports = frozenset()

    def open(self, run: object) -> None: ...

    def receive(self, batch: object) -> None: ...


class Declares(Some):
    variables: ClassVar[tuple[str, ...]] = ("PGPASSWORD", "STORE_*")


@pytest.mark.parametrize("name", ["AWS_SECRET_ACCESS_KEY", "MY_STOR", "HOME", "my_store_x", "XMY_STORE_A"])
def test_a_variable_that_nobody_declared_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^args\.a\[0\] refers to {name}, which jobs may not read here"):
        OperatorRules().check(Some, {"a": [f"x${{ENV:{name}}}"]}, "args")


@pytest.mark.parametrize(
    ("receiver", "name"), [(Some, "MY_STORE_TOKEN"), (Declares, "PGPASSWORD"), (Declares, "STORE_X"), (Some, "MINE")]
)
def test_what_the_receiver_or_the_operator_declares_may_be_read(receiver: type[Receiver], name: str) -> None:
    OperatorRules(variables=("MI*",)).check(receiver, {"a": f"${{ENV:{name}}}"}, "args")


SECRET = "${ENV:MY_STORE_PW}"  # noqa: S105


@pytest.mark.parametrize(
    "args",
    [
        {"uri": f"http://me:{SECRET}@evil.example"},
        {"uri": f"http://evil.example/?x={SECRET}"},
        {"uri": "HTTPS://evil.example:443/", "key": SECRET},
        {"uri": f"http://{SECRET}.evil.example/"},
        {"uri": f"http://{SECRET}@evil.example/"},
        {"uri": f"http://{SECRET}{SECRET}/"},
        {"uri": "http://127.0.0.1\\@evil.example/", "key": SECRET},
        {"uri": "http://localhost.evil.example/", "key": SECRET},
        {"uri": "postgresql+psycopg://evil.example/db", "key": SECRET},
        {"host": "evil.example", "key": SECRET},
        {"deep": [{"endpoint": "evil.example:80"}], "key": SECRET},
        {"uri": "http://[::1/", "key": SECRET},
    ],
)
def test_the_value_of_a_variable_goes_to_no_host_that_the_job_names(args: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="which the operator of this node has not allowed"):
        OperatorRules().check(Some, args, "args")


@pytest.mark.parametrize(
    "args",
    [
        {"uri": f"http://me:{SECRET}@127.0.0.1:5000"},
        {"uri": f"http://me:{SECRET}@localhost:5000"},
        {"uri": "http://[::1]:5000", "key": SECRET},
        # The operator's own address.
        {"uri": SECRET},
        {"uri": f"https://{SECRET}:{SECRET}@{SECRET}:5000/path"},
        {"uri": "sqlite:////tmp/x.db", "artifacts": "s3://bucket/path", "key": SECRET},
        # Nothing of the operator's goes there.
        {"uri": "https://mlflow.example/"},
        {"note": "see evil.example", "key": SECRET},
    ],
)
def test_it_goes_to_this_machine_and_to_the_operators_hosts(args: dict[str, object]) -> None:
    OperatorRules().check(Some, args, "args")


def test_where_the_operator_names_hosts_there_are_no_others() -> None:
    rules = OperatorRules(hosts=("*.hospital.example", "127.0.0.1"))
    rules.check(Some, {"uri": f"https://u:{SECRET}@MLflow.hospital.example/x"}, "args")
    with pytest.raises(ConfigError, match=r"^args\.uri names the host 'evil\.example', which the operator"):
        rules.check(Some, {"uri": "https://evil.example/"}, "args")


def test_they_are_read_from_the_environment_and_the_operators_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "fedtrack.toml"
    path.write_text('[jobs]\nvariables = ["A_*"]\nhosts = ["h"]\n')
    path.chmod(0o600)
    monkeypatch.setenv("FEDTRACK_CONFIG", str(path))
    assert OperatorRules.of_this_node() == OperatorRules(("A_*",), ("h",))
    monkeypatch.setenv("FEDTRACK_JOB_VARIABLES", "B, C_*")
    monkeypatch.setenv("FEDTRACK_JOB_HOSTS", "")
    assert OperatorRules.of_this_node() == OperatorRules(("B", "C_*"), ())
    path.chmod(0o620)
    with pytest.raises(ConfigError, match="can be written by others"):
        OperatorRules.of_this_node()


def test_a_file_beside_a_job_allows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fedtrack.toml").write_text('[jobs]\nvariables = ["*"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "none"))
    monkeypatch.delenv("FEDTRACK_CONFIG", raising=False)
    assert OperatorRules.of_this_node() == OperatorRules()
