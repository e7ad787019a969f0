"""The tensors that training moves, and those of their gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from torch import Tensor

from radiograph.core.shapes import Float


@dataclass(slots=True, eq=False)
class Weights:
    """Encoder, decoder, biases, as in `Dictionary`; `decoder_bias is input_bias` where both are one (autoencoder)."""

    encoder: Float[Tensor, "feature width"]
    decoder: Float[Tensor, "feature target"]
    encoder_bias: Float[Tensor, " feature"]
    input_bias: Float[Tensor, " width"]
    decoder_bias: Float[Tensor, " target"]
    skip: Float[Tensor, "target width"] | None = None
    parameters: dict[str, Float[Tensor, " feature"]] = field(default_factory=dict)
    """Of the activation: `threshold`; `gate_bias`, `magnitude_bias`, `magnitude_log_scale`."""

    @property
    def tied(self) -> bool:
        """Whether input and decoder bias are one tensor."""
        return self.decoder_bias is self.input_bias

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Every tensor once, by its name in a dictionary file; a tied decoder bias is left out."""
        found = {"encoder": self.encoder, "decoder": self.decoder, "encoder_bias": self.encoder_bias}
        found["input_bias"] = self.input_bias
        if not self.tied:
            found["decoder_bias"] = self.decoder_bias
        if self.skip is not None:
            found["skip"] = self.skip
        return found | self.parameters

    def map(self, change: Callable[[Tensor], Tensor]) -> Weights:
        """The same with every tensor changed; what was tied stays tied."""
        input_bias = change(self.input_bias)
        return Weights(
            change(self.encoder),
            change(self.decoder),
            change(self.encoder_bias),
            input_bias,
            input_bias if self.tied else change(self.decoder_bias),
            None if self.skip is None else change(self.skip),
            {name: change(tensor) for name, tensor in self.parameters.items()},
        )
