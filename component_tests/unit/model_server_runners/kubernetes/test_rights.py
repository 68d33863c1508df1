"""Which rights a spec needs, whether given rules grant them, and the command that prints them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from infra_validator.cli.kubernetes import main
from infra_validator.model_server_runners.kubernetes.rights import missing, rights_for, role

EVERYTHING = rights_for(uploads=True, forwards=True)


def rules(*, without: tuple[str, str] = ("", "")) -> list[dict[str, Any]]:
    granted: list[dict[str, Any]] = role("ml", EVERYTHING)["rules"]
    verb, resource = without
    return [
        {**rule, "verbs": [one for one in rule["verbs"] if (one, rule["resources"][0]) != (verb, resource)]}
        for rule in granted
    ]


def test_the_role_grants_what_is_needed() -> None:
    assert missing(rules(), EVERYTHING) == []
    assert missing([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}], EVERYTHING) == []


@pytest.mark.parametrize("verb", ["create", "get", "list", "watch", "delete"])
def test_a_missing_verb_is_found(verb: str) -> None:
    assert missing(rules(without=(verb, "pods")), EVERYTHING) == [(verb, "pods")]


@pytest.mark.parametrize("resource", ["pods/exec", "pods/portforward"])
def test_a_stream_needs_get_and_from_1_35_on_create_besides(resource: str) -> None:
    assert missing(rules(without=("get", resource)), EVERYTHING, 34) == [("get", resource)]
    without_create = rules(without=("create", resource))
    assert missing(without_create, EVERYTHING, 34) == []
    for minor in (35, 36, None):
        assert missing(without_create, EVERYTHING, minor) == [("create", resource)]


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": ["apps"], "resources": ["pods"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"], "resourceNames": ["one"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["*"]},
    ],
)
def test_rules_that_do_not_grant_pods(rule: dict[str, Any]) -> None:
    assert ("create", "pods") in missing([rule], EVERYTHING)


def test_what_only_helps_is_not_needed() -> None:
    assert missing(rules(without=("get", "pods/log")), EVERYTHING) == []


def test_the_command_prints_what_the_spec_needs(capsys: pytest.CaptureFixture[str]) -> None:
    spec = '{"tensorflow_serving": {"tags": ["1"]}, "kubernetes": {"namespace": "ml", "endpoint": "pod_ip", "model": {"fetch": {}}}}'
    assert main(["rbac", "--serving-spec", spec, "--service-account", "tfx"]) == 0
    printed, binding = yaml.safe_load_all(capsys.readouterr().out)
    assert printed["metadata"] == {"name": "infra-validator", "namespace": "ml"}
    assert not [rule for rule in printed["rules"] if rule["resources"][0] in ("pods/exec", "pods/portforward")]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tfx", "namespace": "ml"}]
    assert main(["rbac"]) == 0
    assert "pods/exec" in capsys.readouterr().out


@pytest.mark.parametrize("spec", ["{}", '{"tensorflow_serving": {}, "local_process": {}}'])
def test_a_spec_that_has_no_cluster(spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rbac", "--serving-spec", spec]) == 2
    assert "infra-validator kubernetes:" in capsys.readouterr().err
