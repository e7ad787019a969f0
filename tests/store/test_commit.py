"""The commit of a working directory, as git says it: on a branch, detached, packed, in a worktree; none elsewhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from radiograph.store import commit_of


def git(folder: Path, *words: str) -> str:
    config = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    done = subprocess.run(["git", *config, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init")
    assert commit_of(folder) is None
    git(folder, "commit", "--allow-empty", "-m", "one")
    return folder


def test_it_is_what_git_says(repository: Path, tmp_path: Path):
    (repository / "inner").mkdir()
    head = git(repository, "rev-parse", "HEAD")
    assert commit_of(repository) == commit_of(repository / "inner") == head
    git(repository, "pack-refs", "--all")
    assert not (repository / ".git/refs/heads/main").exists() and commit_of(repository) == head
    git(repository, "checkout", "--detach")
    assert commit_of(repository) == head
    git(repository, "worktree", "add", "-b", "other", str(tmp_path / "tree"))
    git(tmp_path / "tree", "commit", "--allow-empty", "-m", "two")
    assert commit_of(tmp_path / "tree") == git(tmp_path / "tree", "rev-parse", "HEAD") != head


@pytest.mark.parametrize("text", ["", "ref: ../../../secret", "ref: refs/heads/none", "nothing", "\xff"])
def test_what_is_damaged_says_nothing(tmp_path: Path, text: str):
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git/HEAD").write_bytes(text.encode("latin-1"))
    assert commit_of(tmp_path) is None
