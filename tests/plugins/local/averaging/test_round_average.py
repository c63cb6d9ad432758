"""RoundAverage: answers count in the order of the sites, and what is wrong with one is that site's affair."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtrack.client.fl_model import FLModel, ParamsType
from fedtrack.errors import JobError
from fedtrack_local.averaging.aggregator import WeightedAggregator
from fedtrack_local.averaging.result_limits import ResultLimits
from fedtrack_local.averaging.round_average import RoundAverage
from fedtrack_local.workflows.workflow import Answer, GroupAnswer
from support.memory_server import MemoryServer

SITES = [f"site-{n}" for n in range(1, 6)]
REFERENCE = {"w": np.zeros(8, np.float32)}


@pytest.fixture
def server(tmp_path: Path) -> MemoryServer:
    return MemoryServer(tmp_path, lambda site, task: None, sites=len(SITES))


def params(site: str) -> dict[str, Any]:
    return {"w": np.random.default_rng(int(site[-1])).standard_normal(8, np.float32)}


def steps(site: str) -> dict[str, Any]:
    return {"NUM_STEPS_CURRENT_ROUND": int(site[-1])}


def answer(site: str, model: FLModel | None = None) -> Answer:
    return Answer(site, model or FLModel(params=params(site), metrics={"loss": 1.0}, meta=steps(site)), 10)


def group(sites: Sequence[str]) -> GroupAnswer:
    worker = WeightedAggregator(REFERENCE)
    for site in sites:
        worker.accept(site, params(site), ParamsType.FULL, float(site[-1]))
    models = {site: FLModel(metrics={"loss": 1.0}, meta=steps(site)) for site in sites}
    return GroupAnswer(sites, models, worker.partial(), 10)


def close(server: MemoryServer, answers: Sequence[Answer | GroupAnswer], sites: Sequence[str] = SITES) -> Any:
    average = RoundAverage(server, REFERENCE, sites)
    for item in answers:
        average.add(item)
    return average.close()


def told(server: MemoryServer) -> list[str]:
    return [arguments["site"] for hook, arguments in server.notified if hook == "fedtrack_result_received"]


@settings(deadline=None, derandomize=True, max_examples=30)
@given(st.permutations(SITES), st.sets(st.sampled_from(SITES), max_size=4))
def test_the_order_of_arrival_changes_no_bit(
    tmp_path_factory: pytest.TempPathFactory, order: list[str], silent: set[str]
) -> None:
    server = MemoryServer(tmp_path_factory.getbasetemp(), lambda site, task: None)
    arriving = [answer(site) for site in order if site not in silent]
    model, metrics, used = close(server, arriving)
    expected = WeightedAggregator(REFERENCE)
    for site in SITES:
        if site not in silent:
            expected.accept(site, params(site), ParamsType.FULL, float(site[-1]))
    assert model["w"].tobytes() == expected.result()["w"].tobytes()
    assert used == tuple(site for site in SITES if site not in silent)
    assert metrics == {"loss": 1.0}
    assert told(server) == list(used)


def test_groups_count_in_their_order_too(server: MemoryServer) -> None:
    groups = [group(SITES[:2]), group(SITES[2:4]), group(SITES[4:])]
    found = {close(server, arriving)[0]["w"].tobytes() for arriving in permutations(groups)}
    assert len(found) == 1


def test_a_site_that_is_early_waits_and_is_told_of_when_its_turn_comes(server: MemoryServer) -> None:
    average = RoundAverage(server, REFERENCE, SITES[:3])
    average.add(answer("site-3"))
    average.add(answer("site-2"))
    assert (told(server), average.total_weight, average.size) == ([], 0.0, 20)
    average.add(answer("site-1"))
    assert (told(server), average.total_weight) == (SITES[:3], 6.0)


def test_a_group_that_has_failed_as_a_whole_is_left_out(server: MemoryServer) -> None:
    failed = GroupAnswer(SITES[:2], {}, None, 0)
    assert close(server, [group(SITES[2:4]), failed], SITES[:4])[2] == ("site-3", "site-4")


def test_a_site_that_failed_in_its_group_does_not_count(server: MemoryServer) -> None:
    whole = group(["site-1"])
    partly = GroupAnswer(["site-1", "site-2"], whole.models, whole.partial, 10)
    model, _, used = close(server, [partly], SITES[:2])
    assert used == ("site-1",)
    assert model["w"].tobytes() == params("site-1")["w"].tobytes()


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (FLModel(metrics={"loss": 1.0}), "has no params; send FLModel(params=...)"),
        (FLModel(params={"v": np.zeros(8, np.float32)}), "site-2: the result lacks 'w' and has unexpected 'v'"),
        (FLModel(params={"w": np.full(8, np.nan, np.float32)}), "site-2: tensor 'w' holds nan"),
        (FLModel(params=params("site-2"), meta={"NUM_STEPS_CURRENT_ROUND": 0}), "meta['NUM_STEPS_CURRENT_ROUND'] is 0"),
    ],
)
def test_an_unusable_result_is_refused_with_its_reason_and_leaves_no_trace(
    model: FLModel, reason: str, server: MemoryServer
) -> None:
    found, _, used = close(server, [answer("site-1"), answer("site-2", model)], SITES[:2])
    assert reason in server.rejected["site-2"]
    assert used == ("site-1",)
    assert found["w"].tobytes() == params("site-1")["w"].tobytes()


def test_a_round_in_which_everything_is_unusable_is_the_jobs_end(server: MemoryServer) -> None:
    with pytest.raises(JobError, match="No site sent a usable result in this round"):
        close(server, [answer("site-1", FLModel(metrics={}))], ["site-1"])


def test_without_a_model_the_first_result_in_order_gives_it(server: MemoryServer) -> None:
    average = RoundAverage(server, None, SITES[:2])
    average.add(answer("site-2", FLModel(params={"other": np.ones(1)})))
    average.add(answer("site-1"))
    assert list(average.close()[0]) == ["w"]
    assert "unexpected 'other'" in server.rejected["site-2"]


def test_groups_need_a_model_to_begin_with(server: MemoryServer) -> None:
    average = RoundAverage(server, None, SITES[:2])
    with pytest.raises(JobError, match="need an initial model; give one to the job"):
        average.add(group(SITES[:2]))


def test_plugins_are_not_handed_the_parameters(server: MemoryServer) -> None:
    close(server, [answer("site-1")], ["site-1"])
    ((_, arguments),) = server.notified
    assert (arguments["model"].params, arguments["model"].metrics) == (None, {"loss": 1.0})


def test_a_site_that_claims_all_steps_of_the_world_does_not_own_the_model(server: MemoryServer) -> None:
    claim = {"NUM_STEPS_CURRENT_ROUND": 2**53}
    for place in ("site-1", "site-3", "site-5"):
        server.rejected.clear()
        answers = [
            answer(site, FLModel(params=params(site), metrics={}, meta=claim)) if site == place else answer(site)
            for site in SITES
        ]
        found, _, used = close(server, answers)
        assert used == tuple(site for site in SITES if site != place)
        assert "claims 9,007,199,254,740,992 steps" in server.rejected[place]
        expected = close(server, [item for item in answers if item.site != place], [s for s in SITES if s != place])
        assert found["w"].tobytes() == expected[0]["w"].tobytes()


def test_a_large_claim_that_fits_the_others_is_averaged_in_the_order_of_the_sites(server: MemoryServer) -> None:
    large = {site: {"NUM_STEPS_CURRENT_ROUND": 200_000 + int(site[-1])} for site in SITES}
    answers = [answer(site, FLModel(params=params(site), metrics={}, meta=large[site])) for site in SITES]
    one, other = close(server, answers), close(server, answers[::-1])
    assert one[0]["w"].tobytes() == other[0]["w"].tobytes()
    assert one[2] == other[2] == tuple(SITES)
    assert not server.rejected


def test_of_a_group_with_a_false_claim_nothing_is_averaged(server: MemoryServer) -> None:
    first, second = group(SITES[:3]), group(SITES[3:])
    first.models["site-2"].meta["NUM_STEPS_CURRENT_ROUND"] = 2**53
    found, _, used = close(server, [first, second])
    assert (used, list(server.rejected)) == (tuple(SITES[3:]), ["site-2"])
    np.testing.assert_array_equal(found["w"], close(server, [second], SITES[3:])[0]["w"])


def test_a_jobs_caps_count(server: MemoryServer) -> None:
    meta = [{"NUM_STEPS_CURRENT_ROUND": steps} for steps in (2**53, 1)]
    ones = np.ones(8, np.float32)
    average = RoundAverage(server, REFERENCE, SITES[:2], limits=ResultLimits(max_weight=1.0, max_norm=1.0))
    average.add(answer("site-1", FLModel(params={"w": ones * 1e6}, meta=meta[0])))
    average.add(answer("site-2", FLModel(params={"w": ones * 0}, meta=meta[1])))
    found, _, used = average.close()
    assert used == ("site-1", "site-2")
    assert float(np.linalg.norm(found["w"])) == pytest.approx(0.5)
    assert average.total_weight == 2.0
