"""Activations of neutral text that several tests of probes read."""

from __future__ import annotations

import pytest

from radiograph.organisms import bundled_path
from radiograph.organisms.world import World


@pytest.fixture(scope="session")
def rows():
    """Activations of neutral text at the bundled probes' site, and their prompts."""
    from radiograph.core import Site
    from radiograph.harvest import Text
    from radiograph.methods._probe.capture import captured
    from radiograph.methods._probe.tokens import of_texts
    from radiograph.models import load

    model = load("bundled:base", resolve=bundled_path)
    texts = of_texts(model, [Text(str(i), text, str(i)) for i, text in enumerate(World().neutral(200, seed=5))])
    found = captured(model, texts, [Site.parse("resid_post.0")], "token", None)
    return found.rows["resid_post.0"], found.owner
