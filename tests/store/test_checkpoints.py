"""Checkpoint folders: whole or absent, the last two and the best, never of another run."""

from __future__ import annotations

import json

import pytest
import torch

from radiograph.core import FormatError, UserError
from radiograph.store.checkpoints import DOCUMENT, TENSORS, CheckpointFolder

RUN = {"seed": 0, "sizes": (1, 2)}


def folder(path):
    return CheckpointFolder(path / "run" / "checkpoints", "radiograph.test/1")


def save(kept, step, score=None, **more):
    kept.save(step, {"w": torch.full((2, 3), float(step)).T}, RUN, {"log": [step]}, score=score, **more)


def names(kept):
    return sorted(path.name for path in kept.folder.iterdir())


def test_what_was_saved_is_read_back(tmp_path):
    kept = folder(tmp_path)
    assert kept.latest(RUN) is None
    save(kept, 7, beside=lambda into: (into / "more").mkdir())
    found = kept.latest(RUN)
    assert found is not None and (found.step, found.document["log"]) == (7, [7])
    assert torch.equal(found.tensors["w"], torch.full((3, 2), 7.0))
    assert (kept.folder / "000000007" / "more").is_dir()


def test_the_last_two_and_the_best_are_kept(tmp_path):
    kept = folder(tmp_path)
    for step, score in enumerate([None, 3.0, 1.0, 1.0, 2.0, None]):
        save(kept, step, score)
    assert names(kept) == ["000000002", "000000004", "000000005"]


def test_a_step_that_is_saved_again_takes_the_place_of_the_first(tmp_path):
    kept = folder(tmp_path)
    save(kept, 3, 1.0)
    kept.save(3, {"w": torch.zeros(1)}, RUN, {}, score=None)
    found = kept.latest(RUN)
    assert names(kept) == ["000000003"] and found is not None and found.tensors["w"].shape == (1,)


def test_a_write_that_fails_leaves_the_last_one_and_its_remains_go(tmp_path):
    kept = folder(tmp_path)
    save(kept, 1)

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        save(kept, 2, beside=full)
    assert names(kept) == ["000000001", "000000002.partial"]
    found = kept.latest(RUN)
    assert found is not None and found.step == 1 and names(kept) == ["000000001"]


def test_another_run_is_refused_with_the_first_difference(tmp_path):
    kept = folder(tmp_path)
    save(kept, 1)
    with pytest.raises(UserError, match="had another seed") as error:
        kept.latest(RUN | {"seed": 1})
    assert error.value.code == "resume_mismatch" and error.value.where == "run"
    with pytest.raises(UserError, match="had another more"):
        kept.latest(RUN | {"more": 1})


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (TENSORS, lambda data: data[:-1] + b"x", "not what was written"),
        (DOCUMENT, lambda data: data[:20], "not a checkpoint"),
        (DOCUMENT, lambda data: data.replace(b"radiograph.test/1", b"radiograph.else/1"), "not a checkpoint"),
    ],
)
def test_a_file_that_was_changed_is_named(tmp_path, name, change, said):
    kept = folder(tmp_path)
    save(kept, 1)
    path = kept.folder / "000000001" / name
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(FormatError, match=said) as error:
        kept.latest(RUN)
    assert name in (error.value.where or "")


def test_no_number_that_is_none_is_written(tmp_path):
    kept = folder(tmp_path)
    with pytest.raises(ValueError, match="JSON"):
        save(kept, 1, float("nan"))
    assert kept.latest(RUN) is None
    save(kept, 2)
    assert json.loads((kept.folder / "000000002" / DOCUMENT).read_text())["score"] is None
