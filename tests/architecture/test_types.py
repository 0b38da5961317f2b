# SPDX-License-Identifier: AGPL-3.0-or-later
"""The product says the types of its values, and calls with many arguments name them."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "app").rglob("*.py"), *(ROOT / "compression").rglob("*.py")])

#: `Any` turns the checker off wherever its value goes. What is left: a frame as its decoder made it, ONNX attributes
#: and literals, arguments that are handed to typer, a column of a database's row. Lower it when one goes.
MOST_ANY = 33

#: A seventh argument has a name, so that no reader counts.
MOST_POSITIONAL = 6


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Return the syntax tree of each module: millions of objects, which only these tests keep."""
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}


def test_any_stays_rare(trees: dict[str, ast.Module]) -> None:
    """Elsewhere stand the libraries' classes, a small Protocol of what is called, a type variable, or `object`."""
    found = Counter(
        name
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and node.id == "Any"
    )

    assert found.total() <= MOST_ANY, found.most_common(12)


def test_arguments_have_names_where_there_are_many(trees: dict[str, ast.Module]) -> None:
    """In calls of our own classes and functions, but for those that take any number of one kind."""
    ours = {
        node.name
        for tree in trees.values()
        for node in tree.body
        if isinstance(node, ast.ClassDef) or (isinstance(node, ast.FunctionDef) and node.args.vararg is None)
    }
    long = [
        f"{name}:{node.lineno}: {node.func.id}"
        for name, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ours
        if len(node.args) > MOST_POSITIONAL
    ]

    assert not long
