"""A circuit that is known: found exactly, decoys dropped, redundancy and cancelling pairs seen for what they are."""

import pytest
import torch

from radiograph.core import Refusal, UserError
from radiograph.decompose import load
from radiograph.decompose.circuits import (
    Prompt,
    Settings,
    context_of,
    controls,
    measure,
    optimise,
    repair,
    worst,
)
from radiograph.models import load as load_model
from radiograph.models.masked import of_model
from radiograph.organisms import bundled_decomposition, bundled_path
from radiograph.organisms.toys.planted_circuit import VOCABULARY, planted

YES = VOCABULARY.index("yes")
TRUTH = {
    "a x": ("v.0:0/1", "o.0:0/2", "up.0:0/2", "down.0:0/2", "up.1:0/2", "down.1:0/2"),
    "x b": tuple(tuple(f"{w}:{n}/2" for w in ("up.0", "down.0", "up.1", "down.1")) for n in (1, 2)),
}
CHAIN = ("up.0:3/2", "down.0:3/2", "up.1:3/2")
"""What the cancelling pairs are fed by."""


@pytest.fixture(scope="module")
def target():
    return of_model(load_model(str(bundled_path("planted-circuit"))))


@pytest.fixture(scope="module")
def decomposition():
    return load(bundled_decomposition("planted-circuit"))


@pytest.fixture(scope="module")
def prompt(target, decomposition):
    made = {}

    def get(text):
        if text not in made:
            made[text] = Prompt.of(target, decomposition, [1, *(VOCABULARY.index(w) for w in text.split())])
        return made[text]

    return get


def chosen(prompt, *names):
    return prompt.chosen(names, where="test")


def label(prompt, kind="-logit"):
    return context_of(prompt, kind, token=YES, position=2)


def test_the_shipped_files_are_those_of_the_recipe(target):
    assert all(
        torch.equal(own, dict(target.network.named_parameters())[name])
        for name, own in planted().network.named_parameters()
    )


def test_d10_5_the_path_is_found_exactly_and_decoys_are_dropped(prompt):
    case = prompt("a x")
    found = optimise(case, label(case, "ce"), Settings(sparsity=(0.02,), steps=40, lr=0.1), seed=0).selected[0]
    assert {str(n) for n in case.nodes(found)} == set(TRUTH["a x"])
    decoys = {str(n.component) for n in case.nodes(case.alive & ~found)} & set(planted().decoys)
    assert len(decoys) == 16


def test_d10_5_each_of_two_paths_suffices_and_ablating_one_changes_nothing(prompt):
    case = prompt("x b")
    context = label(case, "ce")
    for kept, cut in (TRUTH["x b"], TRUTH["x b"][::-1]):
        found = measure(case, chosen(case, *kept), context, seed=0, ablate=chosen(case, *cut), draws=8)
        assert found.importance.p > 0.999
        assert found.adversarial.measured.p > 0.999
        assert found.ablated.p > 0.999


def test_dd_1_cancelling_pairs_hide_from_random_masks_and_not_from_the_adversary(prompt):
    case = prompt("a c")
    context = label(case)
    base = chosen(case, *TRUTH["a x"], *CHAIN)
    found = measure(case, base, context, seed=0)
    moved = found.stochastic.worst_loss - found.importance.loss
    assert 0.4 < moved < 3.0  # the worst of 64 draws of a spread of .58
    assert found.adversarial.measured.loss - found.importance.loss == pytest.approx(8.0, abs=0.01)
    assert found.adversarial.measured.loss > found.adversarial.best_random + 4
    pairs = chosen(case, *(f"{name}/2" for name in planted().pairs))
    with_pairs = worst(case, base | pairs, context, seed=0)
    assert with_pairs.measured.loss - found.importance.loss == pytest.approx(0.0, abs=1e-3)


def test_repair_takes_in_what_the_adversary_used(prompt):
    case = prompt("a c")
    context = label(case)
    start = chosen(case, *TRUTH["a x"], *CHAIN)
    done = repair(case, start, context, seed=0, keep=0.9, max_loss=0.1)
    assert done.holds
    assert done.rounds >= 1
    added = {str(n.component) for n in case.nodes(done.selected & ~start)}
    assert added <= set(planted().pairs)


def test_d10_6_an_empty_ablation_is_the_target_and_all_alive_leave_no_freedom(prompt):
    case = prompt("a c")
    context = label(case, "mean_kl")
    nothing = torch.zeros_like(case.alive)
    found = measure(case, case.alive, context, seed=0, ablate=nothing, draws=4)
    assert torch.allclose(found.ablated.logits, case.logits, atol=1e-5)
    assert found.adversarial.no_freedom
    assert found.adversarial.freedom == 0
    empty = measure(case, nothing, context, seed=0, draws=4)
    zeros = case.run(torch.zeros((1, *case.alive.shape)), None)[0]
    assert torch.equal(empty.importance.logits, zeros)


def test_dd_6_an_empty_ablation_is_the_target_under_autocast_too(prompt):
    case = prompt("a x")
    nothing = torch.zeros_like(case.alive)
    with torch.autocast("cpu", torch.bfloat16):
        found = measure(case, case.alive, label(case, "ce"), seed=0, ablate=nothing, draws=2).ablated
    assert torch.allclose(found.logits, case.logits, atol=1e-5)


def test_dd_7_the_reported_loss_is_that_of_the_stored_masks(prompt):
    case = prompt("a c")
    context = label(case)
    for delta in ("off", "random", "attacked"):
        found = worst(case, chosen(case, *TRUTH["a x"]), context, seed=3, delta=delta)
        by_weight = None if found.delta is None else found.delta[None]
        again = float(context.loss(case.run(found.masks[None], by_weight)).detach())
        assert again == pytest.approx(found.measured.loss, abs=1e-6)
        assert found.measured.loss >= found.best_random - 1e-6


def test_dd_2_alive_is_the_models_and_not_a_graphs(prompt, target, decomposition):
    """The same selection gives the same regimes whatever else a graph shows: nothing but the prompt is asked."""
    case, other = prompt("a c"), Prompt.of(target, decomposition, prompt("a c").ids.tolist())
    selected = chosen(case, *TRUTH["a x"])
    one, two = (worst(p, selected, label(p), seed=1) for p in (case, other))
    assert one.measured.loss == two.measured.loss
    assert one.freedom == int(case.alive.sum()) - len(TRUTH["a x"])


def test_d10_9_step_0_is_the_models_own_importance_and_rows_are_what_they_are_alone(prompt):
    case = prompt("a x")
    context = label(case, "ce")
    start = optimise(case, context, Settings(sparsity=(0.02,), steps=0), seed=0)
    assert torch.equal(start.importance[0], case.importance)
    both = optimise(case, context, Settings(sparsity=(0.01, 0.3), steps=3), seed=0)
    for row, sparsity in enumerate((0.01, 0.3)):
        alone = optimise(case, context, Settings(sparsity=(sparsity,), steps=3), seed=0)
        assert torch.allclose(alone.importance[0], both.importance[row], atol=1e-5)


def test_controls_have_as_many_nodes_at_each_weight_and_position(prompt):
    case = prompt("x b")
    context = label(case, "ce")
    found = controls(case, chosen(case, *TRUTH["x b"][0]), context, sets=19, seed=0)
    assert len(found) == 19
    assert max(found) > 0.99  # the other path, or a mixture that breaks
    assert min(found) < 0.2


@pytest.mark.slow
def test_d10_6_p_of_a_random_selection_is_uniform(prompt):
    from scipy.stats import kstest

    case = prompt("a c")
    context = label(case)
    rng = torch.Generator().manual_seed(0)
    p = []
    for seed in range(200):
        keep = (torch.rand(case.alive.shape, generator=rng) < 0.5) & case.alive
        with torch.no_grad():
            own = float(context.probability(case.run(keep.float()[None], None))[0])
        beside = torch.tensor(controls(case, keep, context, sets=19, seed=seed))
        greater, equal = int((beside > own).sum()), int((beside == own).sum())
        p.append((greater + float(torch.rand((), generator=rng)) * (equal + 1)) / 20)
    assert kstest(p, "uniform").pvalue > 0.05


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("token/1", "nothing that can be selected"),
        ("up.0:3/2", "not alive"),
        ("up.0:99/2", "no component up.0:99"),
        ("up.0:0/9", "beyond the prompt"),
        ("up.0", "not the address of a node"),
    ],
)
def test_nodes_that_cannot_be_selected_are_named(prompt, name, says):
    with pytest.raises(UserError, match=says) as error:
        chosen(prompt("a x"), name)
    assert name.split("/")[0] in str(error.value)


def test_prompts_that_cannot_be_run_are_refused(target, decomposition):
    for ids, says in (([], "empty"), ([1] * 99, "longer"), ([1, 999], "no token has the id 999")):
        with pytest.raises(UserError, match=says):
            Prompt.of(target, decomposition, ids)


def test_a_decomposition_of_another_model_is_refused(decomposition):
    other = of_model(load_model(str(bundled_path("copy"))))
    with pytest.raises(Refusal, match="another model") as error:
        Prompt.of(other, decomposition, [1, 2])
    assert error.value.code == "decomposition_mismatch"
    assert error.value.exit_code == 3


def test_an_unknown_loss_is_refused(prompt):
    with pytest.raises(UserError, match="no loss 'mean_lk'"):
        context_of(prompt("a x"), "mean_lk")
