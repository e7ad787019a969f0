"""Numbers of documents that no float can hold, where a learning rate is read."""

import json

import pytest

from radiograph.core import FormatError, UserError
from radiograph.methods._blame.checkpoints import Checkpoint, _rate


@pytest.mark.parametrize("rate", [10**400, "high", None, True])
def test_pd_15_a_learning_rate_that_is_none_is_bad_input(tmp_path, rate):
    state = {"global_step": 5, "log_history": [{"step": 5, "learning_rate": rate}]}
    (tmp_path / "trainer_state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match="learning rate"):
        _rate(tmp_path)


@pytest.mark.parametrize("data", [b"", b"junk", b"PK\x03\x04 cut", b"\x80\x02}q\x00"])
def test_pd_15_a_damaged_state_of_an_optimiser_is_bad_input(tmp_path, data):
    (tmp_path / "optimizer.pt").write_bytes(data)
    with pytest.raises(FormatError):
        Checkpoint("c", None, 1.0, tmp_path).preconditioner([(2, 2)])
