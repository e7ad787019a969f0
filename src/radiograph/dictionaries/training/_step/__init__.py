"""Loss and gradients of one batch, without a dense decoder product.

    u = x − c    π = u Eᵀ + b    z = σ(π)    ŷ = z D + g + S x    e = y − ŷ

1. Rows go in chunks whose pre-activations fit one reused buffer: a GEMM, then the few entries that count (`_select`):
   exact top-k; everything positive; everything above θ minus half a kernel. `batchtopk` selects once, over all chunks.
2. ŷ by gather-sum of decoder rows, per prefix where there are several: an entry is gathered once, sums over segments
   are added up. R and its gradient with respect to ŷ.
3. dz by products with the gathered decoder rows alone; from it dπ and gradients of thresholds and gates (`_rules`).
4. Auxiliary loss of the topk family (Gao et al. 2024), `_auxiliary`.
5. dD = Zᵀ de and dE = dΠᵀ u as products of sparse codes sorted by feature; dc = −(Σ_rows dπ) E.
Neither [batch, F] nor [batch · k, d] is ever allocated. Where more than F/16 features count on a row, a chunk of relu,
jumprelu or gated goes through dense products of the chunk (`_dense`).
"""

from radiograph.dictionaries.training._step._batch import Step, step
from radiograph.dictionaries.training._step._buffers import Buffers

__all__ = ["Buffers", "Step", "step"]
