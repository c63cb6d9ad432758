"""Continuous integration and pre-commit run the commands of a developer, and have no more rights than they need."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MAKEFILE = (ROOT / "Makefile").read_text()
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
#: What a step may run beside make: what only a bare machine needs.
OTHER_COMMANDS = ("sudo apt-get",)

each_workflow = pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def jobs_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())["jobs"]
    return found


def steps_of(path: Path) -> Iterator[dict[str, Any]]:
    for job in jobs_of(path).values():
        yield from job["steps"]


@each_workflow
def test_a_workflow_runs_make_targets_that_exist(path: Path) -> None:
    commands = [line for step in steps_of(path) for line in step.get("run", "").splitlines()]
    made = [command.split()[1] for command in commands if command.startswith("make ")]
    assert made
    assert set(made) <= make_targets()
    assert all(command.startswith(("make ", *OTHER_COMMANDS)) for command in commands)


@each_workflow
@pytest.mark.threat("T14")
def test_a_workflow_reads_the_repository_and_nothing_more(path: Path) -> None:
    assert yaml.safe_load(path.read_text())["permissions"] == {"contents": "read"}
    for job in jobs_of(path).values():
        assert "permissions" not in job
        assert job["timeout-minutes"] <= 90
    for step in steps_of(path):
        if step.get("uses", "").startswith("actions/checkout@"):
            assert step["with"]["persist-credentials"] is False


@each_workflow
@pytest.mark.threat("T14")
def test_actions_are_pinned_by_a_tag(path: Path) -> None:
    used = [step["uses"] for step in steps_of(path) if "uses" in step]
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)


def test_the_supported_versions_of_python_are_tested() -> None:
    classifiers = re.findall(r"Python :: (3\.\d+)", (ROOT / "core" / "pyproject.toml").read_text())
    assert jobs_of(ROOT / ".github" / "workflows" / "ci.yml")["fast"]["strategy"]["matrix"]["python"] == classifiers


def test_pre_commit_runs_the_tools_of_make_check() -> None:
    recipe = MAKEFILE.partition("\ncheck:")[2].partition("\n\n")[0]
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    hooks = {tool for hook in repository["hooks"] for tool in re.findall(r"\.venv/bin/\S+", hook["entry"])}
    assert repository["repo"] == "local"
    assert hooks == set(re.findall(r"\.venv/bin/\S+", recipe))


@pytest.mark.parametrize("form", ["bug.yml", "plugin.yml"])
def test_an_issue_form_asks_for_something(form: str) -> None:
    content = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / form).read_text())
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert content["name"]
    assert content["description"]
    assert len({field["id"] for field in fields}) == len(fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "changelog.d/README.md", ".github/pull_request_template.md"])
def test_pages_name_make_targets_that_exist(page: str) -> None:
    text = (ROOT / page).read_text()
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", text, re.MULTILINE))
    assert {target for pair in named for target in pair if target} <= make_targets()
