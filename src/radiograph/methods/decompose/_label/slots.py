"""What fills the prompt of each phase."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from radiograph.methods.decompose._label import shown as look
from radiograph.methods.decompose._label.writers import Shown, Slots
from radiograph.store.components import ComponentStatistics


@dataclass(frozen=True, eq=False)
class Slotted:
    """A harvest, and how much of it is shown."""

    given: ComponentStatistics
    about: str
    seed: int
    most: int

    def plain(self, number: int) -> Callable[[], tuple[Slots, Shown]]:
        """Of `compact` and `dual`."""

        def show() -> tuple[Slots, Shown]:
            found = self.given.evidence(number)
            texts = (self.given, found.examples, self.seed, self.most)
            return {
                **look.common(self.given, found, self.about),
                "inputs": look.inputs(self.given, found.inputs),
                "outputs": look.outputs(self.given, found.outputs),
                "examples": look.examples(*texts),
                "shifted": look.examples(*texts, shift=1),
            }, ()

        return show

    def output(self, number: int, edges: Shown) -> Slots:
        """Of the output pass."""
        found = self.given.evidence(number)
        return {
            **look.common(self.given, found, self.about),
            "outputs": look.outputs(self.given, found.outputs),
            "related": look.related(edges),
            "shifted": look.examples(self.given, found.examples, self.seed, self.most, shift=1),
        }

    def input(self, number: int, edges: Shown) -> Slots:
        """Of the input pass."""
        found = self.given.evidence(number)
        return {
            **look.common(self.given, found, self.about),
            "inputs": look.inputs(self.given, found.inputs),
            "related": look.related(edges),
            "together": look.together(self.given, number),
            "examples": look.examples(self.given, found.examples, self.seed, self.most),
        }

    def unify(self, number: int, inputs: str, outputs: str) -> Slots:
        """Of the last phase."""
        found = self.given.evidence(number)
        return {
            **look.common(self.given, found, self.about),
            "input": inputs,
            "output": outputs,
            "examples": look.examples(self.given, found.examples, self.seed, self.most),
        }
