"""Published dictionaries that may be fetched by name: an allowlist, opt-in, one file at a time.

1. `suites.toml` lists name, repositories, base, format, licence, and whether anybody confirmed that they exist
2. `NAME/PATH`: with one repository PATH lies inside it; with several, or a pattern, its first part is the repository's
   name. Case counts, and a part `..` never matches
3. `cached` looks at the hub cache and opens no socket; `fetch` prints repository, revision, bytes and licence, then
   takes one file (and the small configuration beside it) at a pinned revision, at most 8 GiB
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from radiograph.core import Progress, UserError, nearest

MOST_BYTES: Final = 8 * 2**30
SMALL_BYTES: Final = 2**20
CONFIGS: Final = ("cfg.json", "config.json", "hyperparams.json", "config.yaml")
_PART: Final = re.compile(r"[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Suite:
    """A line of the list."""

    name: str
    repositories: tuple[str, ...]
    base: str
    format: str
    licence: str
    status: str
    instead: tuple[str, ...] = ()


@cache
def listed() -> dict[str, Suite]:
    """Every suite by name."""
    document = tomllib.loads(Path(__file__).with_name("suites.toml").read_text(encoding="utf-8"))
    found: list[Suite] = []
    for entry in document["suite"]:
        values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        found.append(Suite(**values))
    return {suite.name: suite for suite in found}


def allowed(repository: str) -> Suite | None:
    """The suite that lists a repository, in its exact case."""
    for suite in listed().values():
        if any(_pattern(one).fullmatch(repository) for one in suite.repositories):
            return suite
    return None


def resolve(text: str) -> tuple[Suite, str, str]:
    """Suite, repository and path of `NAME/PATH`.

    Raises:
        UserError: not listed, no path, or a path that leaves the repository.
    """
    name, _, rest = text.partition("/")
    suite = listed().get(name)
    if suite is None:
        close = nearest(name, list(listed()))
        raise UserError(
            f"no suite {name!r} is listed",
            expected=", ".join(listed()),
            fix=f"did you mean {', '.join(close)}?" if close else "radiograph dictionary import --from-hub, by hand",
            code="suite_not_listed",
        )
    parts = rest.split("/") if rest else []
    repository = suite.repositories[0]
    if len(suite.repositories) > 1 or "*" in repository:
        own = parts.pop(0) if parts else ""
        owner = repository.partition("/")[0]
        repository = f"{owner}/{own}"
        if allowed(repository) != suite:
            raise UserError(
                f"{repository} is not listed in {name}",
                expected=", ".join(suite.repositories),
                fix=f"suite:{name}/REPOSITORY/PATH, in the exact case",
                code="suite_not_listed",
            )
    if not parts or any(_PART.fullmatch(part) is None for part in parts):
        raise UserError(
            f"suite:{text} names no dictionary",
            expected=f"a folder or file inside {repository}, such as layer_20/width_16k/average_l0_71/params.npz",
            fix="choose layer, width and L0 by the path",
            code="suite_path",
        )
    return suite, repository, "/".join(parts)


def cached(repository: str, path: str) -> Path | None:
    """The file or folder in the hub cache; nothing is asked of the network."""
    from huggingface_hub import constants

    home = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}" / "snapshots"
    if not home.is_dir():
        return None
    places = (snapshot / path for snapshot in sorted(home.iterdir(), reverse=True))
    return next((place for place in places if place.exists()), None)


def fetch(suite: Suite, repository: str, path: str, progress: Progress) -> Path:
    """One file at its present commit, and the configuration beside it.

    Raises:
        UserError: not listed, unreachable, no such file, or too large.
    """
    if allowed(repository) != suite:
        raise UserError(f"{repository} is not listed", code="suite_not_listed")
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        info = HfApi().model_info(repository, files_metadata=True)
        files = {s.rfilename: int(s.size or 0) for s in info.siblings or []}
        wanted = _wanted(files, path, repository)
        size = sum(files[name] for name in wanted)
        if size > MOST_BYTES:
            raise UserError(
                f"{path} of {repository} is too large",
                expected=f"at most {MOST_BYTES:,} bytes",
                got=f"{size:,}",
                code="over_limit",
            )
        licence = _licence(info) or suite.licence
        progress.say(f"fetching {', '.join(wanted)} of {repository}@{info.sha}: {size:,} bytes, licence {licence}")
        places = [Path(hf_hub_download(repository, name, revision=info.sha)) for name in wanted]
    except (LocalEntryNotFoundError, HfHubHTTPError, OSError) as error:
        said = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UserError(f"{repository} could not be reached", got=said[:200], code="hub_unreachable") from error
    return places[0].parent if path not in files else places[0]


def _wanted(files: dict[str, int], path: str, repository: str) -> list[str]:
    """The one file, or the one file of weights in a folder, with the small configurations beside it."""
    from radiograph.dictionaries.plain import SUFFIXES

    if path in files:
        return [path]
    inside = [name for name in files if name.startswith(f"{path}/")]
    weights = [name for name in inside if name.lower().endswith(SUFFIXES)]
    if len(weights) != 1:
        raise UserError(
            f"no single dictionary at {path} of {repository}",
            expected="a file, or a folder with one file of weights",
            got=", ".join((weights or sorted({n.split("/")[0] for n in files}))[:8]) or "an empty repository",
            code="suite_path",
        )
    folder = weights[0].rpartition("/")[0]
    beside = [f"{folder}/{name}" for name in CONFIGS if files.get(f"{folder}/{name}", SMALL_BYTES) < SMALL_BYTES]
    return [weights[0], *beside]


def _licence(info: Any) -> str | None:
    found = getattr(info.card_data, "license", None) if info.card_data else None
    return found if isinstance(found, str) else None


def _pattern(repository: str) -> re.Pattern[str]:
    return re.compile(r"[\w.-]*".join(re.escape(part) for part in repository.split("*")))
