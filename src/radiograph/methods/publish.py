"""Put a run on the hub, with a card, after looking for what must not leave the machine.

1. the run is verified: unfinished, changed or unreadable ones are refused
2. every file is searched for absolute paths, keys, prompts marked private, and vectors that were not validated; what
   the run was given was searched for prompts marked private when it was read, and the manifest keeps that; a finding
   stops the publication (exit 2), unless --accept FILE:KIND says that somebody looked at it
3. the card: question, findings with n and intervals, what was not measured, base model, licence, how to run it again
4. one commit through `huggingface_hub`, with the token that it finds itself; needs --online
--dry-run stops before 4 and needs no network, no credentials, no hub package: files with hashes, card, findings.

Refuses when: the run is unfinished or was changed (exit 3); a later version wrote it (exit 4).
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, Refusal, RunPath, UserError
from radiograph.evidence import OutputRecord
from radiograph.evidence.publication import LEAKS, Leak, Publication
from radiograph.methods._publish.scan import given, scan

if TYPE_CHECKING:
    from radiograph.evidence import Manifest

CARD = "README.md"
LISTED = 200


class Config(Base):
    """Which run, where to, and what its card says."""

    run: RunPath
    """The folder that a run left."""
    repo: str | None = None
    """OWNER/NAME on the hub."""
    type: Literal["dataset", "model"] = "dataset"
    """What kind of repository it is."""
    private: bool = False
    """Create the repository for its owners alone; one that is there and public is refused."""
    revision: str | None = None
    """Branch to commit to; made if it is not there."""
    path_in_repo: str = ""
    """Folder of the run in the repository, its card beside it; by default its name, the card being README.md."""
    message: str | None = None
    """Of the commit."""
    title: str | None = None
    """Of the card."""
    tag: tuple[str, ...] = ()
    """Tags of the card; repeatable."""
    licence: str | None = None
    """Of the run's own files, as the hub names it (apache-2.0, cc-by-4.0)."""
    accept: tuple[str, ...] = ()
    """FILE:KIND of findings that somebody looked at; repeatable."""
    dry_run: bool = False
    """Show what would be sent, and send nothing."""


def run(config: Config, ctx: Context) -> Publication:
    """Verify, search, write the card, send."""
    from radiograph.store import MANIFEST, Bundle, file_sha256

    _check(config, ctx)
    path = ctx.path(config.run, "run")
    _require_intact(path, ctx)
    bundle = Bundle(path)
    manifest = bundle.manifest
    with ctx.measure("scan"):
        found = scan(path)
        marks, unseen = given(path)
        found += marks
    accepted = _accepted(config.accept, found)
    leaks = [leak for leak in found if f"{leak.file}:{leak.kind}" not in accepted]
    home = config.path_in_repo.strip("/") or path.name
    name = f"{home}.md" if config.path_in_repo.strip("/") else CARD
    card = _card(config, path, manifest, bundle.result, home)
    ctx.output.text("card.md", card)
    files = {f"{home}/{p.relative_to(path).as_posix()}": p for p in sorted(path.rglob("*")) if p.is_file()}
    listed = [
        OutputRecord(path=place, sha256=file_sha256(file), bytes=file.stat().st_size) for place, file in files.items()
    ]
    data = card.encode()
    listed.append(OutputRecord(path=name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)))
    made = None
    if not leaks and not config.dry_run:
        made = _sent(config, ctx, {**files, name: data}, manifest)
    return Publication(
        run=path.name,
        verb=manifest.verb,
        seal=file_sha256(path / MANIFEST),
        repo=config.repo,
        type=config.type,
        private=config.private,
        revision=config.revision,
        title=_title(config, manifest),
        dry_run=config.dry_run,
        files=tuple(listed),
        bytes=sum(file.bytes for file in listed),
        leaks=tuple(leaks[:LISTED]),
        leaks_left_out=max(0, len(leaks) - LISTED),
        accepted=tuple(sorted(accepted)),
        unseen=tuple(unseen[:LISTED]),
        url=None if made is None else made.url,
        commit=None if made is None else made.oid,
    )


def _check(config: Config, ctx: Context) -> None:
    if config.repo is None and not config.dry_run:
        raise UserError("where to?", expected="--repo OWNER/NAME, or --dry-run", code="bad_value")
    if config.repo is not None and config.repo.count("/") != 1:
        raise UserError(f"{config.repo!r} is no repository", expected="OWNER/NAME", where="--repo", code="bad_value")
    if ".." in Path(config.path_in_repo).parts:
        raise UserError("a folder in the repository stays inside it", where="--path-in-repo", got=config.path_in_repo)
    if not config.dry_run and ctx.offline:
        raise UserError(
            "publishing needs the network, and the run was started without leave to use it",
            fix="say --online, or --dry-run to see what would be sent",
            code="offline",
        )


def _require_intact(path: Path, ctx: Context) -> None:
    checked = ctx.service("verify")(path)
    if checked.status == "intact":
        return
    first = checked.problems[0] if checked.problems else None
    got = None if first is None else f"{first.path}: {first.text}"
    if checked.status == "unverifiable":
        raise Refusal("unverifiable", f"{path.name} cannot be verified, so it is not published", got=got)
    raise UserError(
        f"{path.name} is {checked.status}, so it is not published", got=got, fix="run it again", code="not_intact"
    )


def _accepted(given: tuple[str, ...], found: list[Leak]) -> set[str]:
    """Findings that somebody let pass; one that is none is a mistake."""
    there = {f"{leak.file}:{leak.kind}" for leak in found}
    for text in given:
        if text not in there:
            raise UserError(
                f"nothing to accept: {text!r}",
                where="--accept",
                expected="; ".join(sorted(there)[:10]) or "no finding at all",
                code="bad_value",
            )
        if text.endswith(":key"):
            raise UserError("a key is never published", where="--accept", got=text, fix="revoke it, and run again")
    return set(given)


def _title(config: Config, manifest: Manifest) -> str:
    return config.title or f"radiograph {manifest.verb.replace('.', ' ')} {manifest.run_id}"


def _card(config: Config, path: Path, manifest: Manifest, result: dict[str, Any], home: str) -> str:
    from radiograph.reports import card

    report = path / "report.md"
    return card(
        result,
        title=_title(config, manifest),
        verb=manifest.verb.replace(".", " "),
        folder=home,
        report=report.read_text("utf-8") if report.is_file() else "",
        models=[(given.ref, given.sha256) for given in manifest.inputs if given.kind == "model"],
        kind=config.type,
        licence=config.licence,
        tags=config.tag,
        version=manifest.tool_version,
        seed=manifest.seed,
    )


def _sent(config: Config, ctx: Context, files: dict[str, Path | bytes], manifest: Manifest) -> Any:
    from radiograph.store.hub import upload

    assert config.repo is not None, "checked before"
    with ctx.measure("upload"):
        return upload(
            files,
            repo=config.repo,
            kind=config.type,
            private=config.private,
            revision=config.revision,
            message=config.message or f"radiograph {manifest.verb.replace('.', ' ')} {manifest.run_id}",
        )


def recompute(result: dict[str, Any], folder: Path) -> list[str]:
    """Is the card the one that was listed, and does what was found decide the exit?"""
    stored = Publication.read(result)
    card = hashlib.sha256((folder / "card.md").read_bytes()).hexdigest()
    listed = [file for file in stored.files if file.path.endswith(".md") and file.sha256 == card]
    problems = [] if listed else ["card.md is not the card that is listed"]
    if stored.bytes != sum(file.bytes for file in stored.files):
        problems.append("bytes is not the sum over the files")
    if stored.leaks and stored.url is not None:
        problems.append(f"published in spite of {LEAKS[stored.leaks[0].kind]}")
    return problems
