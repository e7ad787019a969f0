"""The two template environments. What they make impossible: a template that forgets to escape, or to point.

Every expression passes through `finalize`: texts lose control and bidirectional characters (`core.visible`) and are
escaped (HTML by Jinja's autoescape, Markdown by `escape_markdown`); numbers of the document become `<data>` elements
with their pointer; an undefined name is an error.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from radiograph.core import visible
from radiograph.reports._numbers import ABSENT, Pointed, PointedText, default_format, shown

_MARKDOWN = re.compile(r"([\\`*_{}\[\]<>|#~&$])")
_LINK = re.compile(r"(?i)(https?|ftp|mailto|xmpp)(?=:)|(www)(?=\.)")


class _FieldsFirst(Environment):
    """`record.items` is the field of that name before it is a method of `dict`."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)


@cache
def html() -> Environment:
    """For report.html."""
    made = _environment(autoescape=True, finalize=_finalize_html)
    made.filters["num"] = number
    made.filters["short"] = visible
    return made


@cache
def markdown() -> Environment:
    """For report.md."""
    made = _environment(autoescape=False, finalize=_finalize_markdown)
    made.filters["num"] = lambda value, spec="": escape(shown(value, spec or default_format(value or 0)))
    made.filters["code"] = code_span
    return made


def number(value: Any, spec: str = "") -> Markup:
    """A number of the document in a format, with the pointer that `verify` follows.

    Raises:
        TypeError: a number that does not come from the document.
    """
    if value is None:
        return Markup('<span class="absent">{}</span>').format(ABSENT)
    if not isinstance(value, Pointed):
        raise TypeError(f"{value!r} stands on no place of the document")
    spec = spec or ("s" if isinstance(value, PointedText) else default_format(value))
    raw = str(value) if isinstance(value, PointedText) else value
    return Markup('<data class="n" data-pointer="{}" data-format="{}" value="{}">{}</data>').format(
        visible(value.pointer), spec, json.dumps(raw), shown(value, spec)
    )


def escape_markdown(text: str) -> Markup:
    """Text that Markdown shows as it is: on one line, no markup, no links."""
    plain = " ".join(visible(text).split())
    return Markup(_LINK.sub(r"\1\2\\", _MARKDOWN.sub(r"\\\1", plain)))  # noqa: S704 - this is the escaping


def code_span(text: object, limit: int = 160) -> Markup:
    """A code span, also in a table cell; its fence is longer than any run of backticks inside."""
    plain = " ".join(visible(str(text), limit).split()).replace("|", "\\|") or " "
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", plain)), default=0))
    pad = " " if plain[0] == "`" or plain[-1] == "`" else ""
    return Markup(f"{fence}{pad}{plain}{pad}{fence}")  # noqa: S704 - nothing inside a code span is markup


def _environment(**options: Any) -> Environment:
    return _FieldsFirst(
        loader=PackageLoader("radiograph.reports", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        **options,
    )


def _finalize_html(value: Any) -> Any:
    if value is None or isinstance(value, Pointed):
        return number(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str) and not isinstance(value, Markup):
        return escape(visible(value))
    return value


def _finalize_markdown(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return shown(value, "")
    if isinstance(value, Markup):
        return value
    if isinstance(value, str):
        return escape_markdown(value)
    if isinstance(value, int | float):
        return shown(value, default_format(value))
    return value
