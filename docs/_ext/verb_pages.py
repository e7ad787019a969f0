"""One page a verb, `docs/verbs/GROUP/NAME.md`, written when the docs are built; and the table of the README.

python docs/_ext/verb_pages.py        # write the table between the marks of README.md
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

from radiograph.runtime import Verb, catalogue

ROOT = Path(__file__).parent.parent.parent
MARKS = ("<!-- verbs -->", "<!-- /verbs -->")


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("builder-inited", lambda app: write(Path(app.srcdir) / "verbs"))
    return {"parallel_read_safe": True}


def verbs() -> list[Verb]:
    """The verbs of this package, without plug-ins that happen to be installed."""
    return [verb for verb in catalogue().values() if verb.module_name.startswith("radiograph.")]


def write(folder: Path) -> None:
    """Write every page anew, so that a verb that is gone leaves none behind."""
    shutil.rmtree(folder, ignore_errors=True)
    for verb in verbs():
        path = folder.joinpath(*verb.words).with_suffix(".md")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(verb), encoding="utf-8")
    names = "\n".join("/".join(verb.words) for verb in verbs())
    index = f"# Verbs\n\n{table(link=True)}\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    (folder / "index.md").write_text(index, encoding="utf-8")


def page(verb: Verb) -> str:
    """Name, usage, method, options."""
    method = verb.doc.partition("\n")[2].strip()
    fields = verb.config.model_fields
    schema = verb.config.model_json_schema().get("properties", {})
    positional = " ".join(name.upper() for name in fields if _positional(verb, name))
    rows = [
        f"| `{name.upper() if _positional(verb, name) else '--' + name.rstrip('_').replace('_', '-')}` "
        f"| {_kind(schema.get(name, {}))} | {_default(schema.get(name, {}), field.is_required())} "
        f"| {_cell(field.description or '')} |"
        for name, field in fields.items()
    ]
    usage = " ".join(("radiograph", verb.name, positional, "[OPTIONS]")).replace("  ", " ")
    tool = "" if verb.serves else f" As a tool for agents: `{verb.tool}`."
    parts = [f"# {verb.name}", verb.summary, f"```text\n{usage}\n```"]
    if method:
        parts.append(f"## Method\n\n```text\n{method}\n```")
    if rows:
        parts.append("\n".join(["## Options\n", "| option | type | default | meaning |", "|---|---|---|---|", *rows]))
    parts.append(f"In a workflow: `{verb.key}`.{tool}")
    return "\n\n".join(parts) + "\n"


def table(*, link: bool = False) -> str:
    """Verb and first line, as Markdown."""
    rows: list[str] = []
    for verb in verbs():
        name = f"[`{verb.name}`]({'/'.join(verb.words)}.md)" if link else f"`{verb.name}`"
        rows.append(f"| {name} | {_cell(verb.summary)} |")
    return "\n".join(["| verb | what it answers |", "|---|---|", *rows])


def with_table(text: str) -> str:
    """The text with the table between its marks brought up to date."""
    start, end = MARKS
    return re.sub(f"{start}.*?{end}", lambda _: f"{start}\n{table()}\n{end}", text, flags=re.DOTALL)


def _positional(verb: Verb, name: str) -> bool:
    from click import Argument

    from radiograph.surfaces.cli._options import parameters

    return any(isinstance(p, Argument) and p.name == name for p in parameters(verb.config))


def _kind(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_kind(s) for s in schema["anyOf"] if s.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"{_kind(schema.get('items', {}))}, repeatable"
    return {"string": "text", "integer": "whole number", "number": "number", "boolean": "on or off"}.get(
        schema.get("type", ""), schema.get("type", "")
    )


def _default(schema: dict[str, Any], required: bool) -> str:
    if required:
        return "required"
    default = schema.get("default")
    return "" if default in (None, "", []) else f"`{default}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    readme = ROOT / "README.md"
    readme.write_text(with_table(readme.read_text(encoding="utf-8")), encoding="utf-8")
