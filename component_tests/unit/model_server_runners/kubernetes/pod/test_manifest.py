"""The pod that is made of a launch plan and a spec: pure, so no cluster is needed."""

from __future__ import annotations

from typing import Any

import pytest

from component_tests.fakes.kubernetes_api.pod_rules import fill_in, problems, violations_of_restricted
from infra_validator.core.errors import InfrastructureError, SpecError
from infra_validator.core.launch_plan import LaunchPlan, ModelMount
from infra_validator.model_server_runners.kubernetes.pod.manifest import (
    PodContext,
    active_deadline_seconds,
    build_pod,
    check_created,
    label_value,
)
from infra_validator.model_server_runners.kubernetes.pod.model_source import choose, make_delivery
from infra_validator.specs import KubernetesConfig, ServingSpec
from infra_validator.specs.kubernetes.model import ClaimSource

Json = dict[str, Any]

CONTEXT = PodContext("infra-validator-1", "ml", "1", "me", None, "", 100.0, 1234)
PLAN = LaunchPlan(
    binary="tensorflow_serving",
    label="tensorflow/serving:2.19.0",
    model=ModelMount("/models/taxi/7", "/models", "taxi", 7),
    image="tensorflow/serving:2.19.0",
    command=("/usr/bin/tensorflow_model_server",),
    args=(
        "--port=${grpc_port}",
        "--rest_api_port=${rest_port}",
        "--model_base_path=${model_base_path}",
        "--x=$$(HOME)",
    ),
    env={"A": "$(B)"},
)


def config(**kubernetes: Any) -> KubernetesConfig:
    spec = ServingSpec.of({"tensorflow_serving": {"tags": ["2.19.0"]}, "kubernetes": kubernetes})
    assert spec.kubernetes is not None
    return spec.kubernetes


def pod(plan: LaunchPlan = PLAN, context: PodContext = CONTEXT, **kubernetes: Any) -> Json:
    given = config(**{"model": {"pvc": {"claim_name": "c"}}, **kubernetes})
    way = choose(given, plan.model, None)
    made = build_pod(plan, given, make_delivery(way, plan.model, plan.image, 5, given.look_before_start), context)
    checked = __import__("copy").deepcopy(made)
    fill_in(checked)
    assert list(problems(checked)) == []
    return made


def server(made: Json) -> Json:
    (container,) = [one for one in made["spec"]["containers"] if one["name"] == "model-server"]
    return dict(container)


def test_the_server_is_started_itself_and_nothing_is_expanded() -> None:
    container = server(pod())
    assert container["command"] == ["/usr/bin/tensorflow_model_server"]
    assert container["args"] == [
        "--port=8500",
        "--rest_api_port=8501",
        "--model_base_path=/models/taxi",
        "--x=$$(HOME)",
    ]
    assert container["env"] == [{"name": "A", "value": "$$(B)"}]
    assert [port["containerPort"] for port in container["ports"]] == [8500, 8501]


def test_the_pod_is_never_started_again_and_does_not_outlive_its_time() -> None:
    spec = pod()["spec"]
    assert spec["restartPolicy"] == "Never"
    assert spec["activeDeadlineSeconds"] == 700
    assert active_deadline_seconds(config(active_deadline_seconds=50), 100) == 50


@pytest.mark.parametrize(
    "way", [{"pvc": {"claim_name": "c"}}, {"upload": {}}, {"fetch": {"image": "i", "command": ["c"]}}]
)
def test_the_pod_passes_the_restricted_standard(way: Json) -> None:
    made = pod(model=way)
    assert violations_of_restricted(made) == []
    assert made["spec"]["securityContext"]["runAsUser"] == 1000
    assert made["spec"]["automountServiceAccountToken"] is False


def test_the_spec_may_say_otherwise() -> None:
    made = pod(allow_root=True, service_account_name="me", fs_group=7)
    assert "runAsNonRoot" not in made["spec"]["securityContext"]
    assert made["spec"]["securityContext"]["fsGroup"] == 7
    assert made["spec"]["automountServiceAccountToken"] is True
    assert made["spec"]["serviceAccountName"] == "me"
    assert violations_of_restricted(made) != []


def test_user_and_group_may_be_left_to_the_cluster() -> None:
    security = pod(run_as_user=0, fs_group=0)["spec"]["securityContext"]
    assert security == {"seccompProfile": {"type": "RuntimeDefault"}, "runAsNonRoot": True}


def test_tfx_overrides_in_full() -> None:
    made = pod(
        serving_pod_overrides={
            "annotations": {"team": "ads"},
            "env": [
                {"name": "PLAIN", "value": "1"},
                {"name": "SECRET", "value_from": {"secret_key_ref": {"name": "s", "key": "k"}}},
                {"name": "MAYBE", "value_from": {"secret_key_ref": {"name": "s", "key": "k", "optional": True}}},
                {"name": "A", "value": "replaced"},
            ],
            "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
        }
    )
    assert made["metadata"]["annotations"]["team"] == "ads"
    assert server(made)["env"] == [
        {"name": "PLAIN", "value": "1"},
        {"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "MAYBE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": True}}},
        {"name": "A", "value": "replaced"},
    ]
    assert server(made)["resources"] == {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}}


def test_claims_are_a_list() -> None:
    """What TFX sends as an object, and every API server refuses."""
    template = {"spec": {"resourceClaims": [{"name": "gpu", "resourceClaimName": "one"}]}}
    made = pod(serving_pod_overrides={"resources": {"claims": {"gpu": ""}}}, pod_template=template)
    assert server(made)["resources"] == {"claims": [{"name": "gpu"}]}
    assert "resources" not in server(pod())


def test_where_it_runs() -> None:
    made = pod(
        image_pull_secrets=["registry"],
        image_pull_policy="Always",
        node_selector={"pool": "gpu"},
        tolerations=[{"key": "gpu", "operator": "Exists"}],
        affinity={"podAffinity": {}},
        runtime_class_name="gvisor",
        priority_class_name="low",
        gpus=2,
        volumes=[{"name": "more", "emptyDir": {}}],
        volume_mounts=[{"name": "more", "mountPath": "/more"}],
        labels={"team": "ads"},
    )
    spec = made["spec"]
    assert spec["imagePullSecrets"] == [{"name": "registry"}]
    assert server(made)["imagePullPolicy"] == "Always"
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert spec["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert spec["affinity"] == {"podAffinity": {}}
    assert (spec["runtimeClassName"], spec["priorityClassName"]) == ("gvisor", "low")
    assert server(made)["resources"] == {"limits": {"nvidia.com/gpu": "2"}}
    assert server(made)["volumeMounts"][1] == {"name": "more", "mountPath": "/more"}
    assert made["metadata"]["labels"]["team"] == "ads"


def test_meshes_are_off_unless_asked_for() -> None:
    metadata = pod()["metadata"]
    assert metadata["annotations"]["linkerd.io/inject"] == "disabled"
    assert (
        metadata["labels"]["sidecar.istio.io/inject"] == metadata["annotations"]["sidecar.istio.io/inject"] == "false"
    )
    metadata = pod(service_mesh=True)["metadata"]
    assert "sidecar.istio.io/inject" not in {**metadata["annotations"], **metadata["labels"]}


def test_a_claim_on_one_node_pins_every_term() -> None:
    term = {"matchExpressions": [{"key": "pool", "operator": "Exists"}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term, term]}}}
    context = __import__("dataclasses").replace(CONTEXT, node="node-7")
    required = pod(context=context, affinity=affinity)["spec"]["affinity"]["nodeAffinity"]
    for one in required["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]:
        assert one["matchExpressions"] == term["matchExpressions"]
        assert one["matchFields"] == [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]


def test_names_too_long_for_labels_are_cut() -> None:
    assert label_value("x" * 100) == "x" * 63
    assert label_value("José@laptop.") == "Jos--laptop"
    assert label_value("...") == "unknown"


# ------------------------------------------------------------------ the pod template


def test_a_template_is_merged_by_name() -> None:
    made = pod(
        pod_template={
            "metadata": {"labels": {"cost": "1"}},
            "spec": {
                "containers": [
                    {
                        "name": "model-server",
                        "env": [{"name": "A", "value": "2"}],
                        "livenessProbe": {"tcpSocket": {"port": 8500}},
                    },
                    {"name": "sidecar", "image": "s"},
                ],
                "securityContext": {"runAsUser": 5},
                "enableServiceLinks": None,
                "tolerations": [{"operator": "Exists"}],
            },
        }
    )
    assert server(made)["env"] == [{"name": "A", "value": "2"}]
    assert server(made)["image"] == PLAN.image
    assert [one["name"] for one in made["spec"]["containers"]] == ["model-server", "sidecar"]
    assert made["spec"]["securityContext"]["runAsUser"] == 5
    assert made["spec"]["securityContext"]["runAsNonRoot"] is True
    assert "enableServiceLinks" not in made["spec"]


@pytest.mark.parametrize(
    ("template", "field"),
    [
        ({"spec": {"containers": {}}}, "pod_template.spec.containers"),
        ({"spec": {"containers": ["x"]}}, "pod_template.spec.containers[0]"),
        ({"spec": {"containers": [{"name": "a", "args": "--x"}]}}, "pod_template.spec.containers[0].args"),
        ({"spec": {"containers": [{"name": "a", "args": [1]}]}}, "pod_template.spec.containers[0].args[0]"),
        ({"spec": {"containers": [{"image": "a"}]}}, "pod_template.spec.containers[0].name"),
        ({"spec": {"containers": [{"name": "model-server"}] * 2}}, "pod_template.spec.containers[1].name"),
        ({"spec": {"securityContext": {"runAsUser": "root"}}}, "pod_template.spec.securityContext.runAsUser"),
        ({"spec": {"securityContext": {"runAsUser": True}}}, "pod_template.spec.securityContext.runAsUser"),
        ({"spec": {"restartPolicy": "Always"}}, "pod_template.spec.restartPolicy"),
        ({"spec": {"nodeSelector": []}}, "pod_template.spec.nodeSelector"),
        ({"metadata": []}, "pod_template.metadata"),
        ({"kind": "Pod"}, "pod_template.kind"),
        ({"spec": {"volumes": [{"name": "model", "$patch": "delete"}]}}, "pod_template.spec.volumes"),
        ({"spec": {"volumes": [{"$patch": "replace", "name": "x"}]}}, "pod_template.spec.volumes"),
        ({"spec": {"volumes": [{"name": "model", "emptyDir": {}}]}}, "pod_template.spec.volumes"),
        ({"spec": {"containers": [{"name": "model-server", "$patch": "delete"}]}}, "pod_template.spec.containers"),
        (
            {
                "spec": {
                    "containers": [
                        {"name": "model-server", "volumeMounts": [{"mountPath": "/models/taxi/7", "$patch": "delete"}]}
                    ]
                }
            },
            "pod_template.spec.containers[model-server].volumeMounts",
        ),
        ({"metadata": {"name": "mine"}}, "pod_template.metadata.name"),
        *(
            (
                {"spec": {"containers": [{"name": "model-server", **change}]}},
                f"pod_template.spec.containers[model-server].{field}",
            )
            for change, field in (
                ({"image": "another"}, "image"),
                ({"command": ["/bin/other"]}, "command"),
                ({"args": ["--model_base_path=/elsewhere"]}, "args"),
                ({"env": [{"name": "MODEL_NAME", "value": "other"}]}, "env[MODEL_NAME]"),
                ({"volumeMounts": [{"name": "x", "mountPath": "/models/taxi/8"}]}, "volumeMounts"),
                ({"volumeMounts": [{"name": "x", "mountPath": "/models/taxi/"}]}, "volumeMounts"),
            )
        ),
        ({"metadata": {"labels": {"infra-validator.run": "2"}}}, "pod_template.metadata.labels.infra-validator.run"),
    ],
)
def test_a_template_that_cannot_be(template: Json, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        pod(pod_template=template)
    assert caught.value.field == f"serving_spec.kubernetes.{field}"


# ------------------------------------------------------------------ the model


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("/here/model", "uploaded"),
        ("pvc://claim/a/b", "from the claim claim, path a/b"),
        ("oci://registry:5000/models/taxi:1", "from the image registry:5000/models/taxi:1"),
        ("gs://bucket/taxi/7", "fetched from gs://bucket/taxi/7 by an init container of gcr.io/"),
        ("s3://bucket/taxi/7", "amazon/aws-cli"),
        ("https://example.com/taxi.tar.gz", "curlimages/curl"),
    ],
)
def test_the_path_decides_the_way_and_it_is_said(source: str, says: str) -> None:
    mount = ModelMount(source, "/models", "taxi", 7)
    given = config()
    delivery = make_delivery(choose(given, mount, None), mount, "image", 1)
    assert says in delivery.says
    assert delivery.mount["mountPath"] == "/models/taxi/7"
    assert delivery.mount["readOnly"] is True


def test_the_own_claim_comes_before_an_upload() -> None:
    own = ClaimSource("artifacts", "runs/1")
    assert choose(config(), PLAN.model, own).pvc == own
    named = config(model={"upload": {}})
    assert choose(named, PLAN.model, own).upload is not None


def test_two_ways_at_once_are_refused() -> None:
    with pytest.raises(SpecError, match="one way to get the model is enough"):
        config(model={"upload": {}, "fetch": {}})


def test_a_google_key_is_a_file_and_other_credentials_are_variables() -> None:
    for source, env_from in (("gs://b/m", False), ("s3://b/m", True)):
        mount = ModelMount(source, "/models", "taxi", 7)
        given = config(model={"fetch": {"secret_name": "store"}})
        container = make_delivery(choose(given, mount, None), mount, "image").init_container
        assert container is not None
        assert ("envFrom" in container) is env_from
        assert any(one["name"] == "GOOGLE_APPLICATION_CREDENTIALS" for one in container["env"]) is not env_from


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda made: made["metadata"]["labels"].clear(), "the label infra-validator."),
        (lambda made: made["spec"]["volumes"][0].pop("persistentVolumeClaim"), "has lost its source"),
        (lambda made: made["spec"]["containers"][0]["volumeMounts"].clear(), "the model's mount is gone"),
        (lambda made: made["spec"]["containers"][0].update(name="x"), "0 containers called model-server"),
    ],
)
def test_what_must_survive_admission(change: Any, words: str) -> None:
    asked = pod()
    created = pod()
    check_created(asked, created)
    change(created)
    with pytest.raises(InfrastructureError, match=words):
        check_created(asked, created)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"namespace": "Big"}, "namespace"),
        ({"namespace": "n" * 64}, "namespace"),
        ({"labels": {"team": "x" * 64}}, "labels"),
        ({"labels": {"infra-validator.run": "x"}}, "labels"),
        ({"endpoint": "nodeport"}, "endpoint"),
        ({"run_as_user": -1}, "run_as_user"),
        ({"image_pull_secrets": [""]}, "image_pull_secrets[0]"),
        ({"api_server": {"url": "here"}}, "api_server.url"),
        ({"api_server": {"url": "http://a"}, "context": "c"}, ""),
        ({"model": {"host_path": {"path": "../m"}}}, "model.host_path.path"),
        ({"model": {"pvc": {"claim_name": "c", "sub_path": "/m"}}}, "model.pvc.sub_path"),
        ({"model": {"upload": {"max_size": "huge"}}}, "model.upload.max_size"),
        ({"serving_pod_overrides": {"env": [{"name": "A=B"}]}}, "serving_pod_overrides.env[0].name"),
        ({"serving_pod_overrides": {"env": [{"value": "A"}]}}, "serving_pod_overrides.env[0].name"),
        (
            {"serving_pod_overrides": {"resources": {"limits": {"memory": "much"}}}},
            "serving_pod_overrides.resources.limits",
        ),
        ({"gpus": -1}, "gpus"),
        ({"tolerations": {}}, "tolerations"),
    ],
)
def test_a_field_that_is_wrong_is_named(given: Json, field: str) -> None:
    with pytest.raises(SpecError) as caught:
        config(**given)
    assert caught.value.field == ".".join(filter(None, ("serving_spec.kubernetes", field)))


def test_the_pod_must_outlive_the_loading_limit() -> None:
    given = config(active_deadline_seconds=300)
    given.check_loading_limit("serving_spec.kubernetes", 299)
    with pytest.raises(SpecError, match="must exceed"):
        given.check_loading_limit("serving_spec.kubernetes", 300)


RESOURCES = {
    "limits": {"cpu": "2", "memory": "4Gi", "nvidia.com/gpu": "1"},
    "requests": {"cpu": "1", "memory": "4Gi", "ephemeral-storage": "1Gi"},
}


@pytest.mark.parametrize(
    "way",
    [
        {"pvc": {"claim_name": "c"}},
        {"host_path": {"path": "/m"}},
        {"upload": {}},
        {"fetch": {"image": "i", "command": ["c"]}},
    ],
    ids=lambda way: next(iter(way)),
)
def test_the_init_container_has_the_servers_resources_and_the_pods_sum_is_no_larger(way: Json) -> None:
    made = pod(model=way, serving_pod_overrides={"resources": RESOURCES})
    (init,) = made["spec"]["initContainers"]
    assert init["resources"]["limits"] == {"cpu": "2", "memory": "4Gi"}
    assert init["resources"]["requests"] == RESOURCES["requests"]
    assert server(made)["resources"] == RESOURCES  # a pod counts with its largest init container or this sum


def test_resources_of_a_template_reach_the_init_container_and_its_own_stay() -> None:
    limits = {"limits": {"cpu": "2"}}
    template = {"spec": {"containers": [{"name": "model-server", "resources": limits}]}}
    assert pod(model={"upload": {}}, pod_template=template)["spec"]["initContainers"][0]["resources"] == limits
    own = {"limits": {"cpu": "100m"}}
    template["spec"]["initContainers"] = [{"name": "model-upload", "resources": own}]
    assert pod(model={"upload": {}}, pod_template=template)["spec"]["initContainers"][0]["resources"] == own
    assert "resources" not in pod(model={"upload": {}})["spec"]["initContainers"][0]


def test_nobody_looks_where_the_spec_says_so() -> None:
    assert "initContainers" not in pod(look_before_start=False)["spec"]
