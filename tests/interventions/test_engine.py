"""The engine against whole forwards without cache or batch; nothing depends on batches, order or neighbours."""

import itertools

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from models.make import network, prompts, tokenizer
from radiograph.core import Site
from radiograph.evidence import Card, Condition, Decoding, Dose, Recipe
from radiograph.interventions import Sweep, bind, edits_of, parse_conditions, plan, run, run_recipe, sweep_rows
from radiograph.models import Decoder, Line, Measures, Reads, capture, decode, forward, pad, wrap

from .slow import changed, natural, recompute

FAMILIES = ["gpt2", "llama", "gpt_neox_parallel", "gemma2"]
STEPS = 3
POSITIONS = ["all", "prompt", "generated", "from=0", "from=2", "last"]
HIDDEN, POST = "mlp_hidden.1", "resid_post.1"
WRITES = [
    f"{HIDDEN}[7]:set:2.5",
    f"{HIDDEN}[7]:add:2",
    f"{HIDDEN}[7]:scale:-3",
    f"{HIDDEN}[5:9]:ablate",
    f"{HIDDEN}[7]:ablate-mean",
    f"{HIDDEN}:cap:-0.05..0.05",
    f"{POST}~tone:set:3",
    f"{POST}~tone:add:0.5norm",
    f"{POST}~tone:scale:-2",
    f"{POST}~tone:ablate",
    f"{POST}~tone:ablate-mean",
    f"{POST}~tone:cap:-0.1..0.1",
    f"{POST}~plane:scale:2",
    f"{POST}~plane:project-out",
    f"{POST}~plane:ablate-mean",
    f"{POST}~plane:cap:..0.5",
]


@pytest.fixture(scope="module", params=FAMILIES)
def model(request):
    return wrap(network(request.param), tokenizer(merges=38))


@pytest.fixture(scope="module")
def llama():
    return wrap(network("llama"), tokenizer(merges=38))


def directions(width=32):
    generator = np.random.default_rng(0)
    return {"tone": generator.normal(size=width), "plane": generator.normal(size=(2, width))}


def bound(model, texts):
    return bind(model, parse_conditions(texts), statistics=natural(model, [HIDDEN, POST]), directions=directions())


def decoded(model, conditions, ids, steps=STEPS, **options):
    """One prompt under many conditions, in one batch, with every logit."""
    lines = [Line(tuple(ids)) for _ in conditions]
    edits = edits_of(model, range(len(lines)), conditions, [len(ids)] * len(lines))
    measures = Measures(scores=True, logits=True)
    twice = any(c.twice(model.n_layers) for c in conditions)
    return decode(model, lines, Decoding(new_tokens=steps), writes=edits, twice=twice, measures=measures, **options)


def close(ours, theirs):
    """The spec's tolerance in float32."""
    assert (ours - theirs).abs().max() <= 1e-4 * max(1.0, float(theirs.abs().max()))


def test_e1_writes_that_change_nothing_change_no_bit_amid_strong_ones(model):
    idle = [f"{HIDDEN}[7]:add:0", f"{HIDDEN}[7]:scale:1", f"{POST}~tone:add:0", f"{POST}~plane:scale:1"]
    loud = [f"{HIDDEN}[7]:set:1000", f"{POST}~tone:add:500", f"{HIDDEN}:scale:9"]
    ids, empty = prompts(1)[0], Condition()
    plain = decoded(model, bind(model, [empty] * 8), ids)
    mixed = bind(model, [empty, *(c for c in parse_conditions(idle + loud) if c.writes)], directions=directions())
    found = decoded(model, mixed, ids)
    for row in range(5):
        assert found[row].ids == plain[row].ids
        assert torch.equal(torch.stack(found[row].logits), torch.stack(plain[row].logits))
    assert any(found[row].ids != plain[row].ids for row in range(5, 8))


def test_e2_rows_do_not_depend_on_order_batch_or_padding(model):
    texts = prompts(4)
    conditions = bound(model, [WRITES[0], f"{WRITES[7]}@generated", f"{WRITES[3]}@last"])
    sweep = Sweep(model, [tuple(t) for t in texts], conditions, Decoding(new_tokens=6), stops=frozenset())
    wanted = sweep_rows(sweep, batch_rows=64)
    for size in (1, 5):
        for one, other in zip(wanted, sweep_rows(sweep, batch_rows=size), strict=True):
            same_text(one, other)
    turned = Sweep(model, sweep.prompts[::-1], conditions[::-1], sweep.decoding, stops=frozenset())
    there = {(r.row.prompt, r.row.condition): r for r in sweep_rows(turned)}
    for row in wanted:
        same_text(row, there[3 - row.row.prompt, len(conditions) - 1 - row.row.condition])


def same_text(one, other):
    """Equal texts, unless the two best tokens were within the tolerance somewhere before."""
    if one.ids != other.ids:
        assert one.min_gap < 1e-3
    else:
        assert one.mean_logprob == pytest.approx(other.mean_logprob, abs=1e-4)


def test_e2_logits_agree_within_the_tolerance_in_any_batch(model):
    texts = [tuple(t) for t in prompts(4)]
    (condition,) = [c for c in bound(model, [f"{WRITES[7]}@generated"]) if c.writes]
    options = {"measures": Measures(logits=True)}
    edits = edits_of(model, range(4), [condition] * 4, [len(t) for t in texts])
    together = decode(model, [Line(t) for t in texts], Decoding(new_tokens=4), writes=edits, **options)
    for text, one in zip(texts, together, strict=True):
        edits = edits_of(model, [0], [condition], [len(text)])
        (alone,) = decode(model, [Line(text, forced=tuple(one.ids))], Decoding(new_tokens=4), writes=edits, **options)
        close(torch.stack(one.logits), torch.stack(alone.logits))


@pytest.mark.parametrize("position", POSITIONS)
def test_e3_every_op_equals_a_recompute_without_cache(model, position):
    ids, found = prompts(2, seed=5)[1][:6], natural(model, [HIDDEN, POST])
    conditions = [c for c in bound(model, [f"{text}@{position}" for text in WRITES]) if c.writes]
    kind, _, k = position.partition("=")
    for text, condition, row in zip(WRITES, conditions, decoded(model, conditions, ids), strict=True):
        (write,) = condition.writes
        mean = torch.tensor(found[str(write.site)].mean, dtype=torch.float32)
        basis = None if write.basis is None else torch.tensor(write.basis, dtype=torch.float32)
        dose = condition.condition.writes[0].dose
        value = None if dose is None else dose.value * (found[POST].norm if dose.unit == "norm" else 1)
        low = None if dose is None else dose.low

        def change(x, _, w=write, b=basis, m=mean, v=value, lo=low):
            op = w.write.op
            return changed(x, op, lo, v, m, b, slice(w.start, w.stop))

        tokens, logits = recompute(model, ids, write.site, change, (kind, int(k or 0)), STEPS)
        assert row.ids == tokens, text
        close(torch.stack(row.logits), logits)


def test_e3_a_push_that_follows_a_unit_equals_a_recompute(model):
    ids, site, unit = prompts(2, seed=5)[1][:6], "mlp_hidden.1", 11
    text = f"mlp_out.1~tone:add:follow:{site}[{unit}]->1.5@all"
    (condition,) = [c for c in bound(model, [text]) if c.writes]
    matrix = model.weights["down.1"].read(model.parameters()[model.weights["down.1"].parameter].detach())
    length, d = float(matrix[:, unit].norm()), torch.tensor(directions()["tone"], dtype=torch.float32)
    tokens = list(ids)
    (row,) = decoded(model, [condition], ids, steps=3)
    from radiograph.models import edit, reading

    for token in row.ids:
        with reading(model, [Site.parse(site)]) as live:

            def write(x, live=live):
                held = live[Site.parse(site)][0, :, unit]
                return x + ((1.5 - held) * length)[None, :, None] * (d / d.norm())

            with edit(model, {Site("mlp_out", 1): write}):
                logits = forward(model, pad([tokens]))[0, -1]
        assert token == int(logits.argmax())
        tokens.append(token)


def test_e3_writes_at_one_site_act_in_their_order(model):
    from radiograph.models import edit

    d = torch.tensor(directions()["tone"], dtype=torch.float32)
    d, batch, post = d / d.norm(), pad([prompts(1)[0]]), Site.parse(POST)
    plain = capture(model, batch, [post])[post]
    add, scale, push = f"{POST}[7]:add:2", f"{POST}[7]:scale:3", f"{POST}~tone:add:4"
    wanted = {
        f"{add}; {scale}": (7, (plain[..., 7] + 2) * 3),
        f"{scale}; {add}": (7, plain[..., 7] * 3 + 2),
        f"{scale}; {POST}[8]:set:1; {add}": (7, plain[..., 7] * 3 + 2),
        f"{push}; {scale}": (7, (plain[..., 7] + 4 * d[7]) * 3),
        f"{scale}; {push}": (7, plain[..., 7] * 3 + 4 * d[7]),
        f"{add}; {push}; {scale}": (7, (plain[..., 7] + 2 + 4 * d[7]) * 3),
    }
    conditions = bind(model, [parse_conditions([text])[1] for text in wanted], directions=directions())
    for condition, (unit, values) in zip(conditions, wanted.values(), strict=True):
        with edit(model, edits_of(model, [0], [condition], [len(batch.ids[0])])):
            found = capture(model, batch, [post])[post]
        torch.testing.assert_close(found[..., unit], values)


def test_e3_a_head_is_its_columns(model):
    from radiograph.models import edit

    batch, z, out = pad([prompts(1)[0]]), Site("attn_z", 1), Site("attn_out", 1)
    head = bind(model, parse_conditions(["attn_z.1[h2]:ablate"]))[1]
    columns = slice(2 * model.head_dim, 3 * model.head_dim)

    def zero(x):
        x = x.clone()
        x[..., columns] = 0
        return x

    with edit(model, {z: zero}):
        wanted = capture(model, batch, [z, out])
    with edit(model, edits_of(model, [0], [head], [3])):
        found = capture(model, batch, [z, out])
    assert torch.equal(found[z], wanted[z]) and torch.equal(found[out], wanted[out])


@pytest.mark.parametrize("kind", ["attn_z", "attn_out", "resid_mid", "mlp_hidden", "mlp_out", "resid_post"])
def test_e4_in_the_last_block_all_from_0_and_last_are_the_same_on_generated_tokens(model, kind):
    if kind == "resid_mid" and model.architecture.family.mid is None:
        pytest.skip("parallel blocks have no resid_mid")
    found = same_positions(model, f"{kind}.{model.n_layers - 1}[3]:add:4")
    assert found[0].ids == found[1].ids == found[2].ids
    for one, other in itertools.combinations(found, 2):
        close(torch.stack(one.logits), torch.stack(other.logits))


@pytest.mark.parametrize("site", ["resid_pre.2", "resid_post.0", "mlp_hidden.0"])
def test_e4_before_the_last_attention_they_differ(model, site):
    found = same_positions(model, f"{site}[3]:add:4")
    for one, other in itertools.combinations(found, 2):
        assert not torch.allclose(torch.stack(one.logits)[1:], torch.stack(other.logits)[1:], atol=1e-3)


def same_positions(model, text):
    ids = prompts(2, seed=5)[1][:6]
    conditions = [c for c in bound(model, [f"{text}@{p}" for p in ("all", "from=0", "last")]) if c.writes]
    free = decoded(model, conditions[:1], ids)[0]
    lines = [Line(tuple(ids), forced=tuple(free.ids)) for _ in conditions]
    edits = edits_of(model, range(3), conditions, [len(ids)] * 3)
    measures = Measures(logits=True)
    twice = any(c.twice(model.n_layers) for c in conditions)
    return decode(model, lines, Decoding(new_tokens=STEPS), writes=edits, twice=twice, measures=measures)


@pytest.mark.parametrize("pool", ["generated", "predicting", "prompt", "last-prompt", "max", "tokens"])
def test_e5_pools_equal_a_second_pass(model, pool):
    texts, site = [tuple(t) for t in prompts(4)], Site("mlp_hidden", 2)
    conditions = bound(model, [f"{HIDDEN}[7]:set:3"])
    rows = sweep_rows(Sweep(model, texts, conditions, Decoding(new_tokens=6), reads=Reads((site,), pool)))
    from radiograph.models import edit

    for row in rows:
        whole = [*texts[row.row.prompt], *row.ids]
        stopped = bool(row.ids) and row.ids[-1] in Sweep(model, texts, conditions).ends
        edits = edits_of(model, [0], [conditions[row.row.condition]], [row.n_prompt])
        with edit(model, edits):
            values = capture(model, pad([whole]), [site])[site][0].double()
        prompt, kept = row.n_prompt, len(row.ids) - stopped
        span = {
            "prompt": slice(0, prompt),
            "last-prompt": slice(prompt - 1, prompt),
            "predicting": slice(prompt - 1, prompt - 1 + kept),
        }.get(pool, slice(prompt, prompt + kept))
        chosen = values[span]
        wanted = chosen.amax(0) if pool == "max" else chosen.mean(0)
        pooled = row.pooled[site]
        assert pooled.n == len(chosen)
        torch.testing.assert_close(pooled.value.double(), wanted, rtol=1e-5, atol=2e-6)
        torch.testing.assert_close(pooled.square.double(), chosen.square().mean(0), rtol=1e-5, atol=2e-6)
        if pool == "tokens":
            torch.testing.assert_close(pooled.tokens.double(), chosen, rtol=1e-5, atol=2e-6)


def test_e5_reads_see_the_state_after_writes_or_before(model):
    texts, site = [tuple(prompts(1)[0])], Site("mlp_hidden", 1)
    conditions = bound(model, [f"{HIDDEN}[7]:set:3"])
    for before in (False, True):
        reads = Reads((site,), "generated", before=before)
        rows = sweep_rows(Sweep(model, texts, conditions, Decoding(new_tokens=4), reads=reads))
        held = float(rows[1].pooled[site].value[7])
        assert (held == 3) is not before


def test_e6_sampled_frequencies_fit_the_softmax(llama):
    ids, draws = (7, 11), 10_000
    lines = [Line(ids, sample=number) for number in range(draws)]
    found = decode(llama, lines, Decoding(mode="sample", temperature=0.8, new_tokens=1, seed=7))
    counts = np.bincount([row.ids[0] for row in found], minlength=llama.vocab_size)
    wanted = (forward(llama, pad([ids]))[0, -1].double() / 0.8).softmax(-1).numpy() * draws
    rare = wanted < 5
    observed, expected = np.append(counts[~rare], counts[rare].sum()), np.append(wanted[~rare], wanted[rare].sum())
    assert chisquare(observed, expected).pvalue > 1e-3


def test_e6_paired_rows_share_their_luck(model):
    conditions = bound(model, [f"{HIDDEN}[7]:add:0", f"{HIDDEN}[7]:set:50"])
    decoding = Decoding(mode="sample", temperature=1.3, top_k=40, top_p=0.95, new_tokens=8, seed=3)
    texts = [tuple(t) for t in prompts(3)]
    rows = sweep_rows(Sweep(model, texts, conditions, decoding, samples=2, stops=frozenset()))
    there = {(r.row.prompt, r.row.condition, r.row.sample): r.ids for r in rows}
    for prompt, sample in itertools.product(range(3), range(2)):
        assert there[prompt, 0, sample] == there[prompt, 1, sample]
    assert any(there[p, 0, 0] != there[p, 2, 0] for p in range(3))
    assert any(there[p, 0, 0] != there[p, 0, 1] for p in range(3))


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_e7_no_hook_is_left_after_an_error_in_a_step(model, error, monkeypatch):
    ids = prompts(1)[0]
    conditions = bound(model, WRITES[:4])
    before, state = forward(model, pad([ids])), hooks(model)
    seen = []

    def fail(self, *_):
        seen.append(1)
        if len(seen) == 3:
            raise error

    monkeypatch.setattr("radiograph.models.decoding._loop.Decoder._compare", fail)
    sweep = Sweep(model, [tuple(ids)], conditions, Decoding(new_tokens=6), reads=Reads((Site.parse(POST),)))
    with pytest.raises(error):
        sweep_rows(sweep)
    assert hooks(model) == state
    assert torch.equal(forward(model, pad([ids])), before)
    assert not torch.is_inference_mode_enabled()


def test_e7_no_hook_is_left_after_a_closed_stream(model):
    ids = tuple(prompts(1)[0])
    before, state = forward(model, pad([ids])), hooks(model)
    conditions = bound(model, WRITES[:3])
    edits = edits_of(model, range(4), conditions, [len(ids)] * 4)
    decoder = Decoder(model, [Line(ids)] * 4, Decoding(new_tokens=6), writes=edits)
    steps = decoder.steps()
    assert [next(steps).number for _ in range(3)] == [0, 1, 2]
    assert hooks(model) != state
    steps.close()
    assert hooks(model) == state
    assert torch.equal(forward(model, pad([ids])), before)
    assert all(len(done.ids) == 3 for done in decoder.results())
    stream = run(Sweep(model, [ids], conditions, Decoding(new_tokens=3)), batch_rows=1)
    next(stream)
    stream.close()
    assert hooks(model) == state


def test_d13_a_turn_leaves_nothing_for_the_next(llama):
    recipe = Recipe(model="m", prompt="the quick brown", decoding=Decoding(new_tokens=4))
    card = Card(id="a", site=HIDDEN, unit=7, op="set", dose=Dose(value=50))
    before, state = run_recipe(llama, recipe)[1], hooks(llama)
    changed = run_recipe(llama, recipe.model_copy(update={"rack": (card,)}))[1]
    assert changed.ids != before.ids and hooks(llama) == state
    assert run_recipe(llama, recipe)[1].ids == before.ids


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.model.modules())


def test_e9_projecting_out_twice_is_once_and_cap_keeps_what_is_inside(model):
    site, batch = Site.parse(POST), pad([prompts(1)[0]])
    once, twice, cap = bound(
        model,
        [f"{POST}~plane:project-out", f"{POST}~plane:project-out; {POST}~plane:project-out", f"{POST}:cap:-0.3..0.3"],
    )[1:]
    from radiograph.models import edit

    def read(condition):
        with edit(model, edits_of(model, [0], [condition], [3])):
            return capture(model, batch, [site])[site]

    torch.testing.assert_close(read(twice), read(once), rtol=1e-5, atol=1e-5)
    plain, capped = capture(model, batch, [site])[site], read(cap)
    inside = plain.abs() <= 0.3
    assert inside.any() and not inside.all()
    assert torch.equal(capped[inside], plain[inside]) and capped.abs().max() <= 0.3


def test_e9_doses_are_told_in_every_unit(llama):
    found = natural(llama, [HIDDEN])[HIDDEN]
    texts = [f"{HIDDEN}[7]:set:q0.99", f"{HIDDEN}[7]:set:3sd", f"{HIDDEN}[7]:add:3sd"]
    quantile, sd, push = (c.writes[0].told for c in bound(llama, texts)[1:])
    column = found.rows[:, 7]
    assert quantile.raw == pytest.approx(np.quantile(column, 0.99), rel=0.02)
    assert quantile.quantile == pytest.approx(0.99, abs=0.02)
    assert sd.raw == pytest.approx(column.mean() + 3 * column.std(), rel=0.02) and sd.sd == pytest.approx(3)
    assert push.raw == pytest.approx(3 * column.std(), rel=0.02)
    assert push.norm == pytest.approx(push.raw / np.linalg.norm(found.rows, axis=1).mean())


def test_followed_text_moves_only_what_is_direct(model):
    last = f"mlp_hidden.{model.n_layers - 1}"
    texts, site = [tuple(t) for t in prompts(5)], Site.parse(last)
    conditions = bind(model, parse_conditions([f"{last}[3]:set:100", f"{last}[3]:set:-100"]))
    sweep = Sweep(
        model,
        texts,
        conditions,
        Decoding(new_tokens=6),
        reads=Reads((site,)),
        follow="reference",
        divergence=True,
    )
    rows = sweep_rows(sweep)
    for row in rows:
        base = rows[sweep.baseline_of(row.row)]
        assert (row.ids, row.stop) == (base.ids, base.stop)
        moved = row.pooled[site].value != base.pooled[site].value
        assert moved.nonzero().flatten().tolist() == ([] if row is base else [3])
        assert len(row.divergence) == (0 if row is base else len(row.ids))
    assert max(max(row.divergence, default=0) for row in rows) > 0.01


def test_divergence_stops_where_texts_part(model):
    conditions = bound(model, [f"{POST}~tone:add:3norm", f"{POST}~tone:add:0"])
    sweep = Sweep(model, [tuple(t) for t in prompts(3)], conditions, Decoding(new_tokens=6), divergence=True)
    rows = sweep_rows(sweep, batch_rows=2)
    for row in rows:
        base = rows[sweep.baseline_of(row.row)]
        if row is base:
            continue
        shared = next((i for i, (a, b) in enumerate(zip(row.ids, base.ids, strict=False)) if a != b), None)
        wanted = len(row.ids) if shared is None else shared + 1
        assert len(row.divergence) == wanted
        idle = row.row.condition == 2
        assert (max(row.divergence) < 1e-6) is idle


def test_rows_that_break_are_kept_and_their_neighbours_do_not_notice(model):
    conditions = bound(model, [f"{POST}[3]:set:1e38", f"{POST}[3]:add:0"])
    conditions[1].writes[0].value[:] = np.inf
    reads = Reads((Site.parse(POST),))
    plain, broken, idle = sweep_rows(
        Sweep(model, [tuple(prompts(1)[0])], conditions, Decoding(new_tokens=5), reads=reads, stops=frozenset())
    )
    assert (broken.stop, broken.ids, broken.vector_note) == ("non-finite", (), "logits are not finite")
    assert idle.ids == plain.ids and len(plain.ids) == 5


def test_the_plan_keeps_prompts_together_and_halves_when_memory_runs_out(llama, monkeypatch):
    import radiograph.interventions._sweep as module

    conditions = bound(llama, [f"{HIDDEN}[{n}]:set:1" for n in range(7)])
    sweep = Sweep(llama, [tuple(t) for t in prompts(6)], conditions, Decoding(new_tokens=2))
    for batch in plan(sweep, 16):
        assert len(batch) <= 16
        assert sorted({sweep.rows[n].prompt for n in batch for _ in range(1)}) is not None
        whole = {sweep.rows[n].prompt for n in batch}
        assert all(sum(sweep.rows[n].prompt == p for n in batch) == 8 for p in whole)
    wanted = [row.ids for row in sweep_rows(sweep)]
    real, sizes = module.run_batch, []

    def small(sweep, batch, given=None):
        sizes.append(len(batch))
        if len(batch) > 5:
            raise torch.cuda.OutOfMemoryError
        return real(sweep, batch, given)

    monkeypatch.setattr(module, "run_batch", small)
    assert [row.ids for row in sweep_rows(sweep)] == wanted
    assert max(sizes) > 5 and sizes[-1] <= 5


def test_a_prompt_without_new_tokens_keeps_its_row(llama):
    site = Site.parse(POST)
    for pool, note in (("prompt", None), ("generated", "no new token")):
        reads = Reads((site,), pool)
        (row,) = sweep_rows(Sweep(llama, [(5, 6, 7)], bind(llama, [Condition()]), Decoding(new_tokens=0), reads=reads))
        assert (row.ids, row.stop, row.vector_note) == ((), "length", note)
        assert bool(row.pooled) is (note is None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_writes_keep_the_models_type_and_idle_rows_their_bits(dtype):
    model = wrap(network("llama").to(dtype), tokenizer(merges=38))
    ids, site = tuple(prompts(1)[0]), Site.parse(HIDDEN)
    texts = [f"{HIDDEN}[7]:set:2.5", f"{POST}~tone:add:3", f"{POST}~plane:project-out", f"{HIDDEN}[7]:add:0"]
    conditions = bind(model, parse_conditions(texts), directions=directions())
    plain = sweep_rows(Sweep(model, [ids], conditions[:1] * 5, Decoding(new_tokens=4), stops=frozenset()))
    reads = Reads((site,), "tokens")
    rows = sweep_rows(Sweep(model, [ids], conditions, Decoding(new_tokens=4), reads=reads, stops=frozenset()))
    assert (rows[1].pooled[site].tokens[:, 7] == 2.5).all()
    assert rows[0].ids == rows[4].ids == plain[0].ids
    assert rows[0].mean_logprob == plain[0].mean_logprob
