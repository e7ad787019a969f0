"""The rules of the architecture as functions: each takes a package folder and returns what breaks the rule.

They read source files and import nothing, so that the same function judges the real package and a small tree that
breaks the rule on purpose. A file is parsed only where a word that the rule is about stands in it.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HOOKS = {
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_backward_hook",
    "register_module_forward_hook",
    "register_module_forward_pre_hook",
    "register_module_full_backward_hook",
    "register_hook",
    "register_post_accumulate_grad_hook",
}
HEAVY = {"torch", "transformers", "tokenizers", "peft", "safetensors", "polars", "matplotlib", "scipy", "pandas"}
LIGHT = ("core", "evidence", "store", "reports", "methods", "runtime", "surfaces")
CHILDREN = {"subprocess", "multiprocessing", "pty", "popen2"}
CHILD_CALLS = {"system", "popen", "fork", "forkpty", "posix_spawn", "posix_spawnp", "startfile"} | {
    f"{kind}{how}" for kind in ("spawn", "exec") for how in ("l", "le", "lp", "lpe", "v", "ve", "vp", "vpe")
}
ASYNC_CHILDREN = {"create_subprocess_exec", "create_subprocess_shell", "ProcessPoolExecutor"}
FILE_LINES, FUNCTION_LINES, FOLDER_FILES = 500, 80, 12


def sources(package: Path) -> list[Path]:
    return sorted(package.rglob("*.py"))


def floors(package: Path) -> list[str]:
    """The import-linter contracts of the project that the package lies in (`PROJECT/src/radiograph`)."""
    project = package.parent.parent
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache", "--config", str(project / "pyproject.toml")],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(package.parent), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return [] if done.returncode == 0 else (done.stdout + done.stderr).splitlines()


def naming(paths: list[Path], words: set[str]) -> list[Path]:
    """Those of the files in whose text one of the words stands."""
    wanted = re.compile(rf"\b(?:{'|'.join(map(re.escape, sorted(words)))})\b")
    return [path for path in paths if wanted.search(path.read_text(encoding="utf-8"))]


def hooks_outside_models(package: Path) -> list[str]:
    """Hooks are registered in `models/_hooks.py` alone."""
    return [
        _at(package, path, node, f"registers a hook ({node.attr})")
        for path in naming(sources(package), HOOKS)
        if path != package / "models" / "_hooks.py"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute) and node.attr in HOOKS
    ]


def prints(package: Path) -> list[str]:
    return [
        _at(package, path, node, "print")
        for path in naming(sources(package), {"print"})
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def heavy_at_the_top(package: Path) -> list[str]:
    """Floors that only read evidence, and those that must answer `--help` at once, import heavy packages lazily."""
    return [
        _at(package, path, node, f"imports {name} at its top")
        for floor in LIGHT
        for path in naming(sources(package / floor), HEAVY)
        for node, name in _imports(_tree(path), top=True)
        if name.split(".")[0] in HEAVY
    ]


def child_processes(package: Path) -> list[str]:
    """Other programs are started by `core/work/process.py` alone."""
    found: list[str] = []
    for path in naming(sources(package), CHILDREN | CHILD_CALLS | ASYNC_CHILDREN):
        if path == package / "core" / "work" / "process.py":
            continue
        tree = _tree(path)
        found += [
            _at(package, path, node, f"imports {name}")
            for node, name in _imports(tree)
            if {name.split(".")[0], name.split(".")[-1]} & (CHILDREN | ASYNC_CHILDREN)
            or (name.startswith("os.") and name[3:] in CHILD_CALLS)
        ]
        for node in ast.walk(tree):
            if not isinstance(node, ast.Attribute | ast.Name):
                continue
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            of_os = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "os"
            if name in ASYNC_CHILDREN or (of_os and name in CHILD_CALLS):
                found.append(_at(package, path, node, f"starts a process ({name})"))
    return found


def optional_packages(package: Path, optional: set[str]) -> list[str]:
    """Each optional package is imported in one module, or in the modules of one folder."""
    users: dict[str, set[Path]] = {}
    for path in naming(sources(package), optional):
        for _, name in _imports(_tree(path), strings=True):
            root = name.split(".")[0]
            if root in optional:
                users.setdefault(root, set()).add(path)
    return [
        f"{name} is imported in {', '.join(sorted(p.relative_to(package).as_posix() for p in paths))}"
        for name, paths in sorted(users.items())
        if len(paths) > 1 and len({p.parent for p in paths}) > 1
    ]


def siblings(package: Path) -> list[str]:
    """Verbs never import each other, nor detectors; private modules of their folders may be shared."""
    found: list[str] = []
    for floor in ("methods", "detectors"):
        root = package / floor
        public = {
            ".".join((package.name, floor, *p.relative_to(root).with_suffix("").parts))
            for p in sources(root)
            if not any(part.startswith("_") for part in p.relative_to(root).parts) and "measure" not in p.parts
        }
        for path in naming(sources(root), {"import"}):
            if path == root / "_catalogue.py":
                continue
            own = ".".join((package.name, *path.relative_to(package).with_suffix("").parts))
            for node, name in _imports(_tree(path), of=own):
                if any(name == other or name.startswith(other + ".") for other in public - {own}):
                    found.append(_at(package, path, node, f"imports its sibling {name}"))
    return found


def sizes(package: Path) -> list[str]:
    """Files of 500 lines, functions of 80, folders of a dozen files; verbs of one word all lie in `methods`."""
    found: list[str] = []
    for path in sources(package):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > FILE_LINES:
            found.append(f"{path.relative_to(package)}: {lines} lines, at most {FILE_LINES}")
        for node in ast.walk(_tree(path)) if lines > FUNCTION_LINES else ():
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES:
                    found.append(_at(package, path, node, f"{node.name}: {length} lines, at most {FUNCTION_LINES}"))
    for folder in {p.parent for p in sources(package)}:
        files = [p.name for p in folder.glob("*.py")]
        number = sum(name.startswith("_") for name in files) if folder == package / "methods" else len(files)
        if number > FOLDER_FILES:
            found.append(f"{folder.relative_to(package)}: {number} Python files, at most {FOLDER_FILES}")
    return found


def utils(package: Path) -> list[str]:
    return [
        f"{path.relative_to(package)}: a module without a subject"
        for path in sources(package)
        if {"util", "utils", "helpers", "misc", "common"} & {p.strip("_") for p in path.with_suffix("").parts}
    ]


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def _at(package: Path, path: Path, node: ast.AST, text: str) -> str:
    return f"{path.relative_to(package).as_posix()}:{getattr(node, 'lineno', 0)}: {text}"


def _imports(
    tree: ast.Module, *, top: bool = False, strings: bool = False, of: str = ""
) -> Iterator[tuple[ast.AST, str]]:
    """Every imported dotted name. `top` leaves out those inside functions and under TYPE_CHECKING, `strings` adds
    `import_module("x")` and `require("x", …)`, `of` is the module's own name, for relative imports.
    """
    for node in _outside_functions(tree) if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*of.split(".")[: -node.level], base]).rstrip(".")
            yield from ((node, f"{base}.{alias.name}") for alias in node.names)
        elif strings and isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "require", "find_spec", "__import__"):
                yield node, str(node.args[0].value)


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            continue
        yield child
        yield from _outside_functions(child)
