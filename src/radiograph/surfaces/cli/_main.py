"""`radiograph VERB …`: the catalogue as a command line.

`--help` reads names and docstrings from files; a verb is imported when its own help or run is asked for. stdout carries
the result and nothing else; progress and errors go to stderr. Exit codes are those of `core.ExitCode`; a usage error
is bad input (3), never a failed gate (2).
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from radiograph.core import ExitCode, RadiographError, nearest, visible
from radiograph.runtime import Verb, aliases, catalogue


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code."""
    try:
        code = Group(()).main(args=arguments, prog_name="radiograph", standalone_mode=False)
        return int(code or 0)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.UsageError as error:
        return _complain(error.format_message(), ExitCode.BAD_INPUT, _usage(error))
    except click.ClickException as error:
        return _complain(error.format_message(), ExitCode.BAD_INPUT)
    except RadiographError as error:
        return _complain(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _complain("interrupted", ExitCode.INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        return int(ExitCode.INTERNAL)
    except Exception as error:  # noqa: BLE001 - the last door: an internal error must still say what it was
        return _crash(error)


class Group(click.Group):
    """Verbs that begin with the same words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        super().__init__(name=words[-1] if words else "radiograph", help=_group_help(words), no_args_is_help=True)
        self.words = words
        if not words:
            self.params.append(
                click.Option(
                    ["--version"], is_flag=True, is_eager=True, callback=_version, expose_value=False, help="Show it."
                )
            )

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The next words."""
        del ctx
        depth = len(self.words)
        return sorted({v.words[depth] for v in catalogue().values() if v.words[:depth] == self.words})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A verb, or a group of verbs."""
        words = (*self.words, cmd_name)
        verb = catalogue().get(".".join(words))
        if verb is not None:
            return _command(verb)
        if any(v.words[: len(words)] == words for v in catalogue().values()):
            return Group(words)
        if (former := aliases().get(".".join(words))) is not None:
            sys.stderr.write(f"{' '.join(words)} is `radiograph {former.name}`\n")
            return _command(former)
        if any(name.split(".")[: len(words)] == list(words) for name in aliases()):
            return Group(words)
        close = nearest(cmd_name, self.list_commands(ctx))
        hint = f" Did you mean {', '.join(close)}?" if close else ""
        raise click.UsageError(f"no such command {visible(cmd_name)!r}.{hint}", ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """All verbs below this group with their first lines, so that one look shows everything."""
        del ctx
        depth = len(self.words)
        rows = [(" ".join(v.words[depth:]), v.summary) for v in catalogue().values() if v.words[:depth] == self.words]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


class VerbCommand(click.Command):
    """A verb whose parameters are read only when it is really asked for."""


def _command(verb: Verb) -> click.Command:
    from radiograph.surfaces.cli._options import parameters

    common = [
        click.Option(["--out"], type=click.Path(path_type=Path), help="Folder of the bundle.  [default: runs/…]"),
        click.Option(["--config"], type=click.Path(path_type=Path), help="YAML, TOML or JSON file with these options."),
        click.Option(["--json", "as_json"], is_flag=True, help="Print result.json on stdout and nothing else there."),
        click.Option(["--output"], metavar="FILE", help="Write result.json to this file too."),
        click.Option(["--seed"], type=int, default=0, show_default=True, help="Every random choice derives from it."),
        click.Option(["--device"], default="cpu", show_default=True, help="cpu, cuda, cuda:1, mps."),
        click.Option(["--online"], is_flag=True, help="Allow downloads from the model hub."),
        click.Option(["--no-links"], is_flag=True, help="Refuse input paths with a link in any component."),
        click.Option(["--quiet"], is_flag=True, help="No progress."),
    ]
    if verb.limits:
        said = f"Raise a limit, as tokens=2B.  ({', '.join(verb.limits)})"
        common.append(click.Option(["--limit"], multiple=True, metavar="NAME=VALUE", help=said))
    if verb.downloads:
        fetch = "Fetch the one listed file that is named, where it is not cached."
        common.append(click.Option(["--allow-download"], is_flag=True, help=fetch))
    if verb.commands is not None:
        allow = "Run programs that a file names; one that is typed here may run anyway."
        common.append(click.Option(["--allow-commands"], is_flag=True, help=allow))
    own = parameters(verb.config)
    taken = {p.name for p in own}
    return VerbCommand(
        verb.words[-1],
        params=[*own, *(p for p in common if p.name not in taken)],
        callback=lambda **values: _invoke(verb, values),
        help=_help(verb.doc),
    )


def _invoke(verb: Verb, values: dict[str, Any]) -> int:
    from radiograph.core.limits import Limits
    from radiograph.runtime import Settings, check_place, execute, resolve
    from radiograph.store import Workspace
    from radiograph.surfaces._services import services
    from radiograph.surfaces.cli._options import given
    from radiograph.surfaces.cli._progress import Terminal
    from radiograph.surfaces.cli._show import show

    names = set(verb.config.model_fields)
    own = {k: v for k, v in values.items() if k in names}
    rest = {k: v for k, v in values.items() if k not in names}
    workspace = replace(Workspace.current(), links=not rest.get("no_links"))
    output = None if rest.get("output") is None else check_place(workspace, rest["output"])
    file: Path | None = rest.get("config")
    resolved = resolve(verb, given(own), workspace.resolve(str(file)) if file else None)
    settings = Settings(
        seed=rest["seed"],
        device=rest["device"],
        out=rest.get("out"),
        progress=Terminal(quiet=rest["quiet"]),
        workspace=workspace,
        caller="cli",
        offline=not rest["online"],
        limits=Limits.parse(rest.get("limit") or ()),
        downloads=bool(rest.get("allow_download")),
        commands=bool(rest.get("allow_commands")) or verb.may_command(resolved.origins),
        services=services(),
    )
    outcome = execute(verb, resolved, settings)
    return int(show(verb, resolved.config, outcome, as_json=rest["as_json"], output=output, progress=settings.progress))


def _group_help(words: tuple[str, ...]) -> str:
    if words:
        return f"Verbs of `{' '.join(words)}`."
    return (
        "See what changed inside a fine-tuned language model, prove it, and undo it.\n\n"
        "Every verb leaves a bundle: a folder with its evidence, a report, and a manifest that `verify` re-checks.\n\n"
        "\b\nExit codes: 0 pass · 1 internal error · 2 the gate failed · 3 bad input\n"
        "            4 not measured or inconclusive · 130 interrupted"
    )


def _help(doc: str) -> str:
    """The module docstring as click help: blocks keep their line breaks."""
    return "\n\n".join("\b\n" + block for block in doc.split("\n\n"))


def _version(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value:
        from radiograph import __version__

        click.echo(f"radiograph {__version__}")
        ctx.exit(0)


def _usage(error: click.UsageError) -> str | None:
    return f"see `{error.ctx.command_path} --help`" if error.ctx else None


def _complain(text: str, code: int, fix: str | None = None) -> int:
    sys.stderr.write(f"radiograph: {visible(text)}\n")
    if fix:
        sys.stderr.write(f"  fix: {fix}\n")
    return int(code)


def _crash(error: Exception) -> int:
    import os
    import traceback

    if os.environ.get("RADIOGRAPH_DEBUG"):
        traceback.print_exc()
    place = traceback.extract_tb(error.__traceback__)[-1]
    text = f"internal error: {type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
    return _complain(text, ExitCode.INTERNAL, "set RADIOGRAPH_DEBUG=1 for the trace, and report it")
