"""The tools as a client is told of them: names, texts, and schemas from the classes that validate and answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from radiograph.core import Config, inputs_of
from radiograph.runtime import Verb
from radiograph.surfaces.mcp import _answers as answers

_OWN: Mapping[str, tuple[type[Config], type[BaseModel]]] = {
    "health": (answers.Health, answers.HealthAnswer),
    "session_open": (answers.SessionOpen, answers.Opened),
    "session_close": (answers.SessionClose, answers.Closed),
    "budget": (answers.Budget, answers.BudgetAnswer),
    "result_read": (answers.ResultRead, answers.Part),
}


@dataclass(frozen=True)
class Tool:
    """What a client is told about a tool."""

    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]


def own_tools() -> dict[str, Tool]:
    """The tools about sessions."""
    return {name: _own_tool(name, takes, gives) for name, (takes, gives) in _OWN.items()}


def verb_tool(name: str, verb: Verb, roles: Sequence[str]) -> Tool:
    """A verb: its configuration and what every call takes; in an investigation its models can only be `roles`."""
    schema = _schema(verb.config)
    properties = schema["properties"]
    for field, kind in inputs_of(verb.config).items():
        if roles and kind == "model" and properties[field].get("type") == "string":
            properties[field]["enum"] = list(roles)
    schema["properties"] = _schema(answers.VerbCall)["properties"] | properties
    schema["required"] = [*schema.get("required", []), "session_id"]
    return Tool(name, verb.summary, verb.doc, schema, _schema(answers.VerbAnswer, "serialization"))


def _own_tool(name: str, takes: type[Config], gives: type[BaseModel]) -> Tool:
    doc = " ".join((takes.__doc__ or "").split())
    title = doc.partition(":")[0].partition(".")[0]
    return Tool(name, title, doc, _schema(takes), _schema(gives, "serialization"))


def _schema(model: type[BaseModel], mode: Literal["validation", "serialization"] = "validation") -> dict[str, Any]:
    schema = model.model_json_schema(mode=mode)
    rest = {k: v for k, v in schema.items() if k not in ("title", "description")}
    return rest | {"properties": schema.get("properties", {})}
