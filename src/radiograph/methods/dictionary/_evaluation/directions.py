"""What is asked of a dictionary's directions: neighbours, planted truth, another seed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from radiograph.core import FormatError, Refusal
from radiograph.evidence import AgreementRecord, GeometryRecord, Metric, RecoveryRecord, RefusalRecord
from radiograph.methods.dictionary._evaluation.metrics import metric, missing

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from radiograph.dictionaries import Dictionary

PAIRS = 20
RESAMPLED_FEATURES = "bootstrap over features, 1,000 draws"


def geometry(dictionary: Dictionary, seed: int) -> tuple[GeometryRecord, list[Metric]]:
    """Neighbours of decoder rows beside those of random directions, and how encoder and decoder rows agree."""
    import numpy as np

    from radiograph.numerics.dictionaries.geometry import DUPLICATE, cosine_histogram, decoder_geometry
    from radiograph.numerics.dictionaries.tables import Value
    from radiograph.numerics.dictionaries.units import draws, ratio_interval

    decoder, encoder = (t.float().cpu().numpy() for t in (dictionary.decoder, dictionary.encoder))
    one_space = dictionary.sites == dictionary.targets
    found = decoder_geometry(decoder, encoder if one_space else None, seed=seed)
    generator = np.random.default_rng((seed, *b"geometry"))
    chance = decoder_geometry(generator.standard_normal(decoder.shape, dtype=np.float32), seed=seed, sample=2048)
    pairs = {
        (int(min(a, b)), int(max(a, b))): float(c)
        for a, b, c in zip(found.features, found.nearest, found.cosine, strict=True)
        if c > DUPLICATE
    }
    closest = sorted(((a, b, c) for (a, b), c in pairs.items()), key=lambda p: (-p[2], p[0]))[:PAIRS]

    def mean(values: np.ndarray) -> Value:
        ones = np.ones(len(values))
        return Value(float(values.mean()), ratio_interval(values, ones, draws(len(values), seed=seed)))

    n = len(found.cosine)
    made = [
        metric("duplicates", Value(float(found.duplicates)), n, random=float(chance.duplicates)),
    ]
    if n:
        nearest = metric(
            "nearest_cosine", mean(found.cosine), n, random=float(chance.cosine.mean()), method=RESAMPLED_FEATURES
        )
        made.append(nearest)
    if found.encoder_cosine is not None:
        made.append(
            metric(
                "encoder_decoder_cosine",
                mean(found.encoder_cosine),
                len(found.encoder_cosine),
                null=0.0,
                method=RESAMPLED_FEATURES,
            )
        )
    record = GeometryRecord(
        n=n,
        nearest=tuple(cosine_histogram(found.cosine).tolist()),
        random=tuple(cosine_histogram(chance.cosine).tolist()),
        pairs=tuple(closest),
    )
    return record, made


def recovery(
    dictionary: Dictionary, path: Path, live: np.ndarray | None, seed: int
) -> tuple[RecoveryRecord, list[Metric], list[RefusalRecord]]:
    """Planted directions found. The file may also hold `rows` and their true code `active`, for the F1 of codes.

    Raises:
        FormatError: the file is no safetensors file, or holds no `directions` of the decoder's width.
    """
    from radiograph.numerics.dictionaries.recovery import planted_recovery
    from radiograph.numerics.dictionaries.tables import Value
    from radiograph.numerics.proportions import wilson

    tensors = _truth(path, dictionary)
    truth = tensors["directions"].double().numpy()
    decoder = dictionary.decoder.double().cpu().numpy()
    found = planted_recovery(decoder, truth, live=live, seed=seed)
    n = found.directions
    made = [
        metric(
            "mmcs",
            Value(found.mmcs, found.mmcs_interval),
            n,
            null=found.chance_mmcs,
            method="bootstrap over directions",
        ),
        metric("found", Value(found.found / n, found.found_interval), n, null=found.chance_found / n, method="Wilson"),
    ]
    refused: list[RefusalRecord] = []
    if found.live and found.precise is not None:
        value = Value(found.precise / found.live, wilson(found.precise, found.live))
        made.append(metric("precision", value, found.live, method="Wilson"))
    else:
        refused += missing(["precision"], "no_live_feature", "no feature fired")
    if "rows" in tensors and "active" in tensors:
        made.append(_code_f1(dictionary, truth, tensors))
    else:
        text = "the truth holds directions alone, not which of them each row is made of"
        refused += missing(["code_f1"], "no_true_codes", text, "put `rows` [n, d] and `active` [n, M] into the file")
    record = RecoveryRecord(
        directions=n, found=found.found, live=found.live, precise=found.precise, chance_best=found.chance_best
    )
    return record, made, refused


def agreement(dictionary: Dictionary, other: Dictionary, seed: int) -> tuple[AgreementRecord, list[Metric]]:
    """Overlap with another dictionary of the same sources.

    Raises:
        Refusal: `dictionary_mismatch` where it reads or writes elsewhere.
    """
    from radiograph.numerics.dictionaries.agreement import seed_agreement
    from radiograph.numerics.dictionaries.tables import Value

    if (dictionary.sites, dictionary.targets, dictionary.width) != (other.sites, other.targets, other.width):
        expected = f"{', '.join(dictionary.sites)}, width {dictionary.width}"
        got = f"{', '.join(other.sites)}, width {other.width}"
        raise Refusal(
            "dictionary_mismatch", "dictionaries of other places cannot agree", expected=expected, got=got, fixable=True
        )
    tensors = (dictionary.decoder, dictionary.encoder, other.decoder, other.encoder)
    found = seed_agreement(*(t.float().cpu().numpy() for t in tensors), seed=seed)
    null = found.null_shared / found.n
    shared = Value(found.shared / found.n, found.shared_interval)
    made = [
        metric("agreement", shared, found.n, null=null, method="Wilson"),
        metric(
            "agreement_mmcs",
            Value(found.mmcs, found.mmcs_interval),
            dictionary.size,
            null=found.null_mmcs,
            method=RESAMPLED_FEATURES,
        ),
    ]
    record = AgreementRecord(
        other_sha256=other.hash, pairing=found.pairing, n=found.n, shared=found.shared, null_shared=found.null_shared
    )
    return record, made


def _truth(path: Path, dictionary: Dictionary) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise FormatError("not a safetensors file", where=path.name, got=str(error)) from error
    shape = list(tensors["directions"].shape) if "directions" in tensors else None
    if shape is None or len(shape) != 2 or not shape[0] or shape[1] != dictionary.target_width:
        expected = f"directions [M, {dictionary.target_width}]"
        raise FormatError("the truth", expected=expected, got=str(shape or sorted(tensors)), where=path.name)
    if "rows" in tensors and "active" in tensors:
        rows, active = tensors["rows"].shape, tensors["active"].shape
        if list(rows) != [active[0], dictionary.width] or list(active) != [rows[0], shape[0]]:
            expected = f"rows [n, {dictionary.width}], active [n, {shape[0]}]"
            raise FormatError("the truth", expected=expected, got=f"{list(rows)}, {list(active)}", where=path.name)
    return tensors


def _code_f1(dictionary: Dictionary, truth: np.ndarray, tensors: dict[str, Tensor]) -> Metric:
    import numpy as np

    from radiograph.numerics.dictionaries.recovery import code_f1, matched
    from radiograph.numerics.dictionaries.tables import Value

    rows, active = tensors["rows"].to(dictionary.encoder), tensors["active"].bool().cpu().numpy()
    codes = dictionary.encode(rows)
    pairs = matched(dictionary.decoder.double().cpu().numpy(), truth)
    fired = codes.rows.cpu().numpy(), codes.indices.cpu().numpy()
    value = code_f1(active, *fired, pairs)
    # Chance: the same entries with their rows in another order, so that each feature fires as often.
    order = np.random.default_rng(0).permutation(len(active))
    null = code_f1(active[order], *fired, pairs)
    return metric("code_f1", Value(value or 0.0), len(active), null=null or 0.0)
