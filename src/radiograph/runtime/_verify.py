"""Is a bundle untouched, and do its conclusions still follow from its numbers? Needs no torch.

1. the sidecar seals the manifest (and `seal`, if given, is the one printed when the run ended)
2. every file of the manifest is there with its hash, and no other file is
3. the evidence hash follows from the outputs, the transcript's chain is whole up to the head that the manifest names
4. the result is one of its verb's, its exit code the manifest's; the verb's own `recompute(result, folder)` derives
   verdicts, scores and p-values again from what is stored; what detectors or rules of other versions made is
   unverifiable; what a verb cannot derive here (`as_written(result, folder)`) is listed, never passed over
5. each number in `report.html` equals the stored value that it points to; both reports are written again, byte for
   byte, where this radiograph writes in the words of that run, and listed where not
6. bundles of steps inside this one are checked the same way, and so is a session with the bundles of its calls
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from radiograph.core import ExitCode, FormatError, RadiographError, UserError
from radiograph.evidence import (
    Manifest,
    NewerSchema,
    OtherVersions,
    Record,
    Refused,
    Result,
    check_versions,
    document_sha256,
)
from radiograph.runtime._catalogue import Verb, find
from radiograph.runtime._execute import tool_version, written_page
from radiograph.runtime._sessions import SESSION, Finding, check_session, is_session, read_session, session_seal
from radiograph.store import (
    MANIFEST,
    PARTIAL,
    SIDECAR,
    Bundle,
    broken_links,
    evidence_sha256,
    file_sha256,
    first_link,
    tree,
)

Status = Literal["intact", "changed", "incomplete", "unverifiable"]
_EXIT = {
    "intact": ExitCode.PASS,
    "changed": ExitCode.GATE_FAILED,
    "incomplete": ExitCode.BAD_INPUT,
    "unverifiable": ExitCode.NOT_MEASURED,
}


class Problem(Record):
    """One thing that is not as it should be."""

    path: str
    text: str


class Verification(Result):
    """What `verify` found."""

    SCHEMA: ClassVar[str] = "radiograph.verification/1"

    status: Status
    run: str
    seal: str | None = None
    files: int = 0
    recomputed: tuple[str, ...] = ()
    as_written: tuple[str, ...] = ()
    """What was taken as it is written: nothing in the bundle, and nothing at hand, that it could be derived from."""
    problems: tuple[Problem, ...] = ()

    @property
    def headline(self) -> str:
        """Status, the first problem, and what was taken as written."""
        first = f": {self.problems[0].path}: {self.problems[0].text}" if self.problems else ""
        more = f" (and {len(self.problems) - 1} more)" if len(self.problems) > 1 else ""
        taken = f"; taken as written: {', '.join(self.as_written)}" if self.as_written else ""
        return f"{self.run}: {self.status}{first}{more}{taken}"

    @property
    def exit_code(self) -> ExitCode:
        """Intact 0, changed 2, incomplete 3, unverifiable 4."""
        return _EXIT[self.status]


def verify(path: Path, seal: str | None = None) -> Verification:
    """Check a bundle.

    Raises:
        UserError: nothing there. FormatError: not a bundle.
    """
    if path.name.endswith(PARTIAL) and path.is_dir():
        problem = Problem(path=path.name, text="unfinished: the run was interrupted before it was sealed")
        return Verification(status="incomplete", run=path.name, problems=(problem,))
    if not path.is_dir():
        raise UserError(f"no run at {path.name!r}", expected="the folder that a run left", code="not_found")
    if not (path / MANIFEST).is_file() and not (path / SIDECAR).is_file():
        if is_session(path):
            return _verify_session(path, seal)
        raise FormatError(f"{path.name} is not a bundle", expected=f"a folder with {MANIFEST} or {SESSION}")
    problems: list[Problem] = []
    sealed = _check_seal(path, seal, problems)
    try:
        manifest = Bundle(path).manifest
    except NewerSchema as error:
        return Verification(
            status="unverifiable", run=path.name, seal=sealed, problems=(Problem(path=MANIFEST, text=str(error)),)
        )
    except FormatError as error:
        problems.append(Problem(path=MANIFEST, text=str(error)))
        return Verification(status="changed", run=path.name, seal=sealed, problems=tuple(problems))
    _check_files(path, manifest, problems)
    _check_transcript(path, manifest, problems)
    taken: list[str] = []
    try:
        recomputed = _recompute(path, manifest, problems, taken) if not problems else []
    except OtherVersions as error:
        text = f"{error.message}; stored: {error.expected}; here: {error.got}"
        return Verification(
            status="unverifiable", run=path.name, seal=sealed, problems=(Problem(path="result.json", text=text),)
        )
    unknown: list[Problem] = []
    nested = _check_steps(path, manifest, problems, unknown, taken)
    status: Status = "changed" if problems else "unverifiable" if unknown else "intact"
    return Verification(
        status=status,
        run=path.name,
        seal=sealed,
        files=len(manifest.outputs) + 2,
        recomputed=(*recomputed, *nested),
        as_written=tuple(taken),
        problems=(*problems, *unknown),
    )


def _verify_session(path: Path, seal: str | None) -> Verification:
    sealed = session_seal(path)
    try:
        session = read_session(path)
    except FormatError as error:
        status: Status = "unverifiable" if isinstance(error, NewerSchema) else "changed"
        return Verification(
            status=status, run=path.name, seal=sealed, problems=(Problem(path=SESSION, text=str(error)),)
        )
    found, files = check_session(path, session, _inside_session)
    problems = [Problem(path=name, text=text) for name, text in found]
    if seal is not None and seal.lower() != sealed:
        problems.append(Problem(path=SESSION, text=f"seal is {sealed}, not the one given"))
    status = "changed" if problems else "intact"
    if status == "intact" and session.closed is None:
        status = "incomplete"
        problems.append(Problem(path=SESSION, text="the session was not closed, so a cut tail would not show"))
    return Verification(status=status, run=path.name, seal=sealed, files=files, problems=tuple(problems))


def _inside_session(path: Path, seal: str) -> list[Finding]:
    """Problems of a bundle that a call of a session left."""
    if not path.is_dir():
        return [("", "missing")]
    return [(p.path, p.text) for p in verify(path, seal).problems]


def _check_seal(path: Path, seal: str | None, problems: list[Problem]) -> str | None:
    if not (path / MANIFEST).is_file():
        problems.append(Problem(path=MANIFEST, text="missing"))
        return None
    actual = file_sha256(path / MANIFEST)
    try:
        stored = (path / SIDECAR).read_bytes()
    except OSError:
        problems.append(Problem(path=SIDECAR, text="missing"))
        stored = b""
    if stored and stored != f"{actual}  {MANIFEST}\n".encode():
        problems.append(Problem(path=SIDECAR, text=f"does not seal this {MANIFEST} (one of the two was changed)"))
    if seal is not None and seal.lower() != actual:
        problems.append(Problem(path=MANIFEST, text=f"seal is {actual}, not the one given"))
    return actual


def _check_files(path: Path, manifest: Manifest, problems: list[Problem]) -> None:
    listed = {o.path: o for o in manifest.outputs}
    present = {p.relative_to(path).as_posix() for p in tree(path)} - {MANIFEST, SIDECAR}
    problems += [Problem(path=p, text="missing") for p in sorted(set(listed) - present)]
    problems += [Problem(path=p, text="not in the manifest") for p in sorted(present - set(listed))]
    links = (p for p in sorted(path.rglob("*")) if p.is_symlink())
    problems += [Problem(path=p.relative_to(path).as_posix(), text="a link, not a file") for p in links]
    for name in sorted(present & set(listed)):
        if file_sha256(path / name) != listed[name].sha256:
            problems.append(Problem(path=name, text="changed: its SHA-256 is not the one in the manifest"))
    if evidence_sha256(manifest.outputs) != manifest.evidence_sha256:
        problems.append(Problem(path=MANIFEST, text="evidence_sha256 does not follow from the outputs"))


def _check_transcript(path: Path, manifest: Manifest, problems: list[Problem]) -> None:
    log = path / "tool_calls.jsonl"
    if not log.is_file():
        if manifest.transcript_seq:
            problems.append(Problem(path=log.name, text="missing"))
        return
    first = first_link(manifest.run_id, document_sha256(manifest.config))
    broken = broken_links(log, first, manifest.transcript_seq, manifest.transcript_head)
    problems += [Problem(path=log.name, text=text) for text in broken]


def _recompute(path: Path, manifest: Manifest, problems: list[Problem], taken: list[str]) -> list[str]:
    """Everything that follows from what is stored; what has to be taken as written goes to `taken`.

    Raises:
        OtherVersions: detectors or rules of other versions made the bundle.
    """
    verb, document = find(manifest.verb), Bundle(path).result
    done: list[str] = []
    if manifest.status == "done":
        check_versions(manifest.rules, verb.rules, MANIFEST)
        recompute = getattr(verb.module, "recompute", None)
        if recompute is not None:
            try:
                differences = recompute(document, path)
            except OtherVersions:
                raise
            except RadiographError as error:
                differences = [str(error)]
            problems += [Problem(path="result.json", text=text) for text in differences]
            done.append(f"{manifest.verb}: verdict and scores")
            if not differences and (as_written := getattr(verb.module, "as_written", None)) is not None:
                taken += as_written(document, path)
    from radiograph import reports

    broken, checked = reports.broken_pointers(path)
    problems += [Problem(path="report.html", text=text) for text in broken]
    done.append(f"{manifest.verb}: {checked} numbers in the report")
    try:
        done += _again(path, manifest, verb, document, problems, taken)
    except RadiographError as error:
        problems.append(Problem(path="result.json", text=str(error)))
    return done


def _again(
    path: Path, manifest: Manifest, verb: Verb, document: dict[str, Any], problems: list[Problem], taken: list[str]
) -> list[str]:
    """The exit code and both reports, from the result.

    Raises:
        RadiographError: the result is none of what its verb returns.
    """
    from radiograph import reports

    code, headline = said_of(manifest, verb, document)
    if code != manifest.exit_code:
        text = f"exit_code is {manifest.exit_code}, the result says {code}"
        problems.append(Problem(path=MANIFEST, text=text))
    if (manifest.tool_version, manifest.wording) != (tool_version(), reports.wording()):
        taken.append(f"the words of the reports (of another build of radiograph {manifest.tool_version})")
        return []
    for name, data in rewritten(path, manifest, verb, document, headline).items():
        if not (path / name).is_file() or (path / name).read_bytes() != data:
            problems.append(Problem(path=name, text="is not what the result gives, written again"))
    return [f"{manifest.verb}: both reports"]


def rewritten(path: Path, manifest: Manifest, verb: Verb, document: dict[str, Any], headline: str) -> dict[str, bytes]:
    """Both reports of a bundle as they are written here, from its result and its figures.

    Raises:
        FormatError: no report can be written of such a result.
    """
    evidence = evidence_sha256(manifest.outputs)
    try:
        page = written_page(
            path, verb, document, headline, manifest.exit_code, evidence, manifest.run_id, manifest.inputs
        )
    except Exception as error:
        raise FormatError(f"no report can be written of the result: {type(error).__name__}: {error}") from error
    return {"report.md": page.markdown.encode(), "report.html": page.html.encode()}


def said_of(manifest: Manifest, verb: Verb, document: dict[str, Any]) -> tuple[int, str]:
    """Exit code and headline of a result, read as a record of its kind.

    Raises:
        FormatError: it is none of what its verb returns.
    """
    from radiograph.runtime._replay import Replay
    from radiograph.runtime.workflow._result import WorkflowResult

    kinds = [Refused] if manifest.status == "refused" else verb.results
    if kinds == [Result]:  # nothing but that, or what a service of the runtime returns
        kinds = [Result, WorkflowResult, Verification, Replay]
    named = str(document.get("schema")).rpartition("/")[0]
    kind = next((k for k in kinds if k.SCHEMA.rpartition("/")[0] == named), kinds[0])
    result = kind.read(document, "result.json")
    try:
        return int(result.exit_code), result.headline
    except Exception as error:
        raise FormatError(f"the result says nothing of itself: {type(error).__name__}: {error}") from error


def _check_steps(
    path: Path, manifest: Manifest, problems: list[Problem], unknown: list[Problem], taken: list[str]
) -> list[str]:
    """Bundles of steps; what cannot be verified here goes to `unknown`."""
    done: list[str] = []
    for step in manifest.steps:
        if step.run is None:
            continue
        inner = verify(path / step.run)
        found = unknown if inner.status == "unverifiable" else problems
        found += [Problem(path=f"{step.run}/{p.path}", text=p.text) for p in inner.problems]
        done += [f"{step.run}: {text}" for text in inner.recomputed]
        taken += [f"{step.run}: {text}" for text in inner.as_written]
    return done
