"""The catalogue as tools for an agent, over the Model Context Protocol, with a tamper-evident transcript.

`_server` alone imports the SDK. `_desk` answers calls, `_session` keeps the folder that a session is, `_profiles` says
which tools there are, `_investigation` which models.
"""

from radiograph.surfaces.mcp._profiles import PROFILES
from radiograph.surfaces.mcp._serve import serve

__all__ = ["PROFILES", "serve"]
