"""What a model, a program and a person are told about each argument."""

from collections.abc import Iterable, Iterator
from typing import Any

import click
import pytest

from tmws_cli.parameters import parameters_of
from tmws_core.app import SERVICES
from tmws_core.meanings import meaning_of
from tmws_core.operation import Operation, operations_described_by
from tmws_core.schema import schema_of
from tmws_mcp.openapi import openapi
from tmws_mcp.schema import input_schema, output_schema

OPERATIONS = operations_described_by(SERVICES)
SCHEMAS = openapi(OPERATIONS.values())["components"]["schemas"]

every_operation = pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)


@every_operation
def test_each_argument_is_explained_to_models_and_programs(operation: Operation) -> None:
    for described in (input_schema(operation), SCHEMAS[operation.request.__name__]):
        for name, field in described["properties"].items():
            assert field["description"] == meaning_of(operation.request, name)


@every_operation
def test_each_option_is_explained_to_people(operation: Operation) -> None:
    for parameter in parameters_of(schema_of(operation.request)):
        assert not isinstance(parameter, click.Option) or parameter.help


def test_items_of_a_batch_have_the_fields_of_one() -> None:
    one, batch = (input_schema(OPERATIONS[name]) for name in ("create_memory", "create_memories"))
    items = batch["properties"]["memories"]["items"]
    assert items["required"] == one["required"] == ["content"]
    told = {
        name: {key: value for key, value in field.items() if key != "description"}
        for name, field in one["properties"].items()
    }
    assert items["properties"] == told


@every_operation
def test_models_are_given_types_of_one_word_alone(operation: Operation) -> None:
    """Functions of Gemini take neither a list of types nor alternatives."""
    plain = ("object", "array", "string", "number", "integer", "boolean")
    assert all(kind in plain for kind in types_in([input_schema(operation), output_schema(operation)]))


def types_in(schemas: Iterable[dict[str, Any]]) -> Iterator[object]:
    for schema in schemas:
        yield schema.get("type", "none")
        yield from types_in(schema.get("properties", {}).values())
        yield from types_in([schema["items"]] if "items" in schema else [])
