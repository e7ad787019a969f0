"""Small dictionaries and planted data for the tests of this folder."""

import torch

from radiograph.dictionaries import Dictionary, Metadata, activation

CONSTANTS = {
    "topk": ("k",),
    "groupmax": ("k",),
    "abstopk": ("k",),
    "pursuit": ("residual_threshold", "max_iterations"),
}


def random_dictionary(
    name="topk", *, size=48, width=12, target_width=None, k=6, seed=0, dtype=torch.float32, unit=True, **fields
):
    """A dictionary with random tensors of every kind that its activation needs."""
    g = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=g, dtype=dtype)

    target_width = target_width or width
    decoder = normal(size, target_width)
    parameters = {"threshold": torch.rand(size, generator=g, dtype=dtype)} if name == "jumprelu" else {}
    if name == "gated":
        parameters = {n: normal(size) * 0.3 for n in ("gate_bias", "magnitude_bias", "magnitude_log_scale")}
    constants = {"k": k, "residual_threshold": 0.3, "max_iterations": 7}
    return Dictionary(
        encoder=normal(size, width),
        decoder=decoder / decoder.norm(dim=1, keepdim=True) if unit else decoder,
        encoder_bias=torch.zeros(size, dtype=dtype) if name == "gated" else normal(size) * 0.1,
        input_bias=normal(width),
        decoder_bias=normal(target_width),
        activation=activation(name, {c: constants[c] for c in CONSTANTS.get(name, ())}),
        sites=fields.pop("sites", ("resid_post.1",)),
        parameters=parameters,
        metadata=fields.pop("metadata", Metadata()),
        **fields,
    )


def planted(n_rows, *, active=5, directions=128, width=64, noise=0.01, seed=0):
    """Rows that are sums of `active` random unit directions with coefficients U(1, 2), and the directions."""
    g = torch.Generator().manual_seed(seed)
    truth = torch.randn(directions, width, generator=g)
    truth /= truth.norm(dim=1, keepdim=True)
    chosen = torch.rand(n_rows, directions, generator=g).topk(active, dim=1).indices
    weights = 1 + torch.rand(n_rows, active, generator=g)
    rows = torch.nn.functional.embedding_bag(chosen, truth, per_sample_weights=weights, mode="sum")
    return rows + noise * torch.randn(n_rows, width, generator=g), truth
