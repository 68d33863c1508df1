from __future__ import annotations

from typing import Any

import pytest

from infra_validator.core.errors import SpecError
from infra_validator.specs import RequestSpec, ServingSpec
from infra_validator.specs.tag_set import with_one_tag_set


def both(extra_args: list[str], tags: list[str]) -> tuple[ServingSpec, RequestSpec]:
    serving = ServingSpec.of({"tensorflow_serving": {"extra_args": extra_args}, "local_process": {}})
    asked: dict[str, Any] = {"tensorflow_serving": {"tag_set": tags}} if tags else {}
    return with_one_tag_set(serving, RequestSpec.of(asked))


@pytest.mark.parametrize(
    ("extra_args", "tags", "served", "asked"),
    [
        ([], [], [], {"serve"}),
        ([], ["serve"], [], {"serve"}),
        ([], ["serve", "gpu"], ["--saved_model_tags=serve,gpu"], {"serve", "gpu"}),
        (["--saved_model_tags=a,b"], [], ["--saved_model_tags=a,b"], {"a", "b"}),
        (["--saved_model_tags=a,b"], ["b", "a"], ["--saved_model_tags=a,b"], {"a", "b"}),
    ],
)
def test_the_server_loads_the_graph_that_is_asked(
    extra_args: list[str], tags: list[str], served: list[str], asked: set[str]
) -> None:
    serving, requests = both(extra_args, tags)
    assert serving.tensorflow_serving is not None
    assert list(serving.tensorflow_serving.extra_args) == served
    assert requests.tag_set == asked
    assert with_one_tag_set(serving, requests) == (serving, requests)


def test_two_tag_sets_contradict() -> None:
    with pytest.raises(SpecError, match=r"request_spec\.tensorflow_serving\.tag_set: is serve, but"):
        both(["--saved_model_tags=gpu"], ["serve"])
