"""Shapes are checked where a signature states them: `Float[Tensor, "token feature"]`, or a name given to such.

Plain types are left to pyright. So are functions inside functions: each call of the outer one would compile the checks
of the inner one again.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

import jaxtyping
from beartype import beartype as checked
from jaxtyping import _import_hook, install_import_hook
from jaxtyping._import_hook import ImportHookManager

__all__ = ["checked", "install"]

SHAPES = {name for name, kind in vars(jaxtyping).items() if hasattr(kind, "dtypes")}
ALIASES = {"Activations"}
"""Names given to shapes in one module and imported by others."""


def install(*packages: str) -> ImportHookManager:
    """Check the modules of these packages from here on; none of them may have been imported."""
    _import_hook.JaxtypingTransformer = Stated
    return install_import_hook(packages, f"{__name__}.checked")


class Stated(_import_hook.JaxtypingTransformer):
    """Decorates the functions, methods and dataclasses of a module that state a shape."""

    def visit_Module(self, node: ast.Module) -> ast.Module:
        self.names = SHAPES | ALIASES
        for line in node.body:
            if isinstance(line, ast.Assign) and isinstance(line.targets[0], ast.Name) and self.states([line.value]):
                self.names.add(line.targets[0].id)
        return super().visit_Module(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.ClassDef:
        if self.states(line.annotation for line in node.body if isinstance(line, ast.AnnAssign)):
            return super().visit_ClassDef(node)
        self.generic_visit(node)
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
        hints = (line.annotation for line in ast.walk(node.args) if isinstance(line, ast.arg))
        if self.states([*hints, node.returns]):
            body, node.body = node.body, []
            super().visit_FunctionDef(node)
            node.body = body
        return node

    def states(self, hints: Iterable[ast.expr | None]) -> bool:
        parts = (part for hint in hints if hint is not None for part in ast.walk(hint))
        return any(isinstance(part, ast.Name) and part.id in self.names for part in parts)
