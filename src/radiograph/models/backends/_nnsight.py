"""Activations through NNsight: a trace of the same network that saves the tensors at our points and then stops.

A point is the input or the output of a module; envoys of modules are asked in the order of the forward pass, as the
library needs it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import torch

from radiograph.core import Refusal, Site, require
from radiograph.models._batching import Batch
from radiograph.models._hooks import Activations
from radiograph.models._model import LanguageModel


def traced(model: LanguageModel) -> Any:
    """A reader of `model` through traces.

    Raises:
        MissingExtra: not installed. Refusal: a model with an adapter.
    """
    library = require("nnsight", extra="nnsight")
    if model.adapter_on:
        raise Refusal(
            "backend_absent",
            "NNsight does not run a model with an adapter here",
            fix="merge the adapter, or use --backend hf",
            fixable=True,
        )
    envoy = library.NNsight(model.model)

    def read(_: LanguageModel, batch: Batch, sites: Sequence[Site]) -> Activations:
        ordered = sorted(set(sites), key=lambda site: site.depth)
        points = [model.architecture.point(site) for site in ordered]
        places = [(reduce(_child, point.module.split("."), envoy), point.side) for point in points]
        inputs = batch.to(model.device).inputs()
        saved: list[Any] = []
        with torch.inference_mode(), envoy.trace(**inputs, use_cache=False) as tracer:
            for module, side in places:
                saved.append((module.input if side == "input" else module.output).save())
            tracer.stop()
        out: Activations = {}
        for site, point, value in zip(ordered, points, saved, strict=True):
            whole = value[0] if isinstance(value, tuple) else value
            out[site] = whole if point.columns is None else whole[..., point.columns]
        return {site: out[site] for site in sites}

    return read


def _child(envoy: Any, name: str) -> Any:
    return envoy[int(name)] if name.isdigit() else getattr(envoy, name)
