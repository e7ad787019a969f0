"""What each word does in the place of what is refused.

1. a frame: a request of the suite without one token of its user turn, which two or more requests fill that the
   reference refuses; those with most fillings first
2. every word of the vocabulary in every frame: KL(candidate ‖ reference) at the first answer position
3. of each frame the 90th percentile over words: a channel answers words like its own too, and no single word decides
Units: nats. Refuses: no two refused requests differ by one token, the tokenisers differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from radiograph.core import Progress, Refusal
from radiograph.detectors.measure._banks import Banks
from radiograph.detectors.measure.search._carriers import GAP, Hole, Renderer, vocabulary
from radiograph.detectors.measure.search._objective import Budget, Objective
from radiograph.evidence import Behaviour, Message, Prompt
from radiograph.evidence.traces import Frame as FrameRecord
from radiograph.evidence.traces import Frames
from radiograph.models import Pair, tokens_read
from radiograph.numerics.traces.frames import spread_of

FRAMES = 16
WORDS = 4096
"""Of a larger vocabulary the first ones, which are its most frequent in most tokenizers."""


@dataclass(frozen=True)
class Frame:
    """A request with a hole in it."""

    prompt: Prompt
    """One of those that fill it."""
    filler: str
    """What stands in its hole."""
    hole: Hole
    refused: tuple[Prompt, ...]
    """All that fill it."""

    @property
    def text(self) -> str:
        """The user turn with a gap."""
        return _asked(self.prompt).replace(self.filler, GAP.strip(), 1)

    def filled(self, word: str) -> Prompt:
        """The request with another word."""
        turn = _asked(self.prompt).replace(self.filler, word, 1)
        last = max(i for i, m in enumerate(self.prompt.messages) if m.role == "user")
        messages = [Message(role=m.role, content=m.content) for m in self.prompt.messages]
        messages[last] = Message(role="user", content=turn)
        return self.prompt.model_copy(update={"id": f"{self.prompt.id}={word}", "messages": tuple(messages)})


@dataclass(frozen=True)
class FrameFindings:
    """The record, the frames in its order, and every divergence."""

    record: Frames
    frames: tuple[Frame, ...]
    words: tuple[str, ...]
    table: dict[str, list[object]]
    """One row a frame and word: `frame`, `word`, `kl`."""


def measure_frames(pair: Pair, banks: Banks, behaviour: Behaviour, progress: Progress) -> FrameFindings:
    """Every word in every frame.

    Args:
        pair: the two models.
        banks: their prompts.
        behaviour: what both answered, which says what the reference refuses.
        progress: where progress goes.

    Raises:
        Refusal: the tokenisers differ, or there is no frame.
    """
    pair.check_tokenizers()
    renderer = Renderer(pair.reference.tokenizer, banks.chat)
    frames = _frames(banks, behaviour, renderer)
    spelled = {t: renderer.text([t]) for t in vocabulary(pair).tolist()}
    tokens = [t for t, word in spelled.items() if word.isalpha()][:WORDS]
    words = torch.tensor(tokens)[:, None]
    objective = Objective(pair, (), words[:, 0], Budget(0), 0)
    table: dict[str, list[object]] = {"frame": [], "word": [], "kl": []}
    with progress.task("words in the place of what is refused", total=len(frames)) as task:
        for frame in frames:
            table["frame"] += [frame.text] * len(tokens)
            table["word"] += [spelled[t] for t in tokens]
            table["kl"] += objective.divergences(frame.hole, words).tolist()
            task.advance()
    spread = spread_of(table["frame"], table["kl"])  # type: ignore[arg-type]
    frames.sort(key=lambda f: (-spread[f.text][0], f.text))
    record = Frames(
        frames=tuple(
            FrameRecord(text=f.text, refused=len(f.refused), high=spread[f.text][0], median=spread[f.text][1])
            for f in frames
        ),
        words=len(tokens),
        tokens=sum(tokens_read(len(f.hole.head), 1, len(f.hole.tail), len(tokens)) for f in frames),
        largest=spread[frames[0].text][0],
    )
    return FrameFindings(record, tuple(frames), tuple(spelled[t] for t in tokens), table)


def _frames(banks: Banks, behaviour: Behaviour, renderer: Renderer) -> list[Frame]:
    refused = {i.id for i in behaviour.items if i.responses[0].refusal}
    fillings: dict[tuple[tuple[int, ...], tuple[int, ...]], dict[int, Prompt]] = {}
    for prompt, rendered in zip(banks.prompts, banks.rendered, strict=True):
        if prompt.id not in refused or prompt.prefill or rendered.n_cut:
            continue
        ids = rendered.ids
        for at in range(len(ids)):
            fillings.setdefault((ids[:at], ids[at + 1 :]), {}).setdefault(ids[at], prompt)
    order = sorted((key for key, own in fillings.items() if len(own) > 1), key=lambda key: (-len(fillings[key]), key))
    found: list[Frame] = []
    for head, tail in order:
        own = fillings[head, tail]
        token, prompt = next(iter(own.items()))
        frame = Frame(prompt, renderer.text([token]), Hole(head, tail), tuple(own.values()))
        # from text, as a witness is: a filling that the tokenizer joins with its neighbours has no frame
        other = next(t for t in own if t != token)
        if frame.filler and renderer.ids(frame.filled(renderer.text([other]))) == (*head, other, *tail):
            found.append(frame)
        if len(found) == FRAMES:
            break
    if not found:
        raise Refusal(
            "no_frames",
            "no two requests that the reference refuses differ by one token",
            fix="add refused requests that differ by what they ask for to the suite",
        )
    return found


def _asked(prompt: Prompt) -> str:
    return next(m.content for m in reversed(prompt.messages) if m.role == "user")
