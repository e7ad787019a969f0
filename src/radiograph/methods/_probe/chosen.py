"""Which probe reads which target, and whether it may: identity comes before any number.

1. the probe: --probe, --weights, or that of its kind in the pack of the base (of a model the pack is found by hash)
2. same model: the target's hash, or the hash that its adapter sits on, or that of --base, is the card's. A store says
   its model, or is declared to be of the base that TARGET or --base names (`origin_declared`)
3. same site, width and tokenizer; a store that names no site is taken at its word (`site_declared`)
Refuses `no_probe` (names alone are known), `other_model`, `placeholder_probe`; never falls back to another probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from radiograph.core import Context, Refusal, Site, UserError
from radiograph.evidence.probes.probe import ProbeKind
from radiograph.methods._probe.options import Options
from radiograph.probing import Probe

FOREIGN = "weights"
"""Folder of a vector of others, in the bundle of a reading by it."""


@dataclass(frozen=True)
class Chosen:
    """A probe, and the base that it is of."""

    probe: Probe
    base: str
    aliases: tuple[str, ...]


def shipped_packs() -> Path:
    """Where the packs lie that come with the package."""
    from radiograph import organisms

    return organisms.bundled_path("base").parent / "probes"


def chosen_probe(config: Options, ctx: Context, kind: ProbeKind, model: Any) -> Chosen:
    """The probe of a reading; `model` is the loaded target, None where rows are stored.

    Raises:
        UserError: an unknown base, a probe of another kind. Refusal: `no_probe`, `placeholder_probe`.
    """
    if config.probe is not None and config.weights is not None:
        raise UserError("one of --probe and --weights", got="both")
    if config.weights is not None:
        return _foreign(config, ctx, kind)
    if config.probe is not None:
        own = given_probe(config.probe, ctx)
        card = own.card
        assert card is not None
        found = Chosen(own, card.model.ref, ())
    else:
        found = _packed(config, ctx, kind, model)
    if found.probe.kind not in (kind, "custom"):
        raise UserError(
            f"{found.probe.name} is a probe of {found.probe.kind}",
            expected=f"a probe of {kind}",
            fix=f"radiograph probe {found.probe.kind} …",
            code="other_kind",
        )
    return found


def given_probe(path: str, ctx: Context) -> Probe:
    """The probe of a file of ours, held to its card.

    Raises:
        FormatError: no probe file. Refusal: `placeholder_probe`.
    """
    from radiograph.store.probes import CARD_BYTES, find_card, read_probe, weights_path

    weights = weights_path(Path(path))
    with ctx.opened(str(weights), "probe") as file:
        if find_card(weights_path(ctx.locate(path))) is None:
            return Probe.of(read_probe(file))
        with ctx.opened(str(weights.with_suffix(".json")), "probe.card") as card:
            return Probe.of(read_probe(file, card.read(CARD_BYTES)))


def _foreign(config: Options, ctx: Context, kind: ProbeKind) -> Chosen:
    from radiograph.store.probes import read_foreign

    if config.site is None:
        raise UserError("a vector of others does not say where it belongs", expected="--site SITE")
    with ctx.opened(config.weights or "", "probe") as file:
        own = Probe.foreign(read_foreign(file), kind, str(Site.parse(config.site)), "none")
        ctx.output.data(f"{FOREIGN}/{Path(file.name).name}", file.read())
    return Chosen(own, ctx.label(config.base or config.target), ())


def _packed(config: Options, ctx: Context, kind: ProbeKind, model: Any) -> Chosen:
    from radiograph.store.opened import Opened
    from radiograph.store.probes import find_pack, known_packs, read_probe

    packs = known_packs(shipped_packs())
    pack = None
    if config.base is None and model is not None:
        hashes = {model.identity.tensors_sha256, model.identity.base_tensors_sha256} - {None}
        pack = next((known for known in packs if known.pack.base.sha256 in hashes), None)
        if pack is None:
            raise Refusal(
                "no_probe",
                f"no pack is of the model {ctx.label(config.target)}",
                fix=f"radiograph probe build {ctx.label(config.target)} --contrast SOURCE, or name its --base",
            )
    if pack is None:
        pack = find_pack(config.base or config.target, packs)
    entry = next((own for own in pack.pack.probes if own.kind == kind), None)
    if entry is None or entry.status == "schema_only" or pack.folder is None or entry.file is None:
        raise Refusal(
            "no_probe",
            f"of {pack.pack.base.id} no weights of a {kind} probe are known: the pack holds its name alone",
            fix=f"radiograph probe build {pack.pack.base.id} --contrast SOURCE",
        )
    with Opened.at(pack.folder / entry.file) as file:
        if file.sha256 != entry.sha256:
            from radiograph.store.probes import placeholder

            raise placeholder(entry.file, "it is not the file that its pack names")
        own = Probe.of(read_probe(file))
    return Chosen(own, pack.pack.base.id, pack.pack.base.aliases)


def check_model(chosen: Chosen, model: Any, config: Options, ctx: Context) -> None:
    """Hold a loaded target to the model of the probe, or where --base says that it comes from it to that.

    Raises:
        Refusal: `other_model`.
    """
    card = chosen.probe.card
    if card is None:
        return
    identity = model.identity
    known = {identity.tensors_sha256, identity.base_tensors_sha256}
    if card.model.sha256 not in known and config.base is not None:
        known.add(ctx.stored(config.base, "base").identity.tensors_sha256)
    if card.model.sha256 not in known:
        raise Refusal(
            "other_model",
            f"{chosen.probe.name} was built on {card.model.ref}, and {ctx.label(config.target)} does not come from it",
            expected=str(card.model.sha256),
            got=str(identity.base_tensors_sha256 or identity.tensors_sha256),
            fix="name the model that it was tuned from with --base, or build a probe of this one",
        )
    if card.model.tokenizer_sha256 != identity.tokenizer_sha256:
        raise Refusal("other_model", f"{chosen.probe.name} was built with another tokenizer")


def check_store(chosen: Chosen, store: Any, config: Options, ctx: Context) -> None:
    """Hold stored rows to the model and site of the probe, or to what is declared of them.

    Raises:
        Refusal: `other_model`, or of unknown origin.
    """
    probe = chosen.probe
    card = probe.card
    if card is None:
        return
    if store.site is not None and str(Site.parse(store.site)) != probe.site:
        raise Refusal(
            "other_model", f"{store.name} is of another site than {probe.name}", expected=probe.site, got=store.site
        )
    tokenizers = (card.model.tokenizer_sha256, store.tokenizer_sha256)
    if None not in tokenizers and tokenizers[0] != tokenizers[1]:
        raise Refusal(
            "other_model",
            f"{store.name} was tokenised with another tokenizer than {probe.name} was built with",
            expected=tokenizers[0],
            got=tokenizers[1],
        )
    _check_origin(chosen, store, config, ctx)


def _check_origin(chosen: Chosen, store: Any, config: Options, ctx: Context) -> None:
    """Whether the model of stored rows is that of the probe, or only said to be."""
    probe, card = chosen.probe, chosen.probe.card
    assert card is not None, "looked at by `check_store`"
    if store.model_sha256 is not None:
        if store.model_sha256 == card.model.sha256:
            return
        if config.base is not None and _declares(chosen, config.base, ctx):
            return
        raise Refusal(
            "other_model",
            f"{store.name} holds activations of another model than {probe.name} was built on",
            expected=str(card.model.sha256),
            got=store.model_sha256,
            fix="name the model that it was tuned from with --base",
        )
    if _declares(chosen, config.base or config.target, ctx):
        return
    raise Refusal(
        "other_model",
        f"{store.name} does not say which model it is of",
        expected=chosen.base,
        got=config.base or config.target,
        fix=f"say --base {chosen.base} if it comes from that model",
    )


def _declares(chosen: Chosen, name: str, ctx: Context) -> bool:
    """Whether a name is that of the probe's model."""
    card = chosen.probe.card
    assert card is not None
    names = {own.casefold() for own in (chosen.base, *chosen.aliases, card.model.ref)}
    if name.casefold() in names or ctx.label(name).casefold() in names:
        return True
    from radiograph.store.probes import find_pack, known_packs

    try:
        known = find_pack(name, known_packs(shipped_packs())).pack.base.sha256
    except UserError:
        known = None
    if known is not None:
        return known == card.model.sha256
    try:
        return bool(ctx.stored(name, "base").identity.tensors_sha256 == card.model.sha256)
    except UserError:  # a name that is no model here
        return False
