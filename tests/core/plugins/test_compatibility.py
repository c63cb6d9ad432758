"""The fast comparison of versions agrees with packaging, or leaves the case to packaging."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.requirements import Requirement

from fedtrack.plugins.compatibility import plainly_met

releases = st.lists(st.integers(0, 12), min_size=1, max_size=4).map(lambda parts: ".".join(map(str, parts)))
bounds = st.lists(st.tuples(st.sampled_from([">=", "<"]), releases), min_size=1, max_size=3)


@given(releases, bounds)
def test_a_plain_range_is_understood_as_packaging_does(current: str, wanted: list[tuple[str, str]]) -> None:
    requirement = "fedtrack" + ",".join(operator + version for operator, version in wanted)
    assert plainly_met(requirement, current) == Requirement(requirement).specifier.contains(current)


@pytest.mark.parametrize(
    "requirement",
    [
        "fedtrack",
        "fedtrack==0.1",
        "fedtrack~=0.1",
        "fedtrack>=0.1.dev1",
        "fedtrack>=0.1; extra == 'x'",
        "fedtrack[all]>=0",
    ],
)
def test_anything_less_plain_is_left_to_packaging(requirement: str) -> None:
    assert not plainly_met(requirement, "0.1.0")


def test_a_development_version_is_left_to_packaging() -> None:
    assert plainly_met("fedtrack >=0.1, <0.2", "0.1.0")
    assert not plainly_met("fedtrack >=0.1, <0.2", "0.1.0.dev1")
