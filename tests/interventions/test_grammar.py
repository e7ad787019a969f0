"""The text of writes: read, written back, and refused with what is legal there."""

import numpy as np
import pytest

from models.make import network
from radiograph.core import Refusal, UserError
from radiograph.evidence import Card, Condition, Dose, Positions, Recipe, Write
from radiograph.interventions import bind, parse_conditions, parse_write, rack_condition
from radiograph.models import wrap

from .slow import natural


@pytest.fixture(scope="module")
def llama():
    return wrap(network("llama"))


def test_the_examples_of_the_spec_read_as_they_say():
    (clamp,) = parse_write("mlp_hidden.11[373]:set:+3sd@all")
    assert clamp == Write(site="mlp_hidden.11", unit=373, op="set", dose=Dose(value=3, unit="sd"))
    (push,) = parse_write("resid_post.6~tone:add:0.5norm@generated")
    assert (push.direction, push.dose, str(push.positions)) == ("tone", Dose(value=0.5, unit="norm"), "generated")
    (every,) = parse_write("mlp_hidden.*[373]:set:0")
    assert every.site == "mlp_hidden.*" and every.positions == Positions()
    (head,) = parse_write("attn_z.2[h3]:ablate@from=0")
    assert (head.site, head.op, head.positions) == ("attn_z.2.h3", "ablate", Positions(kind="from", k=0))
    (follow,) = parse_write("mlp_out.1~r:add:follow:mlp_hidden.1[5]->2.5")
    assert follow.dose == Dose(value=2.5, unit="follow", source="mlp_hidden.1[5]")
    (cap,) = parse_write("blocks.2.mlp.hook_post[0:8]:cap:q0.1..q0.9@last")
    assert (cap.site, cap.units, cap.dose) == ("mlp_hidden.2", (0, 8), Dose(value=0.9, unit="quantile", low=0.1))


@pytest.mark.parametrize(
    "text",
    [
        "mlp_hidden.11[373]:set:3sd@all",
        "resid_post.6~tone:add:-0.5norm@generated",
        "mlp_hidden.2[0:8]:cap:-1..2@last",
        "resid_post.1~plane:cap:4@prompt",
        "mlp_out.1~r:add:follow:mlp_hidden.1[5]->2.5@from=3",
        "attn_z.2.h3:ablate-mean@all",
        "resid_post.1[7]:set:q0.999@all",
    ],
)
def test_a_write_reads_back_from_its_own_text(text):
    read = text.replace("cap:4", "cap:..4")
    (write,) = parse_write(read)
    (again,) = parse_write(str(write).replace("cap:4", "cap:..4"))
    assert again == write and str(write) == text


def test_a_list_of_doses_is_a_sweep_with_none_in_front():
    found = parse_conditions(["mlp_hidden.1[3]:set:-1,none,0,1@all", "none"])
    assert [c.name for c in found] == ["none", *(f"mlp_hidden.1[3]:set:{v}@all" for v in (-1, 0, 1))]
    both = parse_conditions(["mlp_hidden.1[3]:set:1,2; mlp_hidden.1[4]:ablate"])
    assert [len(c.writes) for c in both] == [0, 2, 2]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mlp_hidden.1[3]:set:q1.2", "q0 to q1"),
        ("mlp_hidden.1[3]:scale:2sd", "scale takes 3"),
        ("mlp_hidden.1[3]:add:q0.9", "add takes 3, 3sd"),
        ("mlp_hidden.1[3]:add:1@from=-1", "from=k with k >= 0"),
        ("mlp_hidden.1[3]:add:1@everywhere", "all, prompt, generated"),
        ("mlp_hidden.1[3]:add:0.5norm", "along a ~DIRECTION"),
        ("mlp_hidden.1[3]:project-out", "ablate"),
        ("mlp_hidden.1[3]:ablate:2", "takes no dose"),
        ("mlp_hidden.1[3]:set", "needs a dose"),
        ("mlp_hidden.1[3]:sett:2", "did you mean set"),
        ("mlp_hiden.1[3]:set:2", "did you mean mlp_hidden"),
        ("mlp_hidden.0[1]:set:1e999", "1e999 is larger than any number"),
        ("mlp_hidden.0[1]:cap:-1e999..2", "larger than any number"),
        ("mlp_out.1~r:add:follow:mlp_hidden.1[5]->1e999", "larger than any number"),
        ("mlp_hidden.1[8:3]:set:2", "[0:64]"),
        ("mlp_hidden.1[3]:cap:2", "lo..hi"),
        ("mlp_hidden.1[3]:cap:2..1sd", "in one unit"),
        ("nothing", "SITE[unit]"),
    ],
)
def test_bad_writes_are_refused_with_what_is_legal(text, said):
    with pytest.raises(UserError) as caught:
        parse_write(text)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("mlp_hidden.1[48]:set:1", "0 to 47"),
        ("mlp_hidden.3[1]:set:1", "0 to 2"),
        ("attn_z.1[h9]:ablate", "0 to 3"),
        ("resid_post.1~ton:add:1", "did you mean tone"),
        ("resid_post.1~flat:add:1", "zero or not finite"),
        ("resid_post.1~odd:add:1", "zero or not finite"),
        ("mlp_hidden.1~tone:add:1", "width 48"),
        ("resid_post.1~plane:add:1", "one direction"),
        ("resid_post.1[3]:set:2sd", "not measured"),
        ("mlp_hidden.1[5]:set:2sd", "never moves"),
        ("mlp_hidden.1[3]:set:1; mlp_hidden.1[2:5]:ablate", "two writes set mlp_hidden.1"),
        ("mlp_out.0~tone:add:follow:mlp_hidden.1[5]->2", "before it"),
        ("mlp_out.1~tone:add:follow:mlp_hidden.1[99]->2", "0 to 47"),
    ],
)
def test_what_is_outside_the_model_is_refused_with_the_legal_range(llama, text, said):
    statistics = natural(llama, ["mlp_hidden.1"])
    statistics["mlp_hidden.1"].rows[:, 5] = 1
    directions = {
        "tone": np.ones(32),
        "flat": np.zeros(32),
        "odd": np.full(32, np.nan),
        "plane": np.eye(2, 32),
    }
    with pytest.raises((UserError, Refusal)) as caught:
        bind(llama, parse_conditions([text]), statistics=statistics, directions=directions)
    assert said in str(caught.value)


def test_sets_that_never_meet_are_fine(llama):
    apart = ["[3]:set:1@prompt; mlp_hidden.1[3]:set:2@generated", "[3]:set:1; mlp_hidden.1[4]:set:2"]
    bound = bind(llama, parse_conditions([f"mlp_hidden.1{text}" for text in apart]))
    assert [len(c.writes) for c in bound] == [0, 2, 2]


def test_a_range_of_sites_is_one_write_at_each(llama):
    (_, every) = bind(llama, parse_conditions(["mlp_hidden.*[3]:set:0"]))
    assert [str(w.site) for w in every.writes] == [f"mlp_hidden.{n}" for n in range(3)]


def test_a_recipe_has_one_hash_and_its_rack_one_condition():
    card = Card(id="a", site="mlp_hidden.1", unit=3, op="set", dose=Dose(value=3, unit="sd"), positions="from=1")
    recipe = Recipe(model="bundled:base", prompt="Lily saw", rack=(card, card.model_copy(update={"on": False})))
    assert Recipe.read(recipe.model_dump(mode="json")) == recipe
    assert Recipe.read(recipe.model_dump(mode="json")).sha256 == recipe.sha256
    assert rack_condition(recipe.rack).name == "mlp_hidden.1[3]:set:3sd@from=1"
    assert rack_condition([]) == Condition()
    with pytest.raises(UserError, match="scale has no dose"):
        rack_condition([card.model_copy(update={"op": "scale"})])
