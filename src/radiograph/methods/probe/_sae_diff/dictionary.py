"""Which dictionary: a folder of ours, a bare file, units or directions, a listed suite, or any known foreign format.

The first three are read without torch; what another library wrote is read by its own reader, which needs it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import Context, Refusal, Site, UserError, canonical
from radiograph.dictionaries._document import DOCUMENT, DictionaryDocument, parse_document
from radiograph.dictionaries.plain import (
    Given,
    PlainDictionary,
    is_bare,
    is_native,
    read_bare,
    read_directions_file,
    read_native,
    taken_over,
    units,
)
from radiograph.store.activations import ActivationStore

if TYPE_CHECKING:
    from radiograph.methods.probe._sae_diff.options import Config

UNITS, SUITE, DIRECTIONS = "units:", "suite:", "direction:"


def site_of(config: Config, ctx: Context) -> str | None:
    """The site that is read, as far as it is known before any row is: the user's, else the dictionary's."""
    if config.site is not None:
        return str(Site.parse(canonical(config.site)))
    if config.dictionary.startswith(UNITS):
        return str(Site.parse(canonical(config.dictionary.removeprefix(UNITS))))
    folder = _native(config, ctx)
    return None if folder is None else _first_site(folder)


def target_of(config: Config, ctx: Context) -> str | None:
    """The site that a transcoder of ours writes."""
    folder = _native(config, ctx)
    return None if folder is None else _document(folder).target


def opened(config: Config, ctx: Context, store: ActivationStore) -> PlainDictionary:
    """The dictionary, which must read rows of the store's width.

    Raises:
        UserError: nothing there, or it reads other rows. Refusal: something that an option would settle.
    """
    found = _opened(config, ctx, store)
    if found.kind != "crosscoder" and found.width != store.width:
        turned = f"are they transposed? {store.name} has {store.rows} rows"
        raise UserError(
            "the dictionary reads rows of another width",
            expected=f"width {found.width}",
            got=f"width {store.width} in {store.name}",
            fix=turned if found.width == store.rows else "use a dictionary of this width, or rows of another site",
            code="dictionary_mismatch",
        )
    if found.sites and store.site and found.kind != "crosscoder" and not config.transfer:
        own = found.sites[0].rpartition("/")[2]
        if own != store.site:
            raise Refusal(
                "dictionary_mismatch",
                "the dictionary was trained on another site",
                expected=own,
                got=f"{store.site} in {store.name}",
                fix="compare rows of its site, or pass --transfer",
                fixable=True,
            )
    return found


def stamps(config: Config, dictionary: PlainDictionary, store: ActivationStore) -> list[str]:
    """What must be said of the dictionary beside every finding.

    Raises:
        Refusal: `dictionary_mismatch`, it knows that it belongs to another model.
    """
    model = dictionary.metadata.model
    stated = None if model is None else model.tensors_sha256
    if stated is None or store.model_sha256 is None or stated == store.model_sha256:
        return []
    if config.transfer:
        return ["transferred"]
    raise Refusal(
        "dictionary_mismatch",
        "the dictionary was trained on another model",
        expected=stated,
        got=f"{store.model_sha256} in {store.name}",
        fix="use a dictionary of this model; --transfer measures all the same, and says so",
        fixable=True,
    )


def _opened(config: Config, ctx: Context, store: ActivationStore) -> PlainDictionary:
    text = config.dictionary
    if text.startswith(UNITS):
        return units(site_of(config, ctx) or "", store.width)
    if text.startswith(DIRECTIONS):
        path = ctx.path(text.removeprefix(DIRECTIONS), "dictionary")
        return read_directions_file(path, store.width, config.site)
    if text.startswith(SUITE):
        place = _listed(ctx, text.removeprefix(SUITE), (config.reference, config.candidate))
        return _read(place, config, ctx, store)
    return _read(_place(config, ctx), config, ctx, store)


def _listed(ctx: Context, text: str, sides: tuple[str, str]) -> Path:
    """The file or folder of a listed dictionary, `NAME/PATH`; `sides` are those that it is asked for.

    PATH begins with the repository's own name where a suite has several, and goes on to the folder or file of one
    dictionary: layer, width and L0 are chosen, never "the first file". Nothing that is not listed is fetched.

    Raises:
        UserError: not listed, not confirmed, not cached, or may not be fetched.
    """
    import shlex

    from radiograph.dictionaries import suites

    entry, repository, path = suites.resolve(text)
    cached = suites.cached(repository, path)
    if cached is not None:
        return cached
    if entry.status != "confirmed":
        raise UserError(
            f"{repository} is listed but nobody confirmed that it exists",
            expected="a confirmed suite",
            got=f"status {entry.status}",
            fix="try " + ", ".join(entry.instead) if entry.instead else None,
            code="unconfirmed",
        )
    if not ctx.downloads:
        command = shlex.join(["radiograph", "probe", "sae-diff", f"suite:{text}", *sides, "--allow-download"])
        raise UserError(
            f"suite:{text} is not in the local cache",
            expected="a cached file, or leave to fetch it",
            fix=f"{command} fetches one file of {repository} ({entry.licence})",
            code="not_cached",
        )
    return suites.fetch(entry, repository, path, ctx.progress)


def _read(path: Path, config: Config, ctx: Context, store: ActivationStore) -> PlainDictionary:
    if is_native(path):
        ctx.path(str(path), "dictionary")
        return read_native(path, ctx.limits)
    soup = config.schema_ == "soup"
    if is_bare(path) and (config.activation is not None or soup or not _known(path)):
        given = Given(store.width, config.activation, config.orientation, assume=soup, rows=store.rows)
        with ctx.opened(str(path), "dictionary") as file:
            return read_bare(file, given, ctx.limits)
    if config.activation is not None or config.orientation is not None:
        raise UserError(
            "the dictionary says its nonlinearity itself", got="--activation or --orientation", fix="leave it out"
        )
    ctx.path(str(path), "dictionary")
    try:
        return _foreign(path, config)
    except UserError as error:
        if not is_bare(path):
            raise
        raise UserError(
            f"no known format fits {ctx.label(str(path))}, and the file does not say its nonlinearity",
            expected="--activation relu, topk:K or jumprelu",
            got=error.message,
            fix="give --activation, if the file holds W_enc and the like",
            code="activation_missing",
        ) from error


def _known(path: Path) -> bool:
    """Whether a single file has the name that a published format gives its files."""
    return path.name in ("params.npz", "sae.safetensors", "sae_weights.safetensors", "params.safetensors")


def _foreign(path: Path, config: Config) -> PlainDictionary:
    from radiograph.dictionaries.formats import Options, Source, import_source

    finished = list(import_source(Source.open(path), Options(site=config.site)))
    if len(finished) != 1:
        names = ", ".join(one.name for one in finished[:12])
        raise UserError(f"{path.name} holds {len(finished)} dictionaries", got=names, fix="name the folder of one")
    return taken_over(finished[0].dictionary, notes=finished[0].folded)


def _native(config: Config, ctx: Context) -> Path | None:
    if config.dictionary.startswith((UNITS, SUITE, DIRECTIONS)):
        return None
    path = _place(config, ctx)
    return path if path.is_dir() and is_native(path) else None


def _place(config: Config, ctx: Context) -> Path:
    folder = ctx.dictionary_folder(config.dictionary)
    return folder / "dictionary" if is_native(folder / "dictionary") else folder


def _first_site(folder: Path) -> str | None:
    sites = _document(folder).sites
    return sites[0].rpartition("/")[2] if sites else None


def _document(folder: Path) -> DictionaryDocument:
    return parse_document((folder / DOCUMENT).read_bytes(), f"{folder.name}/{DOCUMENT}")
