# SPDX-License-Identifier: AGPL-3.0-or-later
"""The product says the types of its values, and calls with many arguments name them."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "compression").rglob("*.py")])

#: `Any` turns the checker off wherever its value goes. What is left: a frame as its decoder made it, ONNX attributes
#: and literals, arguments that are handed to typer, a column of a database's row. Lower it when one goes.
MOST_ANY = 33

#: A seventh argument has a name, so that no reader counts.
MOST_POSITIONAL = 6


class Found(NamedTuple):
    """What a module holds."""

    ours: frozenset[str]  # classes, and functions that take no arguments of any number
    anys: int
    long: tuple[tuple[int, str], ...]  # calls of a name with many arguments: in which line, and the name


@pytest.fixture(scope="module")
def modules() -> dict[str, Found]:
    """Return what each module holds; the syntax trees, millions of objects, are not kept."""
    return {str(path.relative_to(ROOT)): found_in(ast.parse(path.read_text(encoding="utf-8"))) for path in SOURCES}


def found_in(tree: ast.Module) -> Found:
    ours = frozenset(
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and node.args.vararg is None)
    )
    anys, long = 0, []
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            anys += node.id == "Any"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > MOST_POSITIONAL:
            long.append((node.lineno, node.func.id))
    return Found(ours, anys, tuple(long))


def test_any_stays_rare(modules: dict[str, Found]) -> None:
    """Elsewhere stand the libraries' classes, a small Protocol of what is called, a type variable, or `object`."""
    found = Counter({name: module.anys for name, module in modules.items()})

    assert found.total() <= MOST_ANY, found.most_common(12)
    assert found.total() > 0  # it is found where it stands


def test_arguments_have_names_where_there_are_many(modules: dict[str, Found]) -> None:
    """In calls of our own classes and functions, but for those that take any number of one kind."""
    ours = frozenset().union(*(module.ours for module in modules.values()))

    assert not [f"{name}:{line}: {of}" for name, module in modules.items() for line, of in module.long if of in ours]
