"""The body of a REST predict request as inputs of a signature: row form and column form (contract 6.4)."""

from __future__ import annotations

from typing import Any

from infra_validator.embedded_server.models.servable import DEFAULT_SIGNATURE, Servable, Signature
from infra_validator.embedded_server.rest import json as rest_json
from infra_validator.embedded_server.rest import tensors as rest_tensors
from infra_validator.embedded_server.rest.tensors import TensorBuilder
from infra_validator.embedded_server.status import StatusError, invalid_argument


def signature_name_of(document: dict[str, Any]) -> str:
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} not formatted correctly. "
            "'signature_name' key must be a string value."
        )
    return name


def signature_of(servable: Servable, signature_name: str) -> Signature:
    key = signature_name or DEFAULT_SIGNATURE
    signature = servable.signatures.get(key)
    if signature is None:
        raise invalid_argument(f'Serving signature name: "{key}" not found in signature def')
    if not signature.inputs:
        raise invalid_argument(f"Failed to get input map for signature: {signature_name or 'DEFAULT'}")
    return signature


def inputs_of(
    document: dict[str, Any], signature: Signature, signature_name: str
) -> tuple[bool, dict[str, TensorBuilder]]:
    """Whether the request is in row form, and its inputs by alias."""
    is_row, is_column = "instances" in document, "inputs" in document
    if is_row and is_column:
        raise invalid_argument(
            f"JSON Value: {rest_json.shown(document)} "
            "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        )
    if is_row:
        return True, _row_inputs(document, signature)
    if is_column:
        return False, _column_inputs(document["inputs"], signature)
    raise invalid_argument("Missing 'inputs' or 'instances' key")


def _builders(signature: Signature, rows: bool) -> dict[str, TensorBuilder]:
    infos = signature.definition.inputs
    return {alias: TensorBuilder(infos[alias].dtype, rows) for alias in signature.inputs}


def _row_inputs(document: dict[str, Any], signature: Signature) -> dict[str, TensorBuilder]:
    instances = document["instances"]
    if not isinstance(instances, list):
        raise invalid_argument(f"JSON Value: {rest_json.shown(document)} Expecting 'instances' to be an list/array")
    if not instances:
        raise invalid_argument(f"JSON Value: {rest_json.shown(document)} No values in 'instances' array")
    builders = _builders(signature, rows=True)
    if isinstance(instances[0], dict) and not rest_tensors.is_base64(instances[0]):
        if _add_named_rows(builders, instances):
            return builders
        builders = _builders(signature, rows=True)
        for index, instance in enumerate(instances):
            _add_named(builders, index, instance)
        return builders
    if len(builders) > 1 and not isinstance(instances[0], dict):
        raise invalid_argument(
            "instances is a plain list, but expecting list of objects as multiple input tensors required "
            "as per tensorinfo_map"
        )
    alias, builder = next(iter(builders.items()))
    if builder.add_rows(instances):
        return {alias: builder}
    for index, instance in enumerate(instances):
        if isinstance(instance, dict) and not rest_tensors.is_base64(instance):
            raise invalid_argument(f"Expecting value/list but got object at item {index} of input list")
        try:
            builder.add(instance)
        except StatusError as error:
            raise invalid_argument(f"Failed to process element: {index} of 'instances' list. Error: {error}") from error
    return {alias: builder}


def _add_named_rows(builders: dict[str, TensorBuilder], rows: list[Any]) -> bool:
    """Take all rows at once if nothing is wrong with any of them; if not, the builders are spoiled."""
    if set(map(type, rows)) != {dict} or set(map(len, rows)) != {len(builders)}:
        return False
    try:
        return all(builder.add_rows([row[alias] for row in rows]) for alias, builder in builders.items())
    except KeyError:
        return False


def _add_named(builders: dict[str, TensorBuilder], index: int, instance: Any) -> None:
    if not isinstance(instance, dict):
        raise invalid_argument(f"Expecting object but got list at item {index} of input list")
    for key, value in instance.items():
        try:
            if key not in builders:
                raise invalid_argument(f"JSON object: does not have named input: {key}")
            builders[key].add(value)
        except StatusError as error:
            raise invalid_argument(
                f"Failed to process element: {index} key: {key} of 'instances' list. Error: {error}"
            ) from error
    if len(instance) != len(builders):
        raise invalid_argument(
            f"Failed to process element: {index} of 'instances' list. JSON object: {rest_json.shown(instance)} "
            f"keys must be equal to: {','.join(sorted(builders))}"
        )


def _column_inputs(inputs: Any, signature: Signature) -> dict[str, TensorBuilder]:
    builders = _builders(signature, rows=False)
    if not isinstance(inputs, dict) or rest_tensors.is_base64(inputs):
        if len(builders) > 1:
            raise invalid_argument(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required "
                "as per tensorinfo_map"
            )
        next(iter(builders.values())).add(inputs)
        return builders
    for alias, builder in builders.items():
        if alias not in inputs:
            raise invalid_argument(f"Missing named input: {alias} in 'inputs' object.")
        builder.add(inputs[alias])
    return builders
