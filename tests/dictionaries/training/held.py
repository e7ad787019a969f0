"""Activations in memory whose rows are given, and planted truth to find in them."""

import numpy as np
import polars as pl
import torch

from radiograph.store.shards import Index, MemoryActivations, ModelRecord, SourceRecord

SOURCE = "reference/resid_post.1"


def held(rows, validation=0.1, groups=256):
    """Rows of one source, or of several by name; the first share of the groups is held out."""
    rows = rows if isinstance(rows, dict) else {SOURCE: rows}
    n = len(next(iter(rows.values())))
    split = ["validation" if i < round(groups * validation) else "train" for i in range(groups)]
    prompts = pl.DataFrame({"prompt": np.arange(groups, dtype=np.uint32), "split": split})
    roles = dict.fromkeys(source.partition("/")[0] for source in rows)
    digest = [float(part.double().sum()) for part in rows.values()]
    index = Index(
        models=tuple(ModelRecord(role=role, reference=role, sha256=role[:1] * 64) for role in roles),
        sources=tuple(SourceRecord(source=s, width=r.shape[1], dtype="F32") for s, r in rows.items()),
        tokenizer_sha256="0" * 64,
        config_sha256="1" * 64,
        data_sha256={"planted": str(digest)},
        split_salt=0,
        validation=validation,
        shards=1,
    )
    owners = torch.arange(n) * groups // n
    return MemoryActivations(index, prompts, rows, torch.zeros(n, dtype=torch.long), owners, torch.arange(n))


def recovered(dictionary, truth):
    """How many true directions some decoder row has a cosine above 0.9 with."""
    rows = dictionary.decoder / dictionary.decoder.norm(dim=1, keepdim=True).clamp_min(1e-12)
    return int(((truth @ rows.T).amax(1) > 0.9).sum())


def written(folder, activations, shards=3):
    """The same rows as a folder of shards."""
    from radiograph.store.shards import ShardData, ShardWriter, begin, finish

    owners = activations.owners.numpy()
    groups = len(activations.prompts)
    begin(folder, activations.given.model_copy(update={"shards": shards}), activations.prompts)
    held_out = (activations.prompts["split"] == "validation").to_numpy()
    with ShardWriter(folder, "5" * 64) as writer:
        for number in range(shards):
            span = (number * groups // shards, (number + 1) * groups // shards - 1)
            at = np.flatnonzero((owners >= span[0]) & (owners <= span[1]))
            writer.submit(
                ShardData(
                    number=number,
                    rows={source: rows[torch.from_numpy(at)] for source, rows in activations.values.items()},
                    tokens=at,
                    prompts=owners[at],
                    positions=at % 60_000,
                    span=span,
                    fed=len(at),
                    validation=int(held_out[owners[at]].sum()),
                )
            )
    finish(folder, "5" * 64)
    return folder
