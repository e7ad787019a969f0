"""Packs: listed, written, checked, fetched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from radiograph.core import Context, FormatError, Refusal, UserError, visible
from radiograph.evidence.probes.probe import (
    PackBase,
    PackCheck,
    PackedProbe,
    PackLine,
    PackReport,
    ProbePack,
)
from radiograph.methods._probe.chosen import shipped_packs

FOLDER, KNOWN = "pack", "known"
KEPT = 4 * 2**20
"""Bytes of a file of a pack, or of a dictionary in it, up to which a run that checks it keeps it."""
_DICTIONARY = re.compile(r"dictionary:[A-Za-z0-9._-]+")


def listed(ctx: Context) -> PackReport:
    """Every base that is known; their manifests are kept."""
    from radiograph.store.probes import known_packs, pack_bytes

    known = [one.pack for one in known_packs(shipped_packs())]
    for number, pack in enumerate(known):
        ctx.output.data(f"{KNOWN}/{number:03d}.json", pack_bytes(pack))
    return PackReport(did="listed", known=tuple(map(_line, known)))


def _line(pack: ProbePack) -> PackLine:
    base = pack.base
    by = {
        status: tuple(entry.name for entry in pack.probes if entry.status == status)
        for status in ("calibrated", "uncalibrated", "schema_only")
    }
    lacking = bool(by["schema_only"]) or not by["calibrated"]
    return PackLine(
        id=base.id,
        aliases=base.aliases,
        hidden_size=base.hidden_size,
        calibrated=by["calibrated"],
        uncalibrated=by["uncalibrated"],
        schema_only=by["schema_only"],
        build=f"radiograph probe build {base.id} --contrast SOURCE" if lacking else None,
    )


def written(
    target: str | None,
    base: str | None,
    hidden: int | None,
    probes: Sequence[str],
    dictionary: str | None,
    ctx: Context,
) -> PackReport:
    """The pack of a known base, one of names alone, or one of probes that were built.

    Raises:
        UserError: an unknown base without its width, probes of other models.
    """
    from radiograph.store.opened import Opened
    from radiograph.store.probes import find_pack, known_packs, named_pack, read_pack, write_pack

    folder = ctx.output.folder(FOLDER)
    if probes:
        pack, files = made(target or base or "", probes, dictionary, ctx)
    elif base is not None:
        if hidden is None:
            raise UserError(
                "of what width?", expected="--base ID --hidden N", fix=f"radiograph probe pack --base {base} --hidden N"
            )
        pack, files = named_pack(base, hidden), {}
    else:
        known = find_pack(target or "", known_packs(shipped_packs()))
        pack = known.pack
        files = {
            entry.file: (known.folder / entry.file).read_bytes()
            for entry in pack.probes
            if entry.file is not None and known.folder is not None
        }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    write_pack(folder, pack)
    with Opened.at(folder / "pack.json") as file:
        assert read_pack(file) == pack
    return PackReport(did="written", pack=pack, folder=FOLDER)


def made(name: str, probes: Sequence[str], dictionary: str | None, ctx: Context) -> tuple[ProbePack, dict[str, bytes]]:
    """A pack of probe files, all of one model.

    Raises:
        UserError: of different models, or two of one name.
    """
    from radiograph.core import Site
    from radiograph.store.probes import read_probe, weights_path

    entries: list[PackedProbe] = []
    files: dict[str, bytes] = {}
    models: set[str | None] = set()
    for number, path in enumerate(probes):
        with ctx.opened(str(weights_path(Path(path))), f"probe.{number}") as file:
            card, data = read_probe(file).card, file.read()
            sha256 = file.sha256
        models.add(card.model.sha256)
        if f"{card.name}.safetensors" in files:
            raise UserError(f"two probes are called {card.name}", fix="build one of them with another --name")
        files[f"{card.name}.safetensors"] = data
        pooled = "" if card.pool is None else f" ({card.pool})"
        low, high = card.auroc.interval
        entries.append(
            PackedProbe(
                name=card.name,
                kind=card.kind,
                site=str(Site.parse(card.site)),
                hidden_dim=card.d,
                status=card.status,
                file=f"{card.name}.safetensors",
                sha256=sha256,
                bytes=len(data),
                description=(
                    f"{card.kind} by {card.level}{pooled}, {card.method}, from {card.data.contrast}: AUROC "
                    f"{card.auroc.estimate:.3f} ({low:.3f} to {high:.3f}), FPR at most {card.fpr.interval[1]:.2%}"
                ),
            )
        )
    if len(models) != 1:
        raise UserError("the probes are of different models", got=", ".join(sorted(str(one)[:12] for one in models)))
    model = ctx.model(name, "base")
    if model.identity.tensors_sha256 not in models:
        raise UserError(
            "the probes are of another model than the base",
            expected=str(models.pop()),
            got=model.identity.tensors_sha256,
        )
    if dictionary is not None:
        own = ctx.dictionary(dictionary)
        entries.append(
            PackedProbe(
                name="features",
                kind="sae",
                site=own.sites[0],
                hidden_dim=own.width,
                status="calibrated",
                dictionary=dictionary if _DICTIONARY.fullmatch(dictionary) else ctx.label(dictionary),
                description=f"{own.size} features at {own.sites[0]}, {own.activation.name}",
            )
        )
    base = PackBase(
        id=ctx.label(name),
        aliases=(name.rpartition(":")[2],) if name.startswith("bundled:") else (),
        sha256=model.identity.tensors_sha256,
        hidden_size=model.width,
        layers=model.n_layers,
    )
    return ProbePack(base=base, version=version("radiograph"), probes=tuple(entries)), files


def kept(folder: Path, ctx: Context) -> None:
    """The manifest of a pack, and of its files those that are small, into the bundle: what the checks rest on.

    Raises:
        UserError: a manifest that is a link.
    """
    from radiograph.store import tree
    from radiograph.store.opened import Opened
    from radiograph.store.probes import MANIFEST, read_pack

    with Opened.at(folder.resolve() / MANIFEST, links=False) as file:
        pack = read_pack(file)
    names = [Path(MANIFEST), *(Path(entry.file) for entry in pack.probes if entry.file is not None)]
    for entry in pack.probes:
        inside = _inside(entry)
        files = [] if inside is None or not (folder / inside).is_dir() else list(tree(folder / inside))
        names += [path.relative_to(folder) for path in files] if sum(f.stat().st_size for f in files) <= KEPT else []
    for name in dict.fromkeys(names):
        try:
            with Opened.at(folder.resolve() / name, links=False) as file:
                if file.size <= KEPT:
                    ctx.output.data(f"{FOLDER}/{name.as_posix()}", file.read())
        except UserError:  # what cannot be opened is a problem that the check names
            continue


def unlike(report: PackReport, folder: Path, model: str | None) -> list[str]:
    """Where a report is not what the packs that its bundle keeps give."""
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_pack

    if report.did == "listed":
        known: list[ProbePack] = []
        for path in sorted((folder / KNOWN).glob("*.json")):
            with Opened.at(path, links=False) as file:
                known.append(read_pack(file))
        wrong = (report.pack, report.folder, report.checks) != (None, None, ())
        wrong |= tuple(map(_line, known)) != report.known
        return ["/known is not what the manifests of the bases say"] if wrong else []
    again = checked(folder / FOLDER, FOLDER)
    said = [] if again.pack == report.pack and not report.known else ["/pack is not what pack.json says"]
    if report.did != "checked" and report.folder != FOLDER:
        said.append(f"/folder is not {FOLDER}")
    if report.did == "written":
        said += ["/checks: nothing was checked"] if report.checks else []
        return [*said, *(f"{check.name}: {text}" for check in again.checks for text in check.problems)]
    if [check.name for check in report.checks] != [check.name for check in again.checks]:
        return [*said, "/checks are not those of the entries of the pack, in their order"]
    apart = _apart(report, folder)
    for own, check in zip(again.checks, report.checks, strict=True):
        if check.name not in apart:
            said += _unlike(own, check, model)
        elif check.holds == bool(check.problems) or check.again:
            said.append(f"{check.name}: whether it holds does not follow from its problems")
    return said


def as_written(report: PackReport, folder: Path) -> list[str]:
    """Entries whose files are not kept; what a model gave."""
    if report.did not in ("checked", "fetched"):
        return []
    found = [f"whether {name} holds (its file is not kept)" for name in sorted(_apart(report, folder))]
    again = [check.name for check in report.checks if check.again]
    found += ["the name of the folder"] if report.did == "checked" else []
    return [*found, *([f"that the model gave the scores of {', '.join(again)}"] if again else [])]


def _apart(report: PackReport, folder: Path) -> set[str]:
    """Entries that cannot be looked at again: their files are large, or could not be opened."""
    assert report.pack is not None
    found: set[str] = set()
    for entry, check in zip(report.pack.probes, report.checks, strict=False):
        place = _inside(entry) if entry.dictionary is not None else entry.file
        gone = place is not None and not (folder / FOLDER / place).exists()
        if gone and (check.problems or entry.dictionary is not None or (entry.bytes or 0) > KEPT):
            found.add(entry.name)
    return found


def _unlike(own: PackCheck, said: PackCheck, model: str | None) -> list[str]:
    """A check against what the kept files give; a model may have found more, and is not here."""
    if model is not None and not said.looked_at and own.looked_at and not own.problems:
        return [] if not (said.holds or said.problems or said.again) and said.note else [f"{own.name}: not looked at"]
    more = said.problems[len(own.problems) :]
    expected = own.model_copy(
        update={"again": said.again, "problems": (*own.problems, *more), "holds": own.holds and not more}
    )
    ran = model is not None and own.looked_at and own.auroc is not None and not own.problems
    wrong = said != expected or (said.again != ran) or (bool(more) and not ran)
    return [f"{own.name}: whether it holds, and why, is not what its file gives"] if wrong else []


def _inside(entry: PackedProbe) -> Path | None:
    """The folder of a dictionary that lies in its pack."""
    place = Path(entry.dictionary or "")
    if entry.dictionary is None or entry.dictionary == "dictionary:bundled" or _DICTIONARY.fullmatch(entry.dictionary):
        return None
    return None if place.is_absolute() or ".." in place.parts or not place.parts else place


def checked(folder: Path, label: str, ctx: Context | None = None, model: str | None = None) -> PackReport:
    """Caps, hashes, and the numbers of every probe from its test scores; with a model those scores too.

    Raises:
        FormatError: a manifest over a cap. UserError: a manifest that is a link.
    """
    from radiograph.store.opened import Opened
    from radiograph.store.probes import MANIFEST, read_pack

    folder = folder.resolve()
    with Opened.at(folder / MANIFEST, links=False) as file:
        pack = read_pack(file)
    loaded = None if ctx is None or model is None else ctx.model(model, "base")
    checks = tuple(_checked(folder, entry, pack, ctx, loaded) for entry in pack.probes)
    return PackReport(did="checked", pack=pack, folder=label, checks=checks)


def _checked(
    folder: Path, entry: PackedProbe, pack: ProbePack, ctx: Context | None = None, model: Any = None
) -> PackCheck:
    from radiograph.probing import failing_of, measured
    from radiograph.store.opened import Opened
    from radiograph.store.probes import read_probe

    if entry.dictionary is not None:
        return _dictionary(folder, entry)
    if entry.file is None:
        return PackCheck(name=entry.name, holds=True, looked_at=False, note="a name alone: there is nothing to check")
    problems: list[str] = []
    try:
        # A manifest names files of its folder: a link leads out of it.
        with Opened.at(folder / entry.file, links=False) as file:
            if file.sha256 != entry.sha256 or file.size != entry.bytes:
                problems.append("the file is not the one that the manifest names (size or SHA-256)")
            probe = read_probe(file)
    except (FormatError, UserError, Refusal) as error:
        return PackCheck(name=entry.name, holds=False, problems=(*problems, error.message))
    card, test = probe.card, probe.tensors["test_scores"]
    found = measured(test, float(probe.tensors["threshold"]), card.fpr.target)
    failing = failing_of(found, card.controls)
    agreed = {
        "AUROC": found.auroc == card.auroc,
        "FPR": found.fpr == card.fpr,
        "TPR": found.tpr == card.tpr,
        "n": found.counts == card.data.n_test,
        "the status": card.status == ("uncalibrated" if failing else "calibrated") and card.failing == failing,
        "the status of the manifest": card.status == entry.status,
        "width and site": (card.d, card.site) == (entry.hidden_dim, entry.site),
        "the base": pack.base.sha256 in (None, card.model.sha256),
    }
    problems += [f"{name} does not follow from its test scores" for name, holds in agreed.items() if not holds]
    again = False
    if ctx is not None and model is not None and not problems:
        from radiograph.methods._probe.again import unlike

        try:
            problems += unlike(card, probe.tensors, model, ctx)
            again = True
        except UserError as error:
            # A model was given, so the stored scores alone are not what was asked for.
            note = f"not run again: {error.message}" + (f" ({error.fix})" if error.fix else "")
            return PackCheck(name=entry.name, holds=False, looked_at=False, note=note)
    return PackCheck(
        name=entry.name,
        holds=not problems,
        problems=tuple(problems),
        again=again,
        fpr=found.fpr.estimate,
        auroc=found.auroc.estimate,
    )


def _dictionary(folder: Path, entry: PackedProbe) -> PackCheck:
    """Hold a dictionary entry to the dictionary, if it lies in the pack or ships."""
    from functools import partial

    from radiograph import organisms
    from radiograph.dictionaries.plain import read_native
    from radiograph.store.opened import Opened

    name = entry.dictionary or ""
    inside = _inside(entry)
    if name == "dictionary:bundled":
        place, opener = organisms.bundled_path("dictionary"), Opened.at
    elif _DICTIONARY.fullmatch(name):
        return PackCheck(name=entry.name, holds=False, looked_at=False, note=f"{name} is not here to be looked at")
    elif inside is None:
        problem = f"its dictionary {visible(name, 80)!r} is neither dictionary:NAME nor a folder of the pack"
        return PackCheck(name=entry.name, holds=False, problems=(problem,))
    else:
        place, opener = folder / inside, partial(Opened.at, links=False)
    try:
        own = read_native(place, opener=opener)
    except (FormatError, UserError, Refusal) as error:
        problem = f"its dictionary {visible(name, 80)!r} cannot be read: {error.message}"
        return PackCheck(name=entry.name, holds=False, problems=(problem,))
    agreed = {
        "its width": own.width == entry.hidden_dim,
        "its site": entry.site is None or entry.site in own.sites,
    }
    problems = tuple(f"{what} is not that of {visible(name, 80)}" for what, holds in agreed.items() if not holds)
    return PackCheck(name=entry.name, holds=not problems, problems=problems)


def fetched(name: str, ctx: Context, *, allowed: bool) -> PackReport:
    """The files of a pack from where its manifest says.

    Raises:
        UserError: not allowed, nowhere to fetch from. FormatError: other bytes than the manifest says.
    """
    from radiograph.store.opened import Opened
    from radiograph.store.probes import fetch_file, find_pack, known_packs, read_pack, write_pack

    try:
        given = ctx.locate(name) / "pack.json"
    except UserError:
        given = None
    if given is not None and given.is_file():
        with ctx.opened(str(Path(name) / "pack.json"), "pack") as file:
            pack = read_pack(file)
    else:
        pack = find_pack(name, known_packs(shipped_packs())).pack
    source = pack.source
    if source is None:
        raise UserError(
            f"the pack of {pack.base.id} does not say where its weights are",
            expected="source {repo, revision, path} in pack.json",
            fix=f"radiograph probe build {pack.base.id} --contrast SOURCE",
            code="no_source",
        )
    wanted = [entry for entry in pack.probes if entry.file is not None]
    if not allowed:
        raise UserError(
            f"{len(wanted)} files, {sum(entry.bytes or 0 for entry in wanted):,} bytes, of {source.repo} at "
            f"{source.revision}: nothing is fetched unless you say so",
            fix=f"radiograph probe pack --fetch {name} --allow-download",
            code="offline",
        )
    folder = ctx.output.folder(FOLDER)
    with ctx.progress.task("fetch", len(wanted)) as task:
        for entry in wanted:
            (folder / str(entry.file)).write_bytes(fetch_file(source, entry))
            task.advance(1)
    write_pack(folder, pack)
    with Opened.at(folder / "pack.json") as file:
        assert read_pack(file) == pack
    return PackReport(did="fetched", pack=pack, folder=FOLDER, checks=checked(folder, FOLDER).checks)


def soup_of(report: PackReport) -> dict[str, Any]:
    """The keys of soup-cli.

    Raises:
        Refusal: a listing has none.
    """
    if report.pack is None:
        raise Refusal("no_pack", "a listing has no pack")
    probes = [
        {"name": own.name, "kind": own.kind, "hidden_dim": own.hidden_dim, "description": own.description}
        for own in report.pack.probes
    ]
    return {"base": report.pack.base.id, "soup_version": f"radiograph {version('radiograph')}", "probes": probes}
