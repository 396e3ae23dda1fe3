"""The shapes as JSON Schema: as JSON carries them, and as a query or a form does."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

Json = dict[str, Any]
Mode = Literal["validation", "serialization"]
_COMPONENTS = "#/components/schemas/"
_NULL = {"type": "null"}


class _SchemaWriter(GenerateJsonSchema):
    """Writes no titles that Pydantic makes of fields' names."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ANN401 - Pydantic's own
        return False


class Schemas:
    """The schemas of shapes, each a reference to the document's components where it has a name.

    A shape is whatever Pydantic's `TypeAdapter` takes; its mode tells whether it comes in (validation) or goes out.
    """

    def __init__(self, shapes: Mapping[Any, Mode]) -> None:
        written, definitions = TypeAdapter.json_schemas(
            [(shape, mode, TypeAdapter(shape)) for shape, mode in shapes.items()],
            ref_template=f"{_COMPONENTS}{{model}}",
            schema_generator=_SchemaWriter,
        )
        self._written: dict[Any, Json] = {shape: schema for (shape, _mode), schema in written.items()}
        self.components: Json = definitions["$defs"]

    def of(self, shape: Any) -> Json:  # noqa: ANN401 - whatever TypeAdapter takes
        """Return the schema of a shape."""
        return self._written[shape]

    def fields_of(self, shape: type[BaseModel]) -> dict[str, Json]:
        """Return the schemas of a shape's fields, as a query carries them: it has no null."""
        fields = self._resolved(self.of(shape))["properties"]
        return {name: _without_null(field) for name, field in fields.items()}

    def form_of(self, shape: type[BaseModel]) -> Json:
        """Return the schema of a form with the fields of a shape, named as Rails names them."""
        fields: Json = {}
        for name, field in self.fields_of(shape).items():
            fields |= self._form_fields(name, field)
        return {"type": "object", "properties": fields}

    def _form_fields(self, name: str, field: Json) -> Json:
        """Name a field, the list `name[]`, or the fields of a list's entries, `name[][field]`."""
        entry = self._resolved(field.get("items", {}))
        if "properties" in entry:
            return {
                f"{name}[][{each}]": _without_null(schema) for each, schema in entry["properties"].items()
            }
        return {f"{name}[]" if entry else name: field}

    def _resolved(self, schema: Json) -> Json:
        name = schema.get("$ref", "").removeprefix(_COMPONENTS)
        return self.components[name] if name else schema


def _without_null(schema: Json) -> Json:
    others = [each for each in schema.get("anyOf", ()) if each != _NULL]
    rest = {name: value for name, value in schema.items() if name != "anyOf" and value is not None}
    return rest | (others[0] if len(others) == 1 else {"anyOf": others}) if others else rest
