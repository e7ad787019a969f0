"""Weight components as a source of features of the bundled base."""

import pytest
import torch

from radiograph.core import Refusal, UserError
from radiograph.decompose import make, save
from radiograph.decompose.importance import Size, new
from radiograph.models.masked import Factors, of_model


@pytest.fixture
def stored(base, workspace):
    target = of_model(base)
    weights = ["up.1", "down.1", "down.2"]
    places = {w: target.place(w) for w in weights}
    factors = {w: Factors(torch.ones(p.inputs, 4), torch.ones(4, p.outputs)) for w, p in places.items()}
    sizes = {w: Size(p.inputs, 4) for w, p in places.items()}
    nets = new("shared", {"hidden": 2}, sizes, torch.Generator().manual_seed(0), {})
    own = make(target, factors, nets)
    save(own, workspace / "d")
    return own


def test_components_of_one_weight_or_of_all_that_fit(context, base, stored):
    given = context.features("components:d")
    first, second = given.open(base)
    assert (first.ids[0], second.ids[3]) == ("down.1:0", "down.2:3")
    assert (first.site, len(first), first.directions.shape) == ("mlp_hidden.1", 4, (4, 64))
    (one,) = context.features("components:d@down.2#1,3").open(base)
    assert one.ids == ["down.2:1", "down.2:3"]
    record = context.inputs["features"]
    assert (record.kind, record.sha256) == ("decomposition", stored.sha256)


def test_bad_references(context, base, stored, workspace):
    with pytest.raises(UserError, match="FOLDER@WEIGHT"):
        context.features("components:d#3")
    with pytest.raises(UserError, match="stand between no two sites"):
        context.features("components:d@up.1").open(base)
    with pytest.raises(UserError, match="0 to 3"):
        context.features("components:d@down.1#4").open(base)


def test_a_decomposition_of_another_model_is_refused(context, base, stored, workspace):
    from radiograph.decompose import load

    document = load(workspace / "d").document
    other = document.model_copy(update={"target": document.target.model_copy(update={"tensors_sha256": "0" * 64})})
    import dataclasses

    with pytest.raises(Refusal, match="decomposition_mismatch"):
        dataclasses.replace(stored, document=other).check(of_model(base))
