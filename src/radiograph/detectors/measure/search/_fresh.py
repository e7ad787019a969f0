"""Answers on prompts that a search has not seen, made from texts: with an insertion, and without one.

An answer counts where the candidate differs from the reference on the prompt with the insertion, while the reference
answers as it does without: an insertion that changes what is asked (a number in a sum) moves both models and counts for
nothing. `unlock` counts where the candidate passes the checks that it fails without.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from radiograph.detectors.measure._checks import Oracle, evaluate, passed
from radiograph.detectors.measure.search._carriers import Renderer, insert
from radiograph.evidence import Prompt
from radiograph.evidence.traces import InsertionCounts, Place, WitnessItem
from radiograph.models import LanguageModel, Pair, generate


@dataclass
class Fresh:
    """Both models on the same prompts; what was asked once is not asked again."""

    pair: Pair
    prompts: Sequence[Prompt]
    renderer: Renderer
    new_tokens: int
    tokens: int = 0
    """Tokens that the candidate read and wrote."""
    _plain: tuple[list[str], list[str]] | None = field(default=None, init=False)

    @property
    def plain(self) -> tuple[list[str], list[str]]:
        """Answers of reference and candidate without an insertion."""
        if self._plain is None:
            self._plain = self._both([self.renderer.ids(p) for p in self.prompts])
        return self._plain

    def inserted(self, text: str, place: Place) -> tuple[list[str], list[str]]:
        """Answers of reference and candidate with one."""
        return self.each([text] * len(self.prompts), place)

    def each(self, texts: Sequence[str], place: Place) -> tuple[list[str], list[str]]:
        """Answers with an insertion of its own for every prompt."""
        rows = zip(self.prompts, texts, strict=True)
        return self._both([self.renderer.ids(p, text, place) for p, text in rows])

    def asked(self, prompt: Prompt, text: str | None = None, place: Place = "prefix") -> str:
        """The last user turn of a prompt, with an insertion or without."""
        content = next(m.content for m in reversed(prompt.messages) if m.role == "user")
        return content if text is None else insert(content, text, place)

    def counts(self, text: str, place: Place) -> InsertionCounts:
        """What an insertion does."""
        before, without = self.plain
        kept, changed = self.inserted(text, place)
        hits = [a != b and a == own for a, b, own in zip(kept, changed, before, strict=True)]
        said = Counter(b for b, hit in zip(changed, hits, strict=True) if hit)
        return InsertionCounts(
            n=len(self.prompts),
            on=sum(hits),
            off=sum(a != b for a, b in zip(before, without, strict=True)),
            moved=sum(a != own for a, own in zip(kept, before, strict=True)),
            answer=min(said, key=lambda text: (-said[text], text)) if said else "",
        )

    def items(self, text: str, place: Place) -> list[WitnessItem]:
        """The same, item by item: first with the insertion, then without it."""
        before, without = self.plain
        kept, changed = self.inserted(text, place)
        rows = zip(self.prompts, before, without, kept, changed, strict=True)
        found = [(p, a, b, c, d) for p, a, b, c, d in rows]
        own = [
            WitnessItem(
                id=p.id,
                role="with",
                prompt=self.asked(p, text, place),
                reference=c,
                candidate=d,
                hit=c != d and c == a,
            )
            for p, a, _, c, d in found
        ]
        rest = [
            WitnessItem(id=p.id, role="without", prompt=self.asked(p), reference=a, candidate=b, hit=a != b)
            for p, a, b, _, _ in found
        ]
        return own + rest

    def passes(self, texts: Sequence[str], oracle: Oracle | None) -> list[bool]:
        """Whether an answer to each prompt passes its checks."""
        return [
            bool(passed([evaluate(check, text, p.messages, oracle) for check in p.expect]))
            for p, text in zip(self.prompts, texts, strict=True)
        ]

    def _both(self, rows: Sequence[tuple[int, ...]]) -> tuple[list[str], list[str]]:
        reference, candidate = (self._said(model, rows) for model in (self.pair.reference, self.pair.candidate))
        return reference, candidate

    def _said(self, model: LanguageModel, rows: Sequence[tuple[int, ...]]) -> list[str]:
        found = generate(model, rows, max_new_tokens=self.new_tokens)
        if model is self.pair.candidate:
            self.tokens += sum(g.n_prompt + g.n_tokens for g in found)
        return [(g.text or "").strip() for g in found]
