"""A changed parameter is stored under a further name, which is the same at every delivery."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedtrack_mlflow.keys import encode
from fedtrack_mlflow.params import ParamHistory

SECOND = 1_000_000_000


def store(history: ParamHistory, params: dict[str, str], log: list[tuple[str, str, int]]) -> None:
    for key, value, time_ns in log:
        name = history.name(key, value, time_ns)
        if name is not None:
            assert params.setdefault(name, value) == value, "MLflow would refuse this"


def test_the_first_value_has_the_plain_name_and_a_changed_one_tells_when() -> None:
    params: dict[str, str] = {}
    store(
        ParamHistory({}, encode),
        params,
        [("lr", "0.1", SECOND), ("lr", "0.1", 2 * SECOND), ("lr", "0.2", 3 * SECOND)],
    )
    assert params == {"lr": "0.1", "lr changed 1970-01-01T00:00:03.000000000Z": "0.2"}


def test_a_value_that_comes_back_is_a_change_too() -> None:
    params: dict[str, str] = {}
    store(ParamHistory({}, encode), params, [("lr", value, at * SECOND) for at, value in enumerate("aba")])
    assert sorted(params.items())[-1] == ("lr changed 1970-01-01T00:00:02.000000000Z", "a")
    assert len(params) == 3


@given(st.lists(st.tuples(st.sampled_from(["lr", "a@b"]), st.sampled_from("xyz"), st.integers(0, 3)), max_size=12))
def test_delivering_again_adds_nothing(steps: list[tuple[str, str, int]]) -> None:
    now, log = 0, []
    for key, value, passed in steps:
        now += passed + 1
        log.append((key, value, now))
    params: dict[str, str] = {}
    history = ParamHistory(params, encode)
    store(history, params, log)
    once = dict(params)
    store(history, params, log)
    assert params == once
    for start in range(len(log)):  # a restart, with the cursor anywhere
        store(ParamHistory(params, encode), params, log[start:])
        assert params == once
    for key, value, _ in log:
        assert value in [v for name, v in params.items() if name.startswith(encode(key))]


def test_a_key_that_only_looks_like_a_change_is_a_key() -> None:
    params: dict[str, str] = {"lr": "1", "lr changed my mind": "2"}
    history = ParamHistory(params, encode)
    assert history.name("lr changed my mind", "2", SECOND) is None
    assert history.name("lr", "1", SECOND) is None


def test_a_change_within_one_tick_of_the_clock_is_kept_once() -> None:
    params: dict[str, str] = {}
    for _ in range(2):
        store(ParamHistory(params, encode), params, [("lr", "0.1", SECOND), ("lr", "0.2", SECOND)])
    assert sorted(params.values()) == ["0.1", "0.2"]
