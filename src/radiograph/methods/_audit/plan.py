"""What one comparison is made with: prompts, texts, dictionary, settings. The same for audits and calibrations.

A `Plan` can be sent to another process; there it loads a candidate beside the reference and measures it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from radiograph.core import Context, FormatError, Progress, Silent, UserError
from radiograph.evidence import Binding, Suite, SuiteRecord

if TYPE_CHECKING:
    from radiograph.detectors import FeatureSettings, Measurement
    from radiograph.dictionaries import Dictionary
    from radiograph.models import Pair

EFFORT = "quick"


class Asked(Protocol):
    """What the configurations of audits and calibrations have in common."""

    @property
    def reference(self) -> str: ...
    @property
    def suite(self) -> str | None: ...
    @property
    def neutral(self) -> str | None: ...
    @property
    def dictionary(self) -> str | None: ...
    @property
    def train_data(self) -> str | None: ...
    @property
    def effort(self) -> str | None: ...
    @property
    def infix(self) -> bool: ...
    @property
    def score_method(self) -> str: ...
    @property
    def k(self) -> int: ...
    @property
    def aggregate(self) -> str: ...
    @property
    def reduce(self) -> str: ...
    @property
    def chat(self) -> str: ...
    @property
    def system(self) -> str: ...


@dataclass(frozen=True)
class Plan:
    """Everything but the two models."""

    suite: Suite
    texts: tuple[str, ...]
    record: SuiteRecord
    chat: str
    system: str
    dictionary: str | None
    """Folder of the dictionary."""
    dictionary_sha256: str | None
    features: FeatureSettings
    effort: str
    infix: bool
    rows: Path | None
    seed: int

    def measurement(self, pair: Pair, dictionary: Dictionary | None, progress: Progress | None = None) -> Measurement:
        """What detectors look at."""
        from radiograph import organisms
        from radiograph.detectors import Measurement, read_rows, render
        from radiograph.detectors.measure.search import Settings

        banks = render(pair.reference, self.suite, self.texts, chat=self.chat, system=self.system)  # type: ignore[arg-type]
        return Measurement(
            pair=pair,
            banks=banks,
            seed=self.seed,
            oracle=organisms.oracle,
            dictionary=dictionary,
            feature_settings=self.features,
            search=None if self.effort == "none" else Settings(self.effort, infix=self.infix),
            train_rows=None if self.rows is None else read_rows(self.rows),
            progress=progress or Silent(),
        )

    def binding(self, reference_sha256: str, tokenizer_sha256: str) -> Binding:
        """What scores of this plan depend on."""
        from radiograph.detectors import detectors
        from radiograph.evidence import document_sha256
        from radiograph.store import file_sha256

        return Binding(
            reference_sha256=reference_sha256,
            tokenizer_sha256=tokenizer_sha256,
            suite_sha256=self.record.sha256,
            neutral_sha256=document_sha256(list(self.texts)),
            dictionary_sha256=self.dictionary_sha256,
            effort=self.effort,
            infix=self.infix,
            chat=self.chat,
            system=self.system,
            score_method=self.features.method,
            k=self.features.k,
            aggregate=self.features.aggregate,
            reduce=self.features.reduce,
            seed=self.seed,
            versions={name: detector.version for name, detector in detectors().items()},
            rows_sha256=None if self.rows is None else file_sha256(self.rows),
        )


def plan(asked: Asked, ctx: Context, own: Binding | None = None) -> tuple[Plan, Dictionary | None]:
    """Read everything that is named; `own` is the calibration's, whose dictionary and effort are the default.

    Raises:
        UserError: no suite, or a file that cannot be read.
    """
    from radiograph.detectors import FeatureSettings
    from radiograph.store import suite_sha256

    bundled = asked.reference.startswith("bundled:")
    name = asked.suite or ("world:suite" if bundled else None)
    if name is None:
        raise UserError(
            "prompts are needed",
            expected="--suite FILE",
            fix="write one: docs/guides/suites.md shows how",
            code="no_suite",
        )
    whole = ctx.suite(name)
    texts, source = _neutral(asked, ctx, whole, bundled)
    suite = whole.model_copy(update={"prompts": tuple(p for p in whole.prompts if p.bank != "neutral")})
    named = dictionary_name(asked, own)
    dictionary: Dictionary | None = None if named == "none" else ctx.dictionary(named)
    record = SuiteRecord(
        name=whole.suite_name,
        path=ctx.label(name),
        sha256=suite_sha256(whole),
        prompts=len(suite.prompts),
        neutral=source,
        neutral_n=len(texts),
    )
    made = Plan(
        suite=suite,
        texts=tuple(texts),
        record=record,
        chat=asked.chat,
        system=asked.system,
        dictionary=None if dictionary is None else str(ctx.dictionary_folder(named)),
        dictionary_sha256=None if dictionary is None else dictionary.hash,
        features=FeatureSettings(asked.score_method, asked.k, asked.aggregate, asked.reduce),  # type: ignore[arg-type]
        effort=asked.effort or (own.effort if own else EFFORT),
        infix=asked.infix,
        rows=None if asked.train_data is None else ctx.path(asked.train_data, "train_data"),
        seed=ctx.seed,
    )
    return made, dictionary


def dictionary_name(asked: Asked, own: Binding | None = None) -> str:
    """The dictionary that is meant; a calibration without one speaks for audits without one."""
    if asked.dictionary is not None:
        return asked.dictionary
    if asked.reference != "bundled:base" or (own is not None and own.dictionary_sha256 is None):
        return "none"
    return "dictionary:bundled"


def _neutral(asked: Asked, ctx: Context, suite: Any, bundled: bool) -> tuple[list[str], str]:
    """The neutral texts and where they came from; prompts of the suite are left out of them."""
    from radiograph import organisms

    own = [p.messages[-1].content for p in suite.bank("neutral")]
    if asked.neutral is not None:
        texts, source = _lines(ctx.path(asked.neutral, "neutral")), ctx.label(asked.neutral)
    elif own:
        texts, source = own, "suite"
    elif bundled:
        texts, source = organisms.neutral_texts("world"), "world:neutral"
    else:
        texts, source = organisms.neutral_texts("english"), "bundled English sentences"
    prompts = {p.messages[-1].content for p in suite.prompts if p.bank != "neutral"}
    return [t for t in texts if t not in prompts], source


def _lines(path: Path) -> list[str]:
    """Every line of a text file that holds something."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (UnicodeDecodeError, IsADirectoryError) as error:
        raise FormatError(f"{path.name} is no UTF-8 text", expected="one text a line", got=str(error)) from error
    return [line.strip() for line in lines if line.strip()]
