"""Every key has a name that MLflow accepts, and no two keys share one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException
from mlflow.utils import validation

from fedtrack_mlflow import keys

#: MLflow's own checks, which its stores and its server apply.
check_metric: Any = validation._validate_metric
check_param: Any = validation._validate_param
check_tag: Any = validation._validate_tag

#: Few characters, so that keys which collide under a careless encoding do occur.
awkward = st.text(st.sampled_from("/._0x2f5a-: @%\n\0é名"), min_size=1, max_size=12)
any_key = st.one_of(
    awkward,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300),
    st.builds(lambda head, n: head * n, awkward, st.integers(1, 80)),
    awkward.map(keys.encode),  # names as keys: an encoding that is applied twice must not fold back
    awkward.map(keys.encode_path),
    st.builds(lambda key: keys.encode(key * 200), awkward),
)


@given(any_key)
def test_mlflow_accepts_every_name(key: str) -> None:
    for encode in (keys.encode, keys.encode_tag, keys.encode_path, keys.encode_flat):
        name = encode(key)
        check_metric(name, 1.0, 0, 0)
        check_param(name, "v")
        check_tag(name, "v")
    if name := keys.readable(key):
        check_metric(name, 1.0, 0, 0)
        check_tag(name, "v")
        assert not name.startswith(keys.RESERVED_PREFIXES)


@given(any_key, any_key)
def test_two_keys_never_share_a_name(first: str, second: str) -> None:
    assume(first != second)
    for encode in (keys.encode, keys.encode_tag, keys.encode_path, keys.encode_flat):
        assert encode(first) != encode(second)


@given(any_key)
def test_a_name_can_be_read_back(key: str) -> None:
    for encode in (keys.encode, keys.encode_tag, keys.encode_path, keys.encode_flat):
        assert keys.decode(encode(key)) in (key, None)
    if len(key) < 30:
        assert keys.decode(keys.encode(key)) == key


@pytest.mark.parametrize(
    "key", ["loss", "train/loss", "a b-c.d:e_f/0x1", "precisión/名", ".hidden", "x..y", "learning_xa_"]
)
def test_what_mlflow_accepts_stays_as_it_is(key: str) -> None:
    check_metric(key, 1.0, 0, 0)
    assert keys.encode(key) == key


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("acc@5%", "acc_0x40_5_0x25_"),
        ("/a", "_0x2f_a"),
        ("a/", "a_0x2f_"),
        ("a//b", "a/_0x2f_b"),
        ("../../x", "_0x2e_./_0x2e_./x"),
        ("a/./b", "a/_0x2e_/b"),
        ("a_0x40_5", "a_0x5f_0x40_5"),
        ("line\n", "line_0xa_"),
    ],
)
def test_what_mlflow_refuses_is_spelt_out(key: str, name: str) -> None:
    assert keys.encode(key) == name
    assert keys.decode(name) == key


def test_mlflow_does_refuse_a_key_of_the_list_above() -> None:
    with pytest.raises(MlflowException):
        check_metric("acc@5%", 1.0, 0, 0)


def test_a_site_cannot_set_a_reserved_tag() -> None:
    assert keys.encode_tag("mlflow.parentRunId") == "_0x6d_lflow.parentRunId"
    assert keys.encode_tag("fedtrack.run_id") == "_0x66_edtrack.run_id"
    assert keys.encode_tag("mlflower") == "mlflower"


def test_a_long_key_keeps_its_beginning() -> None:
    name = keys.encode("loss/" + "x" * 1000)
    assert name.startswith("loss/xxx")
    assert len(name.encode()) == keys.MAX_BYTES
    assert keys.decode(name) is None


def test_the_name_of_a_long_key_is_not_the_name_of_a_short_one() -> None:
    name = keys.encode("x" * 1000)
    assert keys.encode(name) != name
