"""How each token's loss changes along a direction of the weights: one forward-mode derivative, all tokens at once.

With h the direction of an influence score, −dℓ_t along h sums over the tokens of a row to the row's score, so that the
tokens say where in the row it comes from. Costs about three forwards a batch; attention runs unfused, since the fused
kernels have no forward-mode derivative.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.func import functional_call, jvp
from torch.nn.attention import SDPBackend, sdpa_kernel

from radiograph.core.shapes import Float
from radiograph.models._batching import Batch
from radiograph.models._model import LanguageModel


def loss_derivatives(
    model: LanguageModel, batch: Batch, directions: Mapping[str, Tensor]
) -> Float[Tensor, "row token"]:
    """dℓ_t along a direction, in nats a unit of it; 0 at the first token. `directions`: by name of parameter.

    Args:
        model: its parameters move, in thought.
        batch: rows, padded on the right.
        directions: name in the network to a tensor of that parameter's shape.
    """
    batch = batch.to(model.device)
    own = {name: p for name, p in model.model.named_parameters() if name in directions}
    assert own.keys() == directions.keys(), "parameters of the network"
    start = {name: p.detach() for name, p in own.items()}
    along = {name: directions[name].to(p.device, p.dtype).reshape(p.shape) for name, p in own.items()}
    inputs = batch.inputs()

    def losses(parameters: dict[str, Tensor]) -> Tensor:
        out = functional_call(model.model, parameters, kwargs={**inputs, "use_cache": False}).logits[:, :-1].float()
        return torch.nn.functional.cross_entropy(out.transpose(1, 2), batch.ids[:, 1:], reduction="none")

    with model.session(), sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        moved: Tensor = jvp(losses, (start,), (along,))[1]
    return torch.nn.functional.pad(moved.detach(), (1, 0))
