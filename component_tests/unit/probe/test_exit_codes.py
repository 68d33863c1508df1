"""From a server's answer to an exit code: one pure function, a row for every state and every corner of the original."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.probe import exit_codes
from infra_validator.probe.json_output import dumps
from infra_validator.probe.model_status import VersionStatus, judge

UNKNOWN, START, LOADING, AVAILABLE, UNLOADING, END, NEW = 0, 10, 20, 30, 40, 50, 77
BAD = -50  # in the rows below: END with an error


def versions(*rows: tuple[int, int]) -> list[VersionStatus]:
    return [VersionStatus(version, abs(state), 2 if state == BAD else 0) for version, state in rows]


# (the answer, the version asked for, policy, exit code, line)
ROWS: list[tuple[list[tuple[int, int]], int | None, str, int, str]] = [
    ([], None, "any", 11, "Empty response"),
    ([], 3, "any", 11, "Empty response"),
    ([(1, AVAILABLE)], None, "any", 0, "Servable state is AVAILABLE"),
    ([(1, UNKNOWN)], None, "any", 30, "Servable state is UNKNOWN"),
    ([(1, START)], None, "any", 31, "Servable state is START"),
    ([(1, LOADING)], None, "any", 32, "Servable state is LOADING"),
    ([(1, UNLOADING)], None, "any", 33, "Servable state is UNLOADING"),
    ([(1, END)], None, "any", 34, "Servable state is END"),
    ([(1, BAD)], None, "any", 34, "Servable state is END"),
    ([(1, NEW)], None, "any", 100, "Servable state is unexpected"),
    ([(1, -1)], None, "any", 100, "Servable state is unexpected"),
    # No version named: any AVAILABLE one is enough; else the first in the list decides.
    ([(3, LOADING), (2, AVAILABLE), (1, END)], None, "any", 0, "Servable state is AVAILABLE"),
    ([(3, BAD), (2, AVAILABLE)], None, "any", 0, "Servable state is AVAILABLE"),
    ([(3, LOADING), (2, END)], None, "any", 32, "Servable state is LOADING"),
    ([(2, END), (3, LOADING)], None, "any", 34, "Servable state is END"),
    # A version named: that one decides, whatever the others are.
    ([(3, LOADING), (2, AVAILABLE)], 2, "any", 0, "Servable state is AVAILABLE"),
    ([(3, LOADING), (2, AVAILABLE)], 3, "any", 32, "Servable state is LOADING"),
    ([(3, LOADING), (2, AVAILABLE)], 4, "any", 12, "No matching response found for version: 4"),
    ([(3, AVAILABLE)], 3, "exact", 0, "Servable state is AVAILABLE"),
    ([(3, AVAILABLE)], -1, "any", 12, "No matching response found for version: -1"),
    ([(0, AVAILABLE)], 0, "exact", 0, "Servable state is AVAILABLE"),
    # all: every version that is not retired, nor being retired.
    ([(3, AVAILABLE), (2, AVAILABLE), (1, END)], None, "all", 0, "Servable state is AVAILABLE"),
    ([(3, AVAILABLE), (2, UNLOADING), (1, END)], None, "all", 0, "Servable state is AVAILABLE"),
    ([(3, LOADING), (2, AVAILABLE)], None, "all", 32, "Servable state is LOADING"),
    ([(3, BAD), (2, AVAILABLE)], None, "all", 34, "Servable state is END"),
    ([(3, END), (2, END)], None, "all", 34, "Servable state is END"),
    ([(3, UNLOADING)], None, "all", 33, "Servable state is UNLOADING"),
    # latest: the highest of the same.
    ([(3, LOADING), (2, AVAILABLE)], None, "latest", 32, "Servable state is LOADING"),
    ([(3, BAD), (2, AVAILABLE)], None, "latest", 34, "Servable state is END"),
    ([(3, END), (2, AVAILABLE)], None, "latest", 0, "Servable state is AVAILABLE"),
    ([(1, AVAILABLE), (2, LOADING)], None, "latest", 32, "Servable state is LOADING"),
    ([(2, END), (3, UNLOADING)], None, "latest", 33, "Servable state is UNLOADING"),
]


@pytest.mark.parametrize(("answer", "version", "policy", "code", "line"), ROWS)
def test_the_exit_code_of_an_answer(
    answer: list[tuple[int, int]], version: int | None, policy: str, code: int, line: str
) -> None:
    statuses = [VersionStatus(1, -1)] if answer == [(1, -1)] else versions(*answer)
    assert judge(statuses, version, policy) == (code, line)


def test_failed_and_retired_are_told_apart_when_asked() -> None:
    assert judge(versions((1, BAD)), None, distinguish_failed=True)[0] == exit_codes.FAILED == 35
    assert judge(versions((1, END)), None, distinguish_failed=True)[0] == 34
    assert judge(versions((2, BAD), (1, AVAILABLE)), None, "latest", distinguish_failed=True)[0] == 35


def test_every_code_is_in_the_table() -> None:
    codes = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    assert codes == set(exit_codes.TABLE)


def test_an_answer_is_logged_as_go_prints_it() -> None:
    assert str(VersionStatus(123, AVAILABLE)) == "model_version_status:{version:123 state:AVAILABLE status:{}}"
    failed = VersionStatus(2, END, 5, 'no "x"\n')
    assert str(failed) == (
        r'model_version_status:{version:2 state:END status:{error_code:NOT_FOUND error_message:"no \"x\"\n"}}'
    )
    assert str(VersionStatus(0, 0, has_status=False)) == "model_version_status:{}"
    assert str(VersionStatus(1, NEW, has_status=False)) == "model_version_status:{version:1 state:77}"


plain = st.none() | st.integers() | st.text()


@given(st.recursive(plain, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20))
def test_json_without_the_json_module(value: object) -> None:
    assert json.loads(dumps(value)) == value
    assert dumps(value).isascii()
    assert "\n" not in dumps(value)
