"""A misspelt argument of a job is blamed on the class that was called, with the argument that was meant."""

from __future__ import annotations

import inspect
import re

import pytest

from fedtrack.job import BaseFedJob, FedAvgJob, FedJob

JOBS = [FedJob, BaseFedJob, FedAvgJob]


@pytest.mark.parametrize(
    ("job", "given", "meant"),
    [
        (FedAvgJob, "n_clint", "n_clients"),
        (FedAvgJob, "rounds", "num_rounds"),
        (FedAvgJob, "min_client", "min_clients"),
        (BaseFedJob, "key_metrics", "key_metric"),
        (FedJob, "durabilty", "durability"),
    ],
)
def test_the_argument_that_was_meant_is_suggested(job: type[FedJob], given: str, meant: str) -> None:
    with pytest.raises(TypeError, match=f"^{job.__name__} has no argument '{given}'; did you mean '{meant}'"):
        job(**{given: 3})


def test_without_a_near_one_all_are_listed() -> None:
    with pytest.raises(TypeError, match="valid are name, min_clients, mandatory_clients, idle_timeout"):
        FedJob(xyz=1)  # type: ignore[call-arg]


@pytest.mark.parametrize("job", JOBS)
def test_every_argument_is_named_typed_and_documented(job: type[FedJob]) -> None:
    parameters = list(inspect.signature(job.__init__).parameters.values())[1:]
    assert all(item.annotation is not inspect.Parameter.empty for item in parameters)
    assert not [item for item in parameters if item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL)]
    documented = re.findall(r"^    (\w+): ", inspect.getdoc(job).partition("Args:")[2], re.MULTILINE)  # type: ignore[union-attr]
    assert [name for name in documented if name not in ("ConfigError", "TypeError")] == [p.name for p in parameters]


@pytest.mark.parametrize("job", JOBS[1:])
def test_a_job_takes_every_argument_of_its_base(job: type[FedJob]) -> None:
    own, base = (inspect.signature(cls.__init__).parameters for cls in (job, job.__bases__[0]))
    assert base.keys() <= own.keys()
    same = [name for name in base if name != "name" and base[name].default == own[name].default]
    assert same == [name for name in base if name != "name"]
