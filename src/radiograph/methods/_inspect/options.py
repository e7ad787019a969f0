"""The options of `inspect`, and what its parts make of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from radiograph.core import Config as Base
from radiograph.core import FeaturesRef, FilePath, Input, ModelRef
from radiograph.core.sizes import ByteSize, Count

if TYPE_CHECKING:
    from radiograph.evidence import Split
    from radiograph.numerics.association import RowPool, Settings

MEMORY_SHARE = 0.36
"""Of --memory, for the entries of a range while they are read; the rest is for what the screen makes of them."""
RESAMPLED = 20
"""Best candidates that get a bootstrap interval, whatever the report shows."""
ROW_BYTES = 256
"""Of ids, groups and labels of a row."""


class Options(Base):
    """Everything that a run may be asked for."""

    model: ModelRef
    """Folder, hub id or bundled:NAME, with +ADAPTER; for stored records the id that they name."""
    criterion: Annotated[str, Input("file")] = ""
    """The concept in words, world:ATTRIBUTE, or a compiled criterion.json."""
    features: tuple[FeaturesRef, ...] = ()
    """KIND[:WHERE][#650,700-720], repeatable: records:PATH, dictionary:REF, units:SITE, direction:FILE, toy, …"""
    prompts: FilePath | None = None
    """Labelled prompts: FILE (JSONL, CSV, Parquet) or suite:FILE."""
    template: FilePath | None = None
    """YAML of templates and fillers per kind."""
    text: FilePath | None = None
    """Texts that an endpoint is to label."""
    endpoint: str | None = None
    """A chat endpoint that writes or labels rows, as http://localhost:8000/v1."""
    writer_model: str | None = None
    """Model at the endpoint that writes."""
    labeller_model: str | None = None
    """Model at the endpoint that labels blind; by default the writer."""
    endpoint_key_env: str | None = None
    """Environment variable with the endpoint's key."""
    max_calls: int | None = Field(default=None, ge=0)
    """Most calls to the endpoint."""
    split: FilePath | None = None
    """Halves of an earlier run: split.json or criterion.json."""
    threshold: float = 0.5
    """Scores from here on are positive."""
    count: Count = 400
    """Rows drawn from the small world, or written by the endpoint."""
    near_duplicates: Literal["jaccard", "off"] = "jaccard"
    """Unite prompts that are nearly alike; ready records only by equal texts."""
    surface: Literal["on", "off"] = "on"
    """Check whether length or words alone tell the labels."""
    compile_only: bool = False
    """Stop when the criterion is compiled."""
    score: Literal["labels", "continuous"] = "labels"
    """Compare two classes, or rank against the score itself."""
    stratify: str | None = None
    """A factor of the rows that every statistic is conditioned on."""
    pool: Literal["max", "mean", "last", "sum"] | None = None
    """How tokens become the value of a prompt; by default max of codes, last of units."""
    duplicates: Literal["max", "sum"] | None = None
    """Of two values for one row and feature; by default an error."""
    candidates: int = Field(default=50, ge=1)
    """K: features taken from discover to confirm."""
    q: float = Field(default=0.05, gt=0, lt=1)
    """False discovery rate of confirmed features."""
    fdr: Literal["bh", "by"] = "bh"
    """Benjamini-Hochberg, or Benjamini-Yekutieli under any dependence."""
    permutations: int = Field(default=2000, ge=0)
    """Draws of permuted labels; raised to 2K/q."""
    bootstrap: int = Field(default=1000, ge=0)
    """Draws of groups for intervals of the 20 best."""
    smallest_effect: float = Field(default=0.70, gt=0.5, lt=1)
    """AUROC that would matter: decides whether no finding is adequate."""
    cards: int = Field(default=20, ge=0, le=200)
    """Features shown in the report; the tables hold all."""
    require: str | None = None
    """Fail (exit 2) unless some feature reaches KIND:GRADE, as correlational:confirmed or causal:effect."""
    interventions: FilePath | None = None
    """Intervention records of these features, JSONL or Parquet."""
    any_criterion: bool = False
    """Use interventions that were made for another criterion, marked."""
    causal: int | None = Field(default=None, ge=0)
    """Candidates to intervene on; by default 5 where MODEL runs and rows have targets."""
    search: str | None = None
    """Also list features whose labels hold these words: a search, not a statistic."""
    max_features: int | None = Field(default=None, ge=1)
    """Most features of a source, drawn with the seed."""
    k: int | None = Field(default=None, ge=1)
    """Features firing on a token, where a dictionary's file does not say."""
    labels: FilePath | None = None
    """Labels of the features, over those of the source."""
    neuronpedia_url: str | None = None
    """Base address of the service, over the public one."""
    key_env: str | None = None
    """Environment variable with the key of a source's service."""
    refresh: bool = False
    """Ask services again for what the cache holds."""
    memory: ByteSize = 512 * 2**20
    """For entries of records, a range of features at a time."""

    def asked(self, seed: int, split: Split | None) -> Asked:
        """What of it concerns the study; `split` is the one that is given."""
        from radiograph.numerics.association import Settings

        settings = Settings(
            candidates=self.candidates,
            q=self.q,
            fdr=self.fdr,
            permutations=self.permutations,
            bootstrap=self.bootstrap,
            cards=RESAMPLED,
            smallest_effect=self.smallest_effect,
            seed=seed,
        )
        return Asked(
            criterion=self.criterion,
            threshold=self.threshold,
            continuous=self.score == "continuous",
            pool=self.pool,
            stratify=self.stratify,
            split=split,
            surface=self.surface == "on",
            memory=self.memory,
            seed=seed,
            settings=settings,
            fdr=self.fdr,
        )


@dataclass(frozen=True)
class Asked:
    """Choices that concern rows and streaming, and the settings of the protocol."""

    criterion: str
    threshold: float
    continuous: bool
    pool: RowPool | None
    stratify: str | None
    split: Split | None
    surface: bool
    memory: int
    seed: int
    settings: Settings
    fdr: Literal["bh", "by"]

    rows: int = 0
    """Of the study; they take a part of `memory` themselves."""

    @property
    def block(self) -> int:
        """Bytes for a range of features."""
        return max(1, int(max(self.memory - self.rows * ROW_BYTES, self.memory // 4) * MEMORY_SHARE))
