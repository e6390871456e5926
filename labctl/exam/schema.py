"""The model of exams to a JSON Schema, by which editors complete and underline exam files."""

from labctl.exam.model import Exam
from labctl.topology.schema import DIALECT, Schema, admit_references, close_names, probe_names


def exam_schema() -> Schema:
    """Return the JSON Schema (draft 2020-12) of an exam; a file may fit it and still have problems."""
    schema: Schema = {"$schema": DIALECT, **Exam.model_json_schema(by_alias=True)}
    definitions = schema["$defs"]
    assert isinstance(definitions, dict)  # pydantic always gives the models below a model
    for name in probe_names():
        definitions[name] = admit_references(definitions[name])
    close_names(schema)
    return schema
