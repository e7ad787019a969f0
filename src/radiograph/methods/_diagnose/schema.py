"""JSON Schema, the part that describes an answer's form: whether a value has it, and whether a schema is understood.

`type` `enum` `const` `properties` `required` `additionalProperties` `items` `minItems` `maxItems` `uniqueItems`
`minLength` `maxLength` `pattern` `minimum` `maximum` `exclusiveMinimum` `exclusiveMaximum` `anyOf` `allOf` `oneOf`
`not`, as in draft 2020-12; notes (`title`, `description`, `default`, `examples`, `$schema`, `$id`, `format`) check
nothing. Any other word is refused: a keyword that is passed over would call every output valid.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import regex

from radiograph.core import UserError, nearest

DEEPEST, DEADLINE = 32, 0.05
NOTES = frozenset({"title", "description", "default", "examples", "$schema", "$id", "$comment", "format", "deprecated"})
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "number": lambda v: isinstance(v, int | float) and not isinstance(v, bool),
    "integer": lambda v: not isinstance(v, bool) and (isinstance(v, int) or (isinstance(v, float) and v.is_integer())),
}


def check_schema(schema: Any, where: str, depth: int = 0) -> None:
    """Hold a schema to the words that are understood.

    Raises:
        UserError: another word, or a value that its word cannot have; with its place.
    """
    if isinstance(schema, bool):
        return
    if not isinstance(schema, dict) or depth > DEEPEST:
        raise UserError(f"{where} is no schema", where=where, expected="a mapping, true or false", code="bad_schema")
    for word, value in cast("dict[str, Any]", schema).items():
        place = f"{where}.{word}"
        if word in NOTES:
            continue
        if word not in WORDS:
            close = nearest(word, list(WORDS))
            raise UserError(
                f"{place}: a word of JSON Schema that is not checked here",
                where=place,
                expected=", ".join(WORDS),
                fix=f"did you mean {', '.join(close)}?" if close else "leave it out, or use a regex",
                code="bad_schema",
            )
        if not WORDS[word](value):
            raise UserError(f"{place} cannot be {str(value)[:60]!r}", where=place, code="bad_schema")
        if word == "properties":
            for name, inner in value.items():
                check_schema(inner, f"{place}.{name}", depth + 1)
        elif word in ("anyOf", "allOf", "oneOf"):
            for number, inner in enumerate(value):
                check_schema(inner, f"{place}[{number}]", depth + 1)
        elif word in ("items", "not", "additionalProperties"):
            check_schema(value, place, depth + 1)


def fits(value: Any, schema: Any) -> bool:
    """Whether a value has the form of a schema that was checked."""
    if isinstance(schema, bool):
        return schema
    rules = cast("dict[str, Any]", schema)
    return _fits_any(value, rules) and (
        _fits_object(value, rules)
        if isinstance(value, dict)
        else _fits_array(cast("list[Any]", value), rules)
        if isinstance(value, list)
        else _fits_text(value, rules)
        if isinstance(value, str)
        else _fits_number(value, rules)
    )


def same(one: Any, two: Any) -> bool:
    """Equality of JSON: 1 is 1.0, and true is no 1."""
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(same(one[k], two[k]) for k in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(same, one, two))
    return (type(one) is type(two) and one == two) or (TYPES["number"](one) and TYPES["number"](two) and one == two)


def _fits_any(value: Any, rules: dict[str, Any]) -> bool:
    wanted = rules.get("type")
    names = [wanted] if isinstance(wanted, str) else wanted
    return (
        (names is None or any(TYPES[name](value) for name in names))
        and ("const" not in rules or same(value, rules["const"]))
        and ("enum" not in rules or any(same(value, one) for one in rules["enum"]))
        and all(fits(value, one) for one in rules.get("allOf", ()))
        and ("anyOf" not in rules or any(fits(value, one) for one in rules["anyOf"]))
        and ("oneOf" not in rules or sum(fits(value, one) for one in rules["oneOf"]) == 1)
        and ("not" not in rules or not fits(value, rules["not"]))
    )


def _fits_object(value: dict[str, Any], rules: dict[str, Any]) -> bool:
    known: dict[str, Any] = rules.get("properties", {})
    others = rules.get("additionalProperties", True)
    return all(name in value for name in rules.get("required", ())) and all(
        fits(inner, known.get(name, others)) for name, inner in value.items()
    )


def _fits_array(value: list[Any], rules: dict[str, Any]) -> bool:
    return (
        rules.get("minItems", 0) <= len(value) <= rules.get("maxItems", len(value))
        and all(fits(one, rules.get("items", True)) for one in value)
        and (not rules.get("uniqueItems") or not any(same(a, b) for i, a in enumerate(value) for b in value[:i]))
    )


def _fits_text(value: str, rules: dict[str, Any]) -> bool:
    if not rules.get("minLength", 0) <= len(value) <= rules.get("maxLength", len(value)):
        return False
    try:
        return "pattern" not in rules or regex.search(rules["pattern"], value, timeout=DEADLINE) is not None
    except TimeoutError:
        return False


def _fits_number(value: Any, rules: dict[str, Any]) -> bool:
    if not TYPES["number"](value):
        return True
    return (
        ("minimum" not in rules or value >= rules["minimum"])
        and ("maximum" not in rules or value <= rules["maximum"])
        and ("exclusiveMinimum" not in rules or value > rules["exclusiveMinimum"])
        and ("exclusiveMaximum" not in rules or value < rules["exclusiveMaximum"])
    )


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in cast("list[Any]", value))


def _pattern(value: Any) -> bool:
    try:
        regex.compile(value)
    except (regex.error, TypeError):
        return False
    return True


def _inner(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _some(value: Any) -> bool:
    return isinstance(value, list) and bool(cast("list[Any]", value))


def _type(value: Any) -> bool:
    names = cast("list[Any]", value) if isinstance(value, list) else [value]
    return bool(names) and all(isinstance(name, str) and name in TYPES for name in names)


WORDS: dict[str, Callable[[Any], bool]] = {
    "type": _type,
    "enum": _some,
    "const": lambda v: True,
    "properties": lambda v: isinstance(v, dict),
    "required": _names,
    "additionalProperties": _inner,
    "items": _inner,
    "minItems": _count,
    "maxItems": _count,
    "uniqueItems": lambda v: isinstance(v, bool),
    "minLength": _count,
    "maxLength": _count,
    "pattern": _pattern,
    **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), TYPES["number"]),
    **dict.fromkeys(("anyOf", "allOf", "oneOf"), _some),
    "not": _inner,
}
