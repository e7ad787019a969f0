"""Every size limit in one table, so that nobody invents a second one."""

from __future__ import annotations

from typing import Final

SUITE_BYTES: Final = 8 * 2**20
SUITE_PROMPTS: Final = 20_000
YAML_ALIASES: Final = 100
WORKFLOW_BYTES: Final = 1 * 2**20
DOCUMENT_VALUES: Final = 100_000
WORKFLOW_STEPS: Final = 1_000
ID_CHARACTERS: Final = 80
REPORT_CHARACTERS: Final = 1_200
TOOL_RESULT_BYTES: Final = 64 * 10**3
REQUEST_BYTES: Final = 2**20
PATTERN_CHARACTERS: Final = 500
JSON_LINE_BYTES: Final = 8 * 2**20
CHAT_REPLY_BYTES: Final = 16 * 2**20
DICTIONARY_CONFIG_BYTES: Final = 8 * 2**20
DICTIONARY_JSON_BYTES: Final = 512 * 2**20
DICTIONARY_BYTES: Final = 256 * 2**30
