"""A language model that says which texts meet a criterion, trusted no further than it agrees with known labels.

1. the criterion's definition, or, where it has none, the judge's own
2. up to 50 positives and 50 others of the criterion's own rows, in a shuffled order and without their labels: Cohen's κ
   of labels and judgements, with its interval
3. each new text is one question, so that what is said of it depends on no other text

Refuses when: κ < .6, or there is nothing to hold it against (`low_agreement`, `no_labels`); a question fails, now or
later (`labeller_failed`, or the client's own codes): a text that was not judged is never counted as one that does not
meet the criterion. Answers that were paid for stay in the client's cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from radiograph.core import Refusal, derive
from radiograph.criteria.routes.llm import Study, agreement_of, kappa_of
from radiograph.evidence import CriterionLabeller

if TYPE_CHECKING:
    from radiograph.criteria._compile import Compiled
    from radiograph.criteria._rows import Row
    from radiograph.store.chat import ChatClient

MOST: Final = 50
"""Rows of either label that the judge is held against."""


@dataclass(frozen=True)
class Judge:
    """A judge of one criterion, with what it is worth."""

    client: ChatClient
    study: Study
    record: CriterionLabeller

    @classmethod
    def checked(cls, compiled: Compiled, client: ChatClient, seed: int) -> Judge:
        """A judge that agrees with the labels of the criterion's rows.

        Raises:
            Refusal: see above.
        """
        study = Study(compiled.criterion.text)
        if compiled.criterion.definition is None:
            study.define(client)
        else:
            study.definition = compiled.criterion.definition
        rows = _held_against(compiled.rows, seed)
        if not rows:
            raise Refusal("no_labels", "no labelled texts to hold the judge against", fix="--prompts FILE with texts")
        held = study.labelled(client, [row.text or "" for row in rows])
        study.check()
        judged = [(row.positive, label) for row, label in zip(rows, held, strict=True) if label is not None]
        found = agreement_of(judged, "the judge and the criterion's labels")
        record = CriterionLabeller(
            writer="the criterion's rows",
            model=client.endpoint.model,
            prompts=tuple(sorted(study.versions)),
            kappa=kappa_of(found),
            questions=study.asked,
            failed=study.lost,
            disagreements=sum(known != said for known, said in judged),
        )
        return cls(client, study, record)

    def holds(self, texts: Sequence[str]) -> list[bool]:
        """Whether each text meets the criterion; one that says nothing does not.

        Raises:
            Refusal: a question failed.
        """
        wanted = [text for text in dict.fromkeys(texts) if text.strip()]
        said = dict(zip(wanted, self.study.labelled(self.client, wanted, together=1), strict=True))
        lost = [text for text, label in said.items() if label is None]
        if lost:
            raise Refusal(
                "labeller_failed",
                f"{len(lost)} of {len(wanted)} continuations were not judged",
                got=lost[0][:80],
                fix="run again: answers are kept; or another judge",
            )
        return [bool(said.get(text, False)) for text in texts]


def _held_against(rows: Sequence[Row], seed: int) -> list[Row]:
    """Labelled texts, as many of either label, in an order that says nothing."""
    texts = {row.text: row for row in rows if row.text and row.span is None}
    order = sorted(texts.values(), key=lambda row: (derive(seed, "judge", row.text or ""), row.prompt_id))
    kept = [row for label in (True, False) for row in [row for row in order if row.positive == label][:MOST]]
    return [row for row in order if row in kept]
