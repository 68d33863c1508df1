"""Ids are put into encoded requests as model-mesh puts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra_validator.model_server_clients.model_runtime.id_injection import NotInjectable, extract, inject
from infra_validator.protos import tensorflow_serving_pb2 as tfs

TEXT = st.text(max_size=300)


@given(TEXT, st.none() | TEXT, TEXT)
def test_the_name_is_replaced_and_the_rest_kept(model_id: str, before: str | None, signature: str) -> None:
    request = tfs.PredictRequest(output_filter=["y"])
    if before is not None:
        request.model_spec.name = before
        request.model_spec.signature_name = signature
        request.model_spec.version.value = 3
    after = inject(request.SerializeToString(), (1, 1), model_id)
    request.model_spec.name = model_id
    assert tfs.PredictRequest.FromString(after) == request
    assert extract(after, (1, 1)) == model_id


def test_a_repeated_message_gets_the_id_in_its_first_element() -> None:
    tasks = [tfs.InferenceTask(method_name=name) for name in ("a", "b")]
    after = inject(tfs.MultiInferenceRequest(tasks=tasks).SerializeToString(), (1, 1, 1), "id")
    assert [task.model_spec.name for task in tfs.MultiInferenceRequest.FromString(after).tasks] == ["id", ""]


def test_nothing_is_injected_along_an_empty_path() -> None:
    assert inject(b"anything", (), "id") == b"anything"
    assert extract(b"", (1, 1)) is None


@pytest.mark.parametrize(
    "request_bytes",
    [b"\x0a", b"\x0a\x05ab", b"\x08\x01", b"\x0b", b"\xff" * 12, b"\x09abc", b"\x0d\x00", b"\x08\xff"],
    ids=["no length", "cut", "a number there", "a group", "endless number", "cut 64 bits", "cut 32 bits", "cut number"],
)
def test_what_is_no_message_is_said(request_bytes: bytes) -> None:
    with pytest.raises(NotInjectable):
        inject(request_bytes, (1, 1), "id")


@given(st.binary(max_size=60))
def test_no_bytes_do_anything_else(request_bytes: bytes) -> None:
    try:
        inject(request_bytes, (1, 1), "id")
        extract(request_bytes, (1, 1))
    except NotInjectable:
        pass
