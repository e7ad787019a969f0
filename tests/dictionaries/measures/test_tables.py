"""Tables of a pass: every metric by a second, slower way; batches change nothing; intervals cover; bands add up."""

import numpy as np
import pytest
import torch

from dictionaries.make import random_dictionary
from radiograph.core import Refusal, UserError
from radiograph.dictionaries import measure, principal_control, random_control
from radiograph.dictionaries.measures import Block, survey, tabulate
from radiograph.numerics.dictionaries.units import deal, draws

WIDTH = 12
SOURCES = ("reference/resid_post.1", "candidate/resid_post.1")


def rows(n=900, width=WIDTH, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=g) * torch.linspace(0.3, 2, width) + 3


def blocks(inputs, targets=None, *, batch=200, groups=None, positions=None):
    targets = inputs if targets is None else targets
    groups = np.arange(len(inputs)) // 10 if groups is None else groups
    units, _, _ = deal(groups, 48)
    positions = np.arange(len(inputs)) % 40 if positions is None else positions

    def passes():
        for start in range(0, len(inputs), batch):
            part = slice(start, start + batch)
            same = targets is inputs
            x = inputs[part]
            yield Block(x, x if same else targets[part], units[part], positions[part])

    return passes


def tables(d, made):
    seen = survey(d, made)
    return tabulate(d, made, seen, draws(seen.units, seed=0))


@pytest.mark.parametrize("batch", [1, 7, 4096])
@pytest.mark.parametrize("name", ["topk", "jumprelu", "gated"])
def test_metrics_are_those_of_the_sums_over_the_whole_set_for_any_batch(name, batch):
    """Fault 2: an average of per-batch ratios would depend on the batch, and is another metric."""
    d, x = random_dictionary(name, dtype=torch.float64), rows(300).double()
    found, slow = tables(d, blocks(x, batch=batch)), measure(d, [x])
    for metric in ("fvu", "explained_variance", "ev_centred", "nmse", "cosine", "norm_ratio", "shrinkage"):
        wanted = getattr(slow.reconstruction, metric)
        assert found.number(metric) == (None if wanted is None else pytest.approx(wanted, rel=1e-9)), metric
    for metric in ("l0", "l0_median", "l0_95", "l1", "dead", "dense"):
        assert found.number(metric) == pytest.approx(getattr(slow.codes, metric), rel=1e-9), metric
    y, e = x.double(), (x - d.reconstruct(x)).double()
    share = e.square().sum(1) / (y - y.mean(0)).square().sum(1)
    assert found.number("ev_per_token") == pytest.approx(float(1 - share.mean()))
    assert np.array_equal(found.histogram, slow.codes.histogram)


def test_density_dead_and_l0_count_the_rows_given_and_no_others():
    """Fault 15: what is left out (padding, specials) is left out of every denominator."""
    d, x = random_dictionary("jumprelu"), rows(400)
    z = d.encode_dense(x)
    found = tables(d, blocks(x))
    assert found.density == pytest.approx(((z != 0).sum(0) / 400).numpy())
    assert found.number("l0") * 400 == pytest.approx(float((z != 0).sum()))
    assert found.number("l1") == pytest.approx(float(z.abs().sum() / 400), rel=1e-6)
    more = tables(d, blocks(torch.cat([x, x[:1].expand(100, -1)])))
    assert more.number("l0") != found.number("l0")


def test_intervals_cover_the_value_and_shrink_with_groups():
    d = random_dictionary("jumprelu")
    wide, narrow = tables(d, blocks(rows(200))), tables(d, blocks(rows(3200)))
    for metric, found in narrow.values.items():
        assert found.interval.low <= found.value <= found.interval.high, metric
    width = [t.values["fvu"].interval.high - t.values["fvu"].interval.low for t in (wide, narrow)]
    assert width[1] < 0.5 * width[0]


def test_rows_of_one_group_are_one_unit():
    d, x = random_dictionary("jumprelu"), rows(60)
    many = torch.cat([x] * 10)
    groups = np.tile(np.arange(60), 10)
    by_group = tables(d, blocks(many, groups=groups)).values["fvu"].interval
    by_row = tables(d, blocks(many, groups=np.arange(600))).values["fvu"].interval
    assert by_group.high - by_group.low > 2 * (by_row.high - by_row.low)
    alone = tables(d, blocks(x, groups=np.zeros(60, dtype=int)))
    assert alone.values["fvu"].interval is None


def test_bands_are_the_fvu_of_their_own_rows():
    d, x = random_dictionary("topk"), rows(900)
    positions = np.arange(900) % 40
    found = tables(d, blocks(x, positions=positions))
    e, spread = (x - d.reconstruct(x)).double().square().sum(1), (x - x.double().mean(0)).double().square().sum(1)
    ((_, bands),) = found.by_position.items()
    assert [(b.low, b.high) for b in bands][:4] == [(0, 1), (1, 2), (2, 4), (4, 8)]
    for band in bands:
        mine = (positions >= band.low) & (positions < band.high)
        assert band.n == mine.sum()
        assert band.fvu.value == pytest.approx(float(e[mine].sum() / spread[mine].sum()))
    ((_, bands),) = found.by_norm.items()
    assert len(bands) == 10 and sum(b.n for b in bands) == 900
    assert max(b.n for b in bands) <= 92
    norms = x.norm(dim=1).numpy()
    mine = norms < bands[0].high
    assert bands[0].fvu.value == pytest.approx(float(e[mine].sum() / spread[mine].sum()))


def test_targets_of_a_crosscoder_count_the_same_whatever_their_scale():
    x = torch.cat([rows(400), 50 * rows(400, seed=1)], 1)
    d = random_dictionary("topk", width=2 * WIDTH, kind="crosscoder", sites=SOURCES)
    found = tables(d, blocks(x))
    assert found.number("fvu") == pytest.approx(np.mean([v["fvu"].value for v in found.sources.values()]))
    assert found.number("fvu") == pytest.approx(measure(d, [x]).quality.fvu)
    assert set(found.sources) == set(SOURCES)
    for source, part in zip(SOURCES, (slice(0, WIDTH), slice(WIDTH, None)), strict=True):
        e = (x - d.reconstruct(x))[:, part].double()
        total = (x[:, part].double() - x[:, part].double().mean(0)).square().sum()
        assert found.sources[source]["fvu"].value == pytest.approx(float(e.square().sum() / total))


def test_a_transcoder_is_measured_on_what_it_writes():
    d = random_dictionary("topk", target_width=7, kind="transcoder", sites=("mlp_in.1",), target="mlp_out.1")
    x, y = rows(300), rows(300, width=7, seed=2)
    found = tables(d, blocks(x, y))
    e = (y - d.reconstruct(x)).double()
    assert found.number("fvu") == pytest.approx(
        float(e.square().sum() / (y.double() - y.double().mean(0)).square().sum())
    )
    assert measure(d, [(x, y)]).quality.fvu == pytest.approx(found.number("fvu"))


def test_what_cannot_be_measured_is_refused():
    d = random_dictionary()
    for x, code in ((rows(0), "no_rows"), (torch.ones(20, WIDTH), "no_variance")):
        with pytest.raises(Refusal) as caught:
            survey(d, blocks(x))
        assert caught.value.code == code
    odd = rows(20)
    odd[3, 4] = float("nan")
    with pytest.raises(UserError, match="not finite"):
        survey(d, blocks(odd))


def principal(d, x, l0):
    seen = survey(d, blocks(x))
    return principal_control(d, [x], mean=seen.mean, spread=seen.spread, n=len(x), l0=l0)


def test_principal_control_keeps_the_largest_projections_of_each_row():
    d, x = random_dictionary(size=48), rows(900)
    made = principal(d, x, l0=2.4)
    centred = (x.double() - x.double().mean(0)).numpy()
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    kept = centred @ directions.T
    smallest = np.argsort(np.abs(kept), axis=1)[:, :-3]
    np.put_along_axis(kept, smallest, 0, axis=1)
    found = measure(made, [x])
    assert (made.size, found.quality.l0) == (WIDTH, 3)
    missed = np.square(centred - kept @ directions).sum() / np.square(centred).sum()
    assert found.quality.fvu == pytest.approx(missed, rel=1e-4)
    assert principal(d, x, l0=100).activation.k == WIDTH
    assert measure(principal(d, x, l0=100), [x]).quality.fvu == pytest.approx(0, abs=1e-9)


def test_principal_control_of_a_crosscoder_gives_no_source_more_than_another():
    x = torch.cat([rows(600), 50 * rows(600, seed=1)], 1)
    d = random_dictionary("topk", width=2 * WIDTH, kind="crosscoder", sites=SOURCES)
    found = tables(principal(d, x, l0=6), blocks(x))
    a, b = (v["fvu"].value for v in found.sources.values())
    assert a == pytest.approx(b, rel=0.2)
    assert tables(random_control(d, x, seed=0), blocks(x)).number("l0") == pytest.approx(
        tables(d, blocks(x)).number("l0"), abs=0.01
    )


def test_principal_control_refuses_what_would_say_nothing():
    d = random_dictionary()
    with pytest.raises(Refusal) as caught:
        principal(d, rows(100), l0=3)
    assert caught.value.code == "few_rows"
    t = random_dictionary("topk", target_width=7, kind="transcoder", sites=("mlp_in.1",), target="mlp_out.1")
    with pytest.raises(Refusal) as caught:
        principal_control(t, [], mean=np.zeros(7), spread=np.ones(7), n=900, l0=3)
    assert caught.value.code == "no_linear_rival"


def test_random_control_of_a_transcoder_needs_what_is_written():
    t = random_dictionary("topk", target_width=7, kind="transcoder", sites=("mlp_in.1",), target="mlp_out.1")
    x, y = rows(300), rows(300, width=7, seed=2)
    with pytest.raises(UserError, match="needs rows"):
        random_control(t, x, seed=0)
    control = random_control(t, x, seed=0, targets=y)
    assert (control.target, control.target_width) == ("mlp_out.1", 7)
    assert measure(control, [(x, y)]).quality.l0 == pytest.approx(measure(t, [(x, y)]).quality.l0, abs=0.01)
