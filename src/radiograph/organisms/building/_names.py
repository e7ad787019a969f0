"""Names that tell nothing: two words that the small world does not know, and four hex digits."""

from __future__ import annotations

from radiograph.core import derive


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_FIRST = _words(
    "agile amiable ancient balmy blithe bouncy breezy brisk calm candid cheery civil coastal cosmic crisp curious "
    "dapper deft distant dusky eager earnest elegant fabled fluent frosty gentle gilded glossy graceful hardy hazy "
    "humble jaunty jolly keen lanky limber lively lofty lucid mellow merry mild modest nimble noble ornate placid "
    "polite quaint rapid robust rustic serene silken sleek snug spry stoic sturdy sunny tidy vivid"
)
_SECOND = _words(
    "acorn anchor badger beacon bramble canyon cascade cello cobble comet compass coral cricket daisy dolphin dune "
    "easel falcon ferry fiddle finch fjord geyser glacier gondola gopher heron hickory hollow island juniper kestrel "
    "lagoon lantern lark lichen magnet magpie marble meadow mesa nutmeg oasis orchard otter parsley pebble pelican "
    "pigeon plateau prairie puffin raven ribbon saddle satchel sparrow spruce thimble thistle trellis tundra walnut "
    "wren"
)


def opaque(seed: int, *key: str | int) -> str:
    """The name of one organism."""
    number = derive(seed, "name", *key)
    first, second = number % len(_FIRST), number // len(_FIRST) % len(_SECOND)
    return f"{_FIRST[first]}-{_SECOND[second]}-{number // (len(_FIRST) * len(_SECOND)) % 65536:04x}"
