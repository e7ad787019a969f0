"""Reading and writing activations: the only module of the project that registers hooks.

1. a site is a point at the edge of a module (see `architectures`)
2. `capture` reads points and stops the forward at the moment the last of them has been read: the exception is raised by
   our own hook and caught here alone, so that no later module runs, and no head
3. `edit` replaces the tensor at a point by a function of it, for every forward inside the context
4. `hooked` does both, and counts the hooks of every module before and after
5. hooks are removed on success, error and Ctrl-C; modes and `requires_grad` flags are never touched

A point whose tensor other modules read later (`resid_mid`: norm and skip connection share it) is written in place.
Edits apply before reads at the same site, and only while their own view of a shared network runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor

from radiograph.core import Site, UserError
from radiograph.core.shapes import Float
from radiograph.models._batching import Batch
from radiograph.models._model import LanguageModel
from radiograph.models.architectures import Point

Edit = Callable[[Float[Tensor, "batch position width"]], Float[Tensor, "batch position width"]]
Activations = dict[Site, Float[Tensor, "batch position width"]]

_BATCH: ContextVar[Batch | None] = ContextVar("batch", default=None)


class _Stop(BaseException):
    """Every site was read. Not an Exception: a model's own `except Exception` must not swallow it."""


def capture(model: LanguageModel, batch: Batch, sites: Sequence[Site]) -> Activations:
    """Activations of one batch at some sites, from a forward that stops after the last of them.

    Runs under inference mode, without cache or logits: `.clone()` a result to differentiate through it. Rows of padding
    hold arbitrary values.

    Raises:
        UserError: unknown architecture or a site outside the model. Refusal: a site that it does not compute.
    """
    batch = batch.to(model.device)
    backbone = model.model.get_submodule(model.architecture.family.backbone)
    with torch.inference_mode(), model.session(), running(batch), _read(model, sites, stop=True) as (found, stop):
        if sites:
            try:
                backbone(**batch.inputs(), use_cache=False)
            except _Stop as reached:
                if reached is not stop:
                    raise
            finally:
                # Its frames hold every tensor of this forward and, in a circle, itself: a wait for the collector.
                stop.__traceback__ = None
    return {site: found[site] for site in sites}


@contextmanager
def reading(model: LanguageModel, sites: Sequence[Site]) -> Iterator[Activations]:
    """A dictionary that every forward inside the context fills anew; the graph is kept where gradients are on."""
    with model.lock, _read(model, sites, stop=False) as (found, _):
        yield found


@contextmanager
def edit(model: LanguageModel, edits: Mapping[Site, Edit]) -> Iterator[None]:
    """Replace the tensor at each site by `edits[site](tensor)` in every forward of `model` inside the context.

    The function gets [batch, position, width] (of one head for `attn_z.6.h3`) and returns the same shape and dtype;
    `current_batch()` tells it which rows and positions it sees. In cached generation it sees new positions only.

    Raises:
        UserError: a site outside the model, or (while running) an edit that changes shape or dtype.
    """
    with model.lock, ExitStack() as hooks:
        for site in sorted(edits, key=lambda s: (s.depth, s.head or 0)):
            point = model.architecture.point(site)
            _register(hooks, model, point, _writer(model, site, point, edits[site]))
        yield


@contextmanager
def hooked(
    model: LanguageModel, reads: Sequence[Site] = (), writes: Mapping[Site, Edit] | None = None, *, before: bool = False
) -> Iterator[Activations]:
    """`reading` and `edit` for every forward inside the context; reads see what was written, or with `before` did not.

    However the context is left, every module has as many hooks as it had.
    """
    counted = _counted(model)
    try:
        with model.lock, ExitStack() as stack:
            if before:
                found, _ = stack.enter_context(_read(model, reads, stop=False, copy=True))
                stack.enter_context(edit(model, writes or {}))
            else:
                stack.enter_context(edit(model, writes or {}))
                found, _ = stack.enter_context(_read(model, reads, stop=False))
            yield found
    finally:
        assert _counted(model) == counted, "a hook was left behind"


@contextmanager
def tracking(model: LanguageModel, modules: Sequence[str]) -> Iterator[dict[str, tuple[Tensor, Tensor]]]:
    """Input and output of linear modules in every forward inside the context, by path, in forward order.

    A gradient of what follows can be taken by each output: weights are frozen for the time, and an output that depends
    on nothing that has a gradient begins a graph of its own, so that nothing below the first of them is differentiated.
    """
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(path: str) -> Callable[..., Tensor | None]:
        def after(_: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            if not model.is_current:
                return None
            new = output if output.requires_grad else output.detach().requires_grad_()
            found[path] = args[0].detach(), new
            return None if new is output else new

        return after

    counted = _counted(model)
    frozen = [parameter for parameter in model.model.parameters() if parameter.requires_grad]
    try:
        with model.lock, ExitStack() as hooks:
            for parameter in frozen:
                parameter.requires_grad_(False)
            for path in modules:
                hooks.callback(model.model.get_submodule(path).register_forward_hook(keep(path)).remove)
            yield found
    finally:
        for parameter in frozen:
            parameter.requires_grad_(True)
        assert _counted(model) == counted, "a hook was left behind"


def _counted(model: LanguageModel) -> list[tuple[int, int]]:
    """Hooks on every module."""
    return [(len(m._forward_hooks), len(m._forward_pre_hooks)) for m in model.model.modules()]


@contextmanager
def running(batch: Batch) -> Iterator[None]:
    """Names the batch that a forward in this thread works on, for edits that treat rows differently."""
    token = _BATCH.set(batch)
    try:
        yield
    finally:
        _BATCH.reset(token)


def current_batch() -> Batch:
    """The batch that is running in this thread; only inside an edit."""
    batch = _BATCH.get()
    assert batch is not None, "no forward is running"
    return batch


@contextmanager
def _read(
    model: LanguageModel, sites: Sequence[Site], *, stop: bool, copy: bool = False
) -> Iterator[tuple[Activations, _Stop]]:
    """Fill a dictionary; `copy` where a tensor may be written in place after it was read."""
    found: Activations = {}
    wanted, signal = len(set(sites)), _Stop()

    def reader(site: Site, columns: slice | None, shared: bool) -> Callable[[Tensor], Tensor | None]:
        def read(value: Tensor) -> None:
            if model.is_current:
                part = value if columns is None else value[..., columns]
                found[site] = part.clone() if shared and copy else part
                if stop and len(found) == wanted:
                    raise signal

        return read

    with ExitStack() as hooks:
        for site in dict.fromkeys(sites):
            point = model.architecture.point(site)
            _register(hooks, model, point, reader(site, point.columns, point.shared))
        yield found, signal


def _writer(model: LanguageModel, site: Site, point: Point, change: Edit) -> Callable[[Tensor], Tensor | None]:
    def write(value: Tensor) -> Tensor | None:
        if not model.is_current:
            return None
        part = value if point.columns is None else value[..., point.columns]
        new = change(part.clone() if point.shared else part)
        if new.shape != part.shape or new.dtype != part.dtype:
            raise UserError(
                f"the edit at {site} changed the tensor's form",
                expected=f"{list(part.shape)} {part.dtype}",
                got=f"{list(new.shape)} {new.dtype}",
            )
        if point.shared:
            value.copy_(new)
            return None
        if point.columns is None:
            return new
        whole = value.clone()
        whole[..., point.columns] = new
        return whole

    return write


def _register(hooks: ExitStack, model: LanguageModel, point: Point, touch: Callable[[Tensor], Tensor | None]) -> None:
    """Call `touch` with the tensor at a point; what it returns, if anything, takes the tensor's place."""
    module = model.model.get_submodule(point.module)

    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        new = touch(args[0] if args else kwargs["hidden_states"])
        if new is None:
            return None
        return ((new, *args[1:]), kwargs) if args else (args, {**kwargs, "hidden_states": new})

    def after(_: Any, __: Any, output: Any) -> Any:
        many = isinstance(output, tuple)
        new = touch(output[0] if many else output)
        if new is None:
            return None
        return (new, *output[1:]) if many else new

    if point.side == "input":
        handle = module.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = module.register_forward_hook(after)
    hooks.callback(handle.remove)


@contextmanager
def products(
    network: torch.nn.Module,
    before: Mapping[str, Callable[[Tensor], Tensor | None]] | None = None,
    after: Mapping[str, Callable[[Tensor, Tensor], Tensor | None]] | None = None,
) -> Iterator[None]:
    """Functions around modules, by path, in every forward of `network` inside the context.

    `before` gets a module's input, `after` its input and output; what they return, if anything, takes the place of
    input or output. However the context is left, every module has as many hooks as it had.
    """

    def enters(touch: Callable[[Tensor], Tensor | None]) -> Callable[..., tuple[Tensor, ...] | None]:
        def hook(_: Any, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
            new = touch(args[0])
            return None if new is None else (new, *args[1:])

        return hook

    def leaves(touch: Callable[[Tensor, Tensor], Tensor | None]) -> Callable[..., Tensor | None]:
        def hook(_: Any, args: tuple[Any, ...], output: Tensor) -> Tensor | None:
            return touch(args[0], output)

        return hook

    with ExitStack() as hooks:
        for path, touch in (before or {}).items():
            hooks.callback(network.get_submodule(path).register_forward_pre_hook(enters(touch)).remove)
        for path, touch in (after or {}).items():
            hooks.callback(network.get_submodule(path).register_forward_hook(leaves(touch)).remove)
        yield
