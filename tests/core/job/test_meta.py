"""Meta: the settings of a job are checked against each other, and each message has its place in the file."""

from __future__ import annotations

from typing import Any

import pytest

from fedtrack.errors import ConfigError
from fedtrack.job.meta import Meta

TWO = {"app_server": ["server"], "app_a": ["site-1"], "app_b": ["site-2"]}


def meta(**changes: Any) -> Meta:
    return Meta(**{"name": "j", "deploy_map": TWO} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": ""}, r"\$\.name is ''; use 1 to 64"),
        ({"name": "../j"}, r"\$\.name is '\.\./j'"),
        ({"min_clients": -1}, r"\$\.min_clients is -1; it must be 1 or more"),
        ({"min_clients": 0}, r"\$\.min_clients is 0; it must be 1 or more"),
        ({"min_clients": 9}, r"\$\.min_clients is 9, but the job has 2 sites; give at most 2"),
        (
            {"mandatory_clients": ["nobody"]},
            r"mandatory_clients names 'nobody', which is no site.*: site-1, site-2",
        ),
        ({"mandatory_clients": ["site-1", "site-1"]}, r"\$\.mandatory_clients names 'site-1' twice"),
        ({"idle_timeout": 0}, r"\$\.idle_timeout is 0; it must be more than 0 seconds"),
        ({"deploy_map": {}}, r"\$\.deploy_map names no app for 'server'"),
        ({"deploy_map": {"app": ["server"]}}, r"\$\.deploy_map names no site"),
        ({"deploy_map": TWO | {"app_c": []}}, r"\$\.deploy_map\.app_c is empty"),
        ({"deploy_map": TWO | {"app_c": ["site-1"]}}, r"gives 'site-1' the app 'app_a' and 'app_c'; a node has one"),
        ({"deploy_map": TWO | {"app_c": ["../../escaped"]}}, r"A node in \$\.deploy_map\.app_c is '\.\./\.\./escaped'"),
        ({"deploy_map": TWO | {"../x": ["site-3"]}}, r"A name in \$\.deploy_map is '\.\./x'"),
        ({"deploy_map": TWO | {"app_c": [""]}}, r"A node in \$\.deploy_map\.app_c is ''"),
        ({"deploy_map": TWO | {"app_c": ["x" * 5000]}}, r"A node in \$\.deploy_map\.app_c is 'xxx"),
        ({"deploy_map": TWO | {"app_c": ["@ALL"]}}, r"names '@ALL' and sites; give either all by name, or none"),
    ],
)
def test_settings_are_checked(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        meta(**changes)
    assert len(str(caught.value)) < 300


def test_sites_are_in_the_order_of_the_file() -> None:
    assert meta().sites == ["site-1", "site-2"]
    assert not meta().is_for_all_sites
    assert meta(deploy_map={"app": ["server", "z", "a"]}).sites == ["z", "a"]


def test_all_sites_have_no_names_yet() -> None:
    found = meta(deploy_map={"s": ["server"], "c": ["@ALL"]}, min_clients=2, mandatory_clients=["b"])
    assert found.is_for_all_sites
    assert found.sites == []
    found.check_sites(["a", "b"])
    with pytest.raises(ConfigError, match=r"min_clients is 2, but the job has 1 sites"):
        found.check_sites(["b"])
    with pytest.raises(ConfigError, match=r"mandatory_clients names 'b'"):
        found.check_sites(["a", "c"])
