"""The shape of the code: imports point down, the model touches nothing, modules stay small."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import NamedTuple

import pytest

import torsync

ROOT = Path(torsync.__file__).parent
LAYERS = ["cli", "service", "publish", "subscribe", "swarm", "disk", "model"]
MAX_LINES = 400

PURE = {
    *(
        "__future__",
        "abc",
        "array",
        "base64",
        "bisect",
        "calendar",
        "collections",
        "collections.abc",
    ),
    *("dataclasses", "difflib", "enum", "fnmatch", "functools", "hashlib", "heapq", "ipaddress"),
    "itertools",
    "json",
    *("math", "operator", "posixpath", "re", "string", "struct", "sys", "typing", "unicodedata"),
    *("urllib.parse", "warnings", "tomllib", "tomli", "tomli_w", "bencode2", "pathspec"),
    "pathspec.patterns.gitignore.spec",
}
PATH_VALUES = {"model/config_parse.py", "model/config_checks.py", "model/config_values.py"}
"""Where paths of the configuration are taken apart, without looking at the disk."""
PURE_PATH_NAMES = {
    *("os.path.isabs", "os.path.join", "os.path.normpath", "os.path.normcase"),
    *("os.path.basename", "os.path.dirname", "os.path.commonpath"),
    *("os.sep", "os.altsep", "os.fspath"),
}
IMPURE_METHODS = {
    *("absolute", "chmod", "cwd", "exists", "expanduser", "glob", "hardlink_to", "home", "is_dir"),
    *("is_file", "is_mount", "is_symlink", "iterdir", "lstat", "mkdir", "open", "owner"),
    *("read_bytes", "read_text", "readlink", "rename", "resolve", "rglob", "rmdir", "samefile"),
    *("stat", "symlink_to", "touch", "unlink", "write_bytes", "write_text"),
}
IMPURE_FUNCTIONS = {"open", "print", "input", "exec", "eval", "__import__"}
LIBTORRENT = {"swarm"}


class Import(NamedTuple):
    """One imported module; ``typing_only`` if it is imported for annotations."""

    line: int
    name: str
    typing_only: bool


def modules() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py"))


MODULES = modules()
MODEL = [module for module in MODULES if module.startswith("model/")]


def top_of(module: str) -> str:
    return module.partition("/")[0]


def parsed(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text(encoding="utf-8"), module)


def imports_of(tree: ast.Module) -> list[Import]:
    """Every import, also those in functions; ``from torsync import x`` counts as torsync.x."""
    typing_only = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: a relative import"
            names = [node.module or ""]
            if node.module in {"torsync", "os"}:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
        found += [Import(node.lineno, name, node in typing_only) for name in names]
    return found


def layer_of(module_name: str) -> str:
    """The layer that ``torsync.layer.module`` lies in; "" for torsync's own names."""
    second = f"{module_name}.".split(".")[1]
    return second if second in LAYERS or second == "__main__" else ""


def upward(layer: str, tree: ast.Module) -> list[str]:
    """The imports that point up from a module in ``layer``."""
    return [
        f"line {line}: {name}"
        for line, name, _typing_only in imports_of(tree)
        if name.split(".")[0] == "torsync"
        and (target := layer_of(name))
        and (target not in LAYERS or LAYERS.index(target) < LAYERS.index(layer))
    ]


def impure(tree: ast.Module, *, paths: bool) -> list[str]:
    """What a module of the model may not have: input, output, clocks.

    Args:
        tree: the module.
        paths: whether it may take paths apart.
    """
    allowed = PURE | ({"os", "pathlib"} if paths else set())
    found = [
        f"line {line}: import {name}"
        for line, name, typing_only in imports_of(tree)
        if not typing_only and name not in allowed and not name.startswith("torsync.model.")
    ]
    inner = {node.value for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node not in inner:
            text = ast.unparse(node)
            is_os = text.startswith("os.") and text not in PURE_PATH_NAMES
            if is_os or node.attr in IMPURE_METHODS:
                found.append(f"line {node.lineno}: {text}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_FUNCTIONS:
            found.append(f"line {node.lineno}: {ast.unparse(node.func)}()")
    return found


def test_the_packages_are_the_layers() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == set(LAYERS)
    assert {module for module in MODULES if "/" not in module} == {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("module", [module for module in MODULES if "/" in module])
def test_imports_point_down(module: str) -> None:
    assert upward(top_of(module), parsed(module)) == []


def test_the_package_itself_imports_nothing() -> None:
    assert [
        found for found in imports_of(parsed("__init__.py")) if found.name != "__future__"
    ] == []


@pytest.mark.parametrize("module", MODULES)
def test_only_the_swarm_and_the_author_import_libtorrent(module: str) -> None:
    if module not in LIBTORRENT and top_of(module) not in LIBTORRENT:
        names = {name.split(".")[0] for _line, name, _typing_only in imports_of(parsed(module))}
        assert "libtorrent" not in names


@pytest.mark.parametrize("module", MODEL)
def test_the_model_is_pure(module: str) -> None:
    assert impure(parsed(module), paths=module in PATH_VALUES) == []


@pytest.mark.parametrize("module", MODULES)
def test_modules_are_short(module: str) -> None:
    assert len((ROOT / module).read_text(encoding="utf-8").splitlines()) <= MAX_LINES


class TestTheRulesThemselves:
    """The rules find what they are there to find."""

    @pytest.mark.parametrize(
        ("layer", "source"),
        [
            ("model", "from torsync.swarm.session import SwarmPool"),
            ("model", "def f():\n    import torsync.disk.tree"),
            ("swarm", "from torsync import subscribe"),
            ("subscribe", "if TYPE_CHECKING:\n    from torsync.publish.author import x"),
            ("publish", "from torsync.service.supervisor import Supervisor"),
            ("service", "from torsync.cli.main import main"),
            ("cli", "import torsync.__main__"),
        ],
    )
    def test_an_import_upwards_is_found(self, layer: str, source: str) -> None:
        assert len(upward(layer, ast.parse(source))) == 1

    @pytest.mark.parametrize(
        ("layer", "source"),
        [
            ("publish", "from torsync.disk.tree import Tree"),
            ("publish", "from torsync.swarm.session import SwarmPool"),
            ("model", "from torsync.model import plan"),
            ("model", "from torsync import __version__"),
            ("cli", "import torsync.service"),
        ],
    )
    def test_an_import_downwards_is_fine(self, layer: str, source: str) -> None:
        assert upward(layer, ast.parse(source)) == []

    @pytest.mark.parametrize(
        "source",
        [
            *("import time", "import socket", "import os", "from os import path", "import pathlib"),
            *("from sqlite3 import connect", "import libtorrent as lt", "import requests"),
            "def f():\n    from pathlib import Path",
            "if x:\n    import time\nelse:\n    import json",
            *("open('x')", "print('x')", "path.exists()", "path.read_text()"),
        ],
    )
    def test_what_is_impure_is_found(self, source: str) -> None:
        assert len(impure(ast.parse(source), paths=False)) == 1

    @pytest.mark.parametrize(
        "source", ["os.stat(x)", "os.path.exists(x)", "os.environ['HOME']", "Path(x).resolve()"]
    )
    def test_taking_paths_apart_does_not_look_at_the_disk(self, source: str) -> None:
        assert len(impure(ast.parse(f"import os\n{source}"), paths=True)) == 1
        assert impure(ast.parse("import os\nos.path.isabs(Path(x).name)"), paths=True) == []

    def test_imports_for_annotations_are_fine_in_the_model(self) -> None:
        source = "if TYPE_CHECKING:\n    from pathlib import Path\n"
        assert impure(ast.parse(source), paths=False) == []
