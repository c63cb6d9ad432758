"""Consistency: parts of a job that contradict each other are refused, and arguments without an effect are named."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedtrack import Workflow
from fedtrack.errors import ConfigError
from fedtrack.job import CrossSiteEval, FedAvg, IntimeModelSelector, ScriptRunner, ValidationJsonGenerator
from fedtrack.job.consistency import check_tasks, check_workflows, remarks
from fedtrack.job.loaded_job import LoadedSite

PATH = Path("server.json")


def workflows(*items: Workflow) -> dict[str, Workflow]:
    return {f"w{index}": item for index, item in enumerate(items)}


def test_a_round_is_not_played_twice() -> None:
    evaluation = CrossSiteEval()
    for start_round in (0, 3, 9):
        row = workflows(FedAvg(num_rounds=3), evaluation, FedAvg(num_rounds=3, start_round=start_round))
        check_workflows(PATH, row, ["a"])
    row = workflows(FedAvg(num_rounds=3), evaluation, FedAvg(start_round=2))
    with pytest.raises(ConfigError, match=r"workflows\[2\]\.args\.start_round is 2, .* up to 2; .* give 3 or more"):
        check_workflows(PATH, row, ["a"])


def test_the_rounds_of_a_plugins_workflow_are_not_known() -> None:
    class Other(Workflow):
        """Plays as many rounds as it wants to."""

    check_workflows(PATH, workflows(FedAvg(num_rounds=3), Other(), FedAvg(start_round=2)), ["a"])


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "is empty; valid are 'submit_model', 'train', 'validate', or"),
        (["validate"], "lacks 'train', which the workflows of the job ask for"),
        (["train", "train"], "names 'train' twice"),
        (["train", "fly"], "names 'fly'; valid are"),
        (["*", "train"], "has '\\*', which means all tasks, and others"),
    ],
)
def test_an_executor_does_what_the_workflows_ask_for(tasks: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=rf"client\.json: \$\.executors\[0\]\.tasks {message}"):
        check_tasks(Path("client.json"), tasks, frozenset({"train"}))
    check_tasks(Path("client.json"), ["train", "validate"], frozenset({"train"}))
    check_tasks(Path("client.json"), ["*"], frozenset({"train", "submit_model"}))


def site(runner: ScriptRunner) -> LoadedSite:
    return LoadedSite("a", Path(), Path(), [], runner, None, True, {})


@pytest.mark.parametrize(
    ("name", "warned"),
    [("loss", True), ("val_loss", True), ("RMSE", True), ("test/error", True), ("accuracy", False), ("mirror", False)],
)
def test_a_metric_that_looks_like_a_loss_is_named(name: str, warned: bool) -> None:
    plain = [site(ScriptRunner("c.py"))]
    for selector in (IntimeModelSelector(name, "min"), IntimeModelSelector(name, negate_key_metric=True)):
        assert list(remarks(workflows(FedAvg()), {"s": selector}, plain)) == []
    found = list(remarks(workflows(FedAvg()), {"s": IntimeModelSelector(name)}, plain))
    assert bool(found) == warned
    assert all("the model with the largest" in text and "key_metric_mode='min'" in text for text in found)


def test_what_has_no_effect_is_named() -> None:
    plain = [site(ScriptRunner("c.py"))]
    assert list(remarks(workflows(FedAvg()), {"j": ValidationJsonGenerator()}, plain)) == []
    found = list(remarks(workflows(FedAvg(seed=3)), {"j": ValidationJsonGenerator("other")}, plain))
    assert found == [
        "the workflow 'w0': seed is 3, but all 1 sites take part in each round and none is chosen",
        "the component 'j' has no effect, because no workflow of the job evaluates across sites",
    ]
    found = list(remarks(workflows(CrossSiteEval()), {"s": IntimeModelSelector("auc")}, plain))
    assert found == ["the component 's' has no effect, because no workflow of the job trains"]
    found = list(remarks(workflows(FedAvg()), {}, [site(ScriptRunner("c.py", command="nice python3"))]))
    assert found == ["the command of a has no effect without launch_external_process"]
