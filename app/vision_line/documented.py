# SPDX-License-Identifier: AGPL-3.0-or-later
"""Models whose JSON schema describes each key by the docstring below it."""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue
    from pydantic_core import CoreSchema


class Documented:
    """The first base of a model whose keys have docstrings.

    They are read from the source when a schema is asked for. Pydantic's own `use_attribute_docstrings` reads them when
    the class is made: that was a tenth of the processor time in which a command's modules are imported.
    """

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the model's schema with its docstrings as descriptions."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        for name, text in docstrings(cls).items():
            if name in properties:
                properties[name].setdefault("description", text)
        return schema


def docstrings(model: type[Documented]) -> dict[str, str]:
    """Return the docstrings of a model's keys, also of those that it inherits; none where there is no source."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Documented):
            found |= _in_module(base.__module__).get(base.__name__, {})
    return found


@cache
def _in_module(name: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of keys by the class that has them."""
    try:
        source = inspect.getsource(sys.modules[name])
    except OSError:
        return {}
    return {node.name: _of_keys(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)}


def _of_keys(definition: ast.ClassDef) -> dict[str, str]:
    return {
        key.target.id: inspect.cleandoc(said.value.value)
        for key, said in pairwise(definition.body)
        if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
        if isinstance(said, ast.Expr) and isinstance(said.value, ast.Constant) and isinstance(said.value.value, str)
    }
