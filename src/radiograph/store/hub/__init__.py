"""Files to a repository of the Hugging Face hub, in one commit, through `huggingface_hub`, which transformers brings.

The token is the one that the package finds itself (`HF_TOKEN`, or a login); it is never read, logged or stored. The
address is that of `HF_ENDPOINT`, else the public one. Nothing is written over unless the commit as a whole succeeds.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from radiograph.core import Refusal, UserError

RepoType = Literal["dataset", "model"]


@dataclass(frozen=True)
class Commit:
    """What the hub answered."""

    url: str
    oid: str


def upload(
    files: Mapping[str, Path | bytes],
    *,
    repo: str,
    kind: RepoType,
    private: bool,
    revision: str | None,
    message: str,
) -> Commit:
    """Create the repository if it is not there, and commit the files.

    Args:
        files: by their path in the repository.
        repo: `OWNER/NAME`.
        kind: dataset or model.
        private: a repository that is created is private, and one that is there has to be.
        revision: branch; None for the main one.
        message: of the commit.

    Raises:
        UserError: the hub refuses credentials, name or branch; the repository is public, and should not be.
        Refusal: `hub_unreachable`.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, errors

    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    operations = [CommitOperationAdd(path, source) for path, source in files.items()]
    try:
        api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
        # A repository that is there already stays what it is, whatever was asked for.
        if private and not api.repo_info(repo, repo_type=kind).private:
            raise UserError(
                f"{repo} is public, and a private repository was asked for",
                fix="make it private on the hub, name another one, or leave --private out",
                where="--repo",
                code="public_repository",
            )
        if revision is not None:
            api.create_branch(repo, branch=revision, repo_type=kind, exist_ok=True)
        with warnings.catch_warnings():
            # The tables of a run belong to it, whatever kind of repository it goes to.
            warnings.filterwarnings("ignore", "It seems that you are about to commit a data file", UserWarning)
            made = api.create_commit(
                repo, operations, commit_message=message, repo_type=kind, revision=revision, num_threads=2
            )
    except errors.LocalTokenNotFoundError as error:
        raise UserError("no token for the hub", fix="set HF_TOKEN, or log in with `hf auth login`") from error
    except errors.HFValidationError as error:
        raise UserError(f"{repo!r} is no name of a repository", expected="OWNER/NAME", where="--repo") from error
    except errors.HfHubHTTPError as error:
        raise _told(error, repo) from error
    except (OSError, RuntimeError, errors.HTTPError) as error:  # of a file that did not arrive the package raises these
        raise Refusal("hub_unreachable", f"the hub cannot be reached: {error}", fix="try again later") from error
    return Commit(str(made.commit_url), str(made.oid))


def _told(error: Any, repo: str) -> UserError | Refusal:
    """What a status means for whoever publishes."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        fix = "set HF_TOKEN to a token that may write there, or log in with `hf auth login`"
        return UserError(f"the hub does not let you write to {repo}", got=f"status {status}", fix=fix, code="no_access")
    if status == 404:
        return UserError(f"the hub knows no {repo}, or not for you", got="status 404", where="--repo", code="not_found")
    if status is not None and 400 <= status < 500 and status != 429:
        return UserError(f"the hub refuses what is sent to {repo}", got=f"status {status}", code="refused_by_hub")
    return Refusal("hub_unreachable", f"the hub answers with status {status}", fix="try again later")
