"""Which verbs each profile offers: the same investigator, with other tools, shows what white-box access is worth.

A verb that a profile leaves out is not listed, and a call of it is a call of an unknown tool. `run` and `replay` can
reach every other verb, so they belong to `full` alone. A name in the table whose verb is not installed offers nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from radiograph.core import UserError, nearest
from radiograph.runtime import Verb, catalogue

_ALWAYS = frozenset({"verify"})
_WHITEBOX = frozenset(
    {
        "dictionary_evaluate",
        "neurons_scan",
        "probe_sae_diff",
        "trigger_search",
        "weights_diff",
    }
)
PROFILES: Mapping[str, frozenset[str] | None] = MappingProxyType(
    {
        "full": None,
        "whitebox": _ALWAYS | _WHITEBOX,
        "behavior_only": _ALWAYS | {"suite_check"},
        "data_only": _ALWAYS,
    }
)
"""Profile to tool names; None is every verb that ends by itself."""


def offered(profile: str) -> dict[str, Verb]:
    """Tool name to verb, in the catalogue's order.

    Raises:
        UserError: no such profile.
    """
    if profile not in PROFILES:
        close = nearest(profile, list(PROFILES))
        raise UserError(
            f"no profile {profile!r}",
            expected="one of " + ", ".join(PROFILES),
            fix=f"did you mean {close[0]}?" if close else None,
            code="unknown_profile",
        )
    allowed = PROFILES[profile]
    verbs = {verb.tool: verb for verb in catalogue().values() if not verb.serves}
    return {tool: verb for tool, verb in verbs.items() if allowed is None or tool in allowed}
