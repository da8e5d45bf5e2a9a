"""The structure of lib: imports lead down, without a circle, and only clients/ knows the clients apart."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from lib.clients.table import NAMES
from tests.support.paths import ROOT

LIB = ROOT / "lib"
FILES = sorted(LIB.rglob("*.py"))
# What knows many folders: the top level, where a run is put together.
TOP = (
    *(
        "cli",
        "run",
        "run_on_hosts",
        "hosts_setup",
        "host_process",
        "drive",
        "session",
        "prepare",
        "client_setup",
    ),
    *("first_pulls", "crew", "record", "finish", "trial_load", "host_trials"),
)
# The views and the commands besides the load test may use the top level.
MAY_USE_TOP = ("capacity", "doctor", "lab")
# Where the name of a client may stand: its own folder, and what only helps: texts, and the servers of the lab.
MAY_NAME_CLIENTS = ("clients", "lab")
CLIENT_NAMES = NAMES
# Parameters besides `self`; what travels together is a value.
MOST_PARAMETERS = 6
# Values that a class may get by position if it has more fields than this.
MOST_BY_POSITION = 4


def _module(path: Path) -> tuple[str, ...]:
    parts = path.relative_to(LIB).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


def _imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of lib that this file imports, also inside functions."""
    package = path.relative_to(LIB).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            module = (*base, *(node.module.split(".") if node.module else ()))
            for alias in node.names:
                inner = (*module, alias.name)
                is_module = (LIB.joinpath(*inner).with_suffix(".py")).exists()
                yield inner if is_module else module


IMPORTS: Mapping[tuple[str, ...], set[tuple[str, ...]]] = {
    _module(path): set(_imports(path)) for path in FILES
}


def _folder(module: tuple[str, ...]) -> str:
    """The folder of a module; of one at the top level, nothing."""
    return module[0] if len(module) > 1 else ""


def _circle(graph: Mapping[object, set[object]]) -> object:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return None


def test_it_sees_the_imports() -> None:
    assert ("http", "network") in IMPORTS["prepare",] | IMPORTS["run",]
    assert ("clients", "client") in IMPORTS["load", "pull"]
    assert _circle({"a": {"b"}, "b": {"a"}}) is not None


def test_no_circle_of_files() -> None:
    assert _circle({module: set(imports) for module, imports in IMPORTS.items()}) is None


def test_no_circle_of_folders() -> None:
    folders: dict[object, set[object]] = {}
    for module, imports in IMPORTS.items():
        if folder := _folder(module):
            folders.setdefault(folder, set()).update(_folder(each) for each in imports)
            folders[folder] -= {folder, ""}
    assert len(folders) > 10
    assert _circle(folders) is None


def test_nothing_below_uses_the_top_level() -> None:
    used = {
        (".".join(module), each[0])
        for module, imports in IMPORTS.items()
        if _folder(module) and _folder(module) not in MAY_USE_TOP
        for each in imports
        if len(each) == 1 and each[0] in TOP
    }
    assert used == set()


def _named(tree: ast.AST) -> Iterator[int]:
    """The lines in which code depends on the name of a client: a text that is nothing but the name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in CLIENT_NAMES:
            yield node.lineno


@pytest.mark.parametrize(
    "code", ["x == 'crane'", "{'skopeo': 1}", "match x:\n case 'ctr': pass", "f('crane')"]
)
def test_it_sees_a_name(code: str) -> None:
    assert list(_named(ast.parse(code)))


def test_nothing_outside_clients_depends_on_the_name_of_a_client() -> None:
    found = [
        f"{path.relative_to(LIB)}:{line}"
        for path in FILES
        if _module(path)[0:1] and _module(path)[0] not in MAY_NAME_CLIENTS
        for line in _named(ast.parse(path.read_text()))
    ]
    assert found == []


def test_nothing_outside_clients_imports_the_file_of_a_client() -> None:
    found = {
        ".".join(module)
        for module, imports in IMPORTS.items()
        for each in imports
        if each[:1] == ("clients",) and each[-1] in CLIENT_NAMES
    }
    assert found == set()


def test_messages_name_clients_by_the_table_alone() -> None:
    """A name inside a message would be wrong as soon as there is another client; help texts and docstrings may."""
    allowed = ("options/definitions.py", "http/address.py", "doctor/registries.py", "cli.py")
    word = re.compile(rf"\b({'|'.join(CLIENT_NAMES)})\b")
    found = []
    for path in FILES:
        where = str(path.relative_to(LIB))
        if where in allowed or (_module(path)[:1] and _module(path)[0] in MAY_NAME_CLIENTS):
            continue
        tree = ast.parse(path.read_text())
        texts = {
            id(node.body[0].value)
            for node in ast.walk(tree)
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
            and node.body
            and isinstance(node.body[0], ast.Expr)
        }
        found += [
            f"{where}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in texts
            if word.search(node.value)
        ]
    assert found == []


def _crowded(tree: ast.AST) -> Iterator[str]:
    """The functions with too many parameters. Those of a click command are its options."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            given = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
            names = [each.arg for each in given if each.arg not in ("self", "cls")]
            is_command = any("click" in ast.unparse(each) for each in node.decorator_list)
            if len(names) > MOST_PARAMETERS and not is_command:
                yield f"{node.name}({', '.join(names)})"


def test_it_counts_parameters() -> None:
    code = "def f(self, a, b, c, d, e, f): ...\ndef g(a, b, c, *, d, e, f, g): ...\n@click.command()\n"
    assert list(_crowded(ast.parse(f"{code}def h(a, b, c, d, e, f, g): ..."))) == ["g(a, b, c, d, e, f, g)"]


def test_no_function_has_many_parameters() -> None:
    found = [
        f"{path.relative_to(LIB)}: {each}" for path in FILES for each in _crowded(ast.parse(path.read_text()))
    ]
    assert found == []


def _records(tree: ast.AST) -> Iterator[str]:
    """The NamedTuples and dataclasses with so many fields that names tell them apart better than places."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            made_of = " ".join(map(ast.unparse, (*node.bases, *node.decorator_list)))
            fields = [
                each for each in node.body
                if isinstance(each, ast.AnnAssign) and "ClassVar" not in ast.unparse(each.annotation)
            ]  # fmt: skip
            if len(fields) > MOST_BY_POSITION and ("NamedTuple" in made_of or "dataclass" in made_of):
                yield node.name


def _by_position(tree: ast.AST, records: set[str]) -> Iterator[tuple[str, int]]:
    """How each of these classes is built with values by position: its name, and how many."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in records
            and node.args
        ):
            yield node.func.id, len(node.args)


def test_values_with_many_fields_are_built_by_keyword() -> None:
    trees = {str(path.relative_to(LIB)): ast.parse(path.read_text()) for path in FILES}
    records = {name for tree in trees.values() for name in _records(tree)}
    assert {"Event", "Pulled", "Sample", "Settings"} <= records
    found = [
        f"{where}: {name} with {count} values by position"
        for where, tree in trees.items()
        for name, count in _by_position(tree, records)
        if count > (0 if name in ("Event", "Pulled") else MOST_BY_POSITION)
    ]
    assert found == []
