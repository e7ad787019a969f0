"""The definition of every loss, densely, in float64, for autograd: the second and slower way."""

import torch


class Kernel(torch.autograd.Function):
    """JumpReLU with the rectangle kernel: z = π·[s > θ], s = π·w. Constant pseudo-gradient to θ inside the window."""

    @staticmethod
    def forward(ctx, pre, theta, weight, epsilon):
        score = pre * weight
        ctx.save_for_backward(score, theta, weight)
        ctx.epsilon = epsilon
        return pre * (score > theta)

    @staticmethod
    def backward(ctx, grad):
        score, theta, weight = ctx.saved_tensors
        window = (score - theta).abs() < ctx.epsilon / 2
        return grad * (score > theta), -(grad * window * theta / (ctx.epsilon * weight)).sum(0), None, None


class Count(torch.autograd.Function):
    """Σ [s > θ] with −K/ε to θ and nothing to s."""

    @staticmethod
    def forward(ctx, score, theta, epsilon):
        ctx.save_for_backward(score, theta)
        ctx.epsilon = epsilon
        return (score > theta).double().sum()

    @staticmethod
    def backward(ctx, grad):
        score, theta = ctx.saved_tensors
        window = (score - theta).abs() < ctx.epsilon / 2
        return None, -grad * window.double().sum(0) / ctx.epsilon, None


def keep(pre, score, k):
    """The k largest scores of each row, positive ones only."""
    best = score.topk(k, dim=1).indices
    return pre.clamp_min(0) * torch.zeros_like(pre).scatter(1, best, 1.0)


def batch_keep(pre, score, k):
    best = score.flatten().topk(k * len(pre)).indices
    return pre.clamp_min(0) * torch.zeros(pre.numel(), dtype=pre.dtype).scatter(0, best, 1.0).view_as(pre)


def losses(inputs, targets, w, o, dead):
    """(terms by name, codes)."""
    columns = o.column_weights.double()
    norms = torch.stack([part.norm(dim=1) for part in w.decoder.split(o.widths, dim=1)], 1)
    variances = torch.stack([1 / (len(o.widths) * part[0]) for part in columns.split(o.widths)])
    length = (norms / variances.sqrt()).mean(1)
    pre = (inputs - w.input_bias) @ w.encoder.T + w.encoder_bias
    scale = norms.mean(1).detach() if o.selection == "decoder_norm" else torch.ones_like(norms[:, 0])
    p, nothing = w.parameters, torch.zeros((), dtype=torch.float64)
    terms = dict.fromkeys(("reconstruction", "sparsity", "auxiliary", "gate"), nothing)
    rest = w.decoder_bias + (inputs @ w.skip.T if w.skip is not None else 0)

    def r(z, decoder, rest):
        ends = o.prefixes or (len(decoder),)
        errors = [targets - rest - z[:, :end] @ decoder[:end] for end in ends]
        return sum((e.square() @ columns).mean() for e in errors) / len(ends), errors[-1]

    if o.activation == "relu":
        z = pre.clamp_min(0)
        terms["sparsity"] = o.sparsity * (z @ length).mean()
    elif o.activation == "topk":
        z = keep(pre, pre * scale, o.k)
    elif o.activation == "batchtopk":
        z = batch_keep(pre, pre * scale, o.k)
    elif o.activation == "jumprelu":
        z = Kernel.apply(pre, p["threshold"], scale, o.epsilon)
        l0 = Count.apply(pre.detach() * scale, p["threshold"], o.epsilon) / len(pre)
        terms["sparsity"] = o.sparsity * (l0 / o.target_l0 - 1) ** 2
    else:
        gate = (pre + p["gate_bias"]).clamp_min(0)
        z = (pre * p["magnitude_log_scale"].exp() + p["magnitude_bias"]).clamp_min(0) * (gate > 0)
        terms["sparsity"] = o.sparsity * (gate @ length).mean()
        terms["gate"] = r(gate, w.decoder.detach(), rest.detach())[0]
    terms["reconstruction"], error = r(z, w.decoder, rest)
    if len(dead) and o.activation in ("topk", "batchtopk"):
        half = max(1, targets.shape[1] // 2)
        e = error.detach()
        silent = keep(pre[:, dead], (pre * scale)[:, dead], min(half, len(dead)))
        ratio = ((e - silent @ w.decoder[dead]).square() @ columns).sum() / ((e - e.mean(0)).square() @ columns).sum()
        terms["auxiliary"] = o.auxiliary * min(len(dead) / half, 1.0) * ratio
    return terms, z
