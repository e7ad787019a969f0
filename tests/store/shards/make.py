"""Small folders of activations, with rows that say where they belong."""

import numpy as np
import polars as pl
import torch

from radiograph.store.shards import Index, MemoryActivations, ModelRecord, ShardData, SourceRecord, begin

SOURCES = {"reference/resid_post.1": 6, "candidate/attn_z.0": 3}
SPEC = "5" * 64
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}


def table(per_prompt, validation_every=4):
    """A prompt a line with its number of rows; every few are held out."""
    n = len(per_prompt)
    return pl.DataFrame(
        {
            "prompt": np.arange(n, dtype=np.uint32),
            "prompt_id": [f"p{i}" for i in range(n)],
            "group": [f"g{i // 2}" for i in range(n)],
            "split": ["validation" if (i // 2) % validation_every == 0 else "train" for i in range(n)],
            "n_kept": np.array(per_prompt, dtype=np.uint16),
        }
    )


def index(shards, dtype="F32", **changes):
    fields = {
        "models": tuple(ModelRecord(role=r, reference=r, sha256=r[0] * 64) for r in ("reference", "candidate")),
        "sources": tuple(SourceRecord(source=s, width=w, dtype=dtype) for s, w in SOURCES.items()),
        "tokenizer_sha256": "0" * 64,
        "config_sha256": "1" * 64,
        "data_sha256": {"prompts.jsonl": "2" * 64},
        "split_salt": 0,
        "validation": 0.25,
        "shards": shards,
    }
    return Index(**(fields | changes))


def shards(per_prompt, per_shard, dtype="F32"):
    """Data of every shard; column 0 of each source is the row's number over all shards."""
    prompts = table(per_prompt)
    held = (prompts["split"] == "validation").to_numpy()
    row = 0
    out = []
    for number, first in enumerate(range(0, len(per_prompt), per_shard)):
        span = range(first, min(first + per_shard, len(per_prompt)))
        owners = np.repeat(np.array(span), [per_prompt[i] for i in span])
        numbers = torch.arange(row, row + len(owners))
        row += len(owners)
        g = torch.Generator().manual_seed(number)
        rows = {s: torch.randn(len(owners), w, generator=g) for s, w in SOURCES.items()}
        for values in rows.values():
            values[:, 0] = numbers
        out.append(
            ShardData(
                number=number,
                rows={s: values.to(DTYPES[dtype]) for s, values in rows.items()},
                tokens=owners % 97,
                prompts=owners,
                positions=np.concatenate([np.arange(per_prompt[i]) for i in span]),
                span=(span[0], span[-1]),
                fed=len(owners) + len(span),
                validation=int(held[owners].sum()),
            )
        )
    return prompts, out


def write(folder, per_prompt, per_shard, dtype="F32"):
    """A whole folder."""
    from radiograph.store.shards import ShardWriter, finish

    prompts, data = shards(per_prompt, per_shard, dtype)
    begin(folder, index(len(data), dtype), prompts)
    with ShardWriter(folder, SPEC) as writer:
        for shard in data:
            writer.submit(shard)
    return finish(folder, SPEC, {"documents": len(per_prompt)})


def memory(per_prompt):
    """The same rows in memory, as one shard."""
    prompts, (data,) = shards(per_prompt, len(per_prompt))
    columns = [torch.from_numpy(np.asarray(c, dtype=np.int64)) for c in (data.tokens, data.prompts, data.positions)]
    return MemoryActivations(index(1), prompts, dict(data.rows), *columns)


def hashes(folder):
    from radiograph.store import file_sha256, tree

    return {path.name: file_sha256(path) for path in tree(folder)}
