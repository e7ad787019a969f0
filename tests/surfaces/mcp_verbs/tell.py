"""Load a model and give away everything that could name it, in every way there is."""

from __future__ import annotations

import sys
from typing import Any, ClassVar, Literal

from radiograph.core import Config as Base
from radiograph.core import Context, ModelRef, Refusal, UserError
from radiograph.evidence import Result


class Told(Result):
    SCHEMA: ClassVar[str] = "test.told/1"

    names: dict[str, Any]

    @property
    def headline(self) -> str:
        return " ".join(self.names)


class Config(Base):
    model: ModelRef
    how: Literal["result", "refusal", "fixable", "user_error", "crash"] = "result"


def run(config: Config, ctx: Context) -> Told:
    model = ctx.model(config.model, "model")
    names = [str(model.ref), str(model.folder), str(model.adapter_folder), *model.notes]
    text = " ".join(names)
    sys.stderr.write(f"a library says {text}\n")
    ctx.progress.say(f"progress says {text}")
    match config.how:
        case "refusal":
            raise Refusal("told", text, expected=text, got=text, fix=text)
        case "fixable":
            raise Refusal("told", text, fixable=True)
        case "user_error":
            raise UserError(text, expected=text, got=text, where=text, fix=text)
        case "crash":
            raise RuntimeError(text)
    return Told(names={name: [name] for name in names})
