# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which keys a table may have, by the model that reads it; and which of them a misspelt one may have meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Literal, TypeGuard, Union, get_args, get_origin

from pydantic import BaseModel

#: So many names are listed where none is like what was found.
_MOST_LISTED = 20


def unknown_key(path: Sequence[str | int], model: type[BaseModel]) -> str:
    """Return what is said of a key at `path` that no table of `model` has: what it may have meant, or what there is."""
    table = _reached(model, path[:-1])
    if table is None:
        return "unknown key"
    name, is_top = str(path[-1]), len(path) == 1
    like = {_plain(known): known for known in table.model_fields}
    if found := get_close_matches(_plain(name), like, n=1):
        return f"unknown key, did you mean {_written(table, like[found[0]], is_top=is_top)}?"
    names = [_written(table, known, is_top=is_top) for known in table.model_fields]
    return "unknown key" if len(names) > _MOST_LISTED else f"unknown key, expected one of {', '.join(names)}"


def header_of(name: str, model: type[BaseModel]) -> str | None:
    """Return how the header of a table of the file is written, `[[lane]]`; None: it is no table of `model`."""
    field = model.model_fields.get(name)
    written = None if field is None else _header(name, field.annotation)
    return None if written == name else written


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _written(table: type[BaseModel], name: str, *, is_top: bool) -> str:
    return _header(name, table.model_fields[name].annotation) if is_top else name


def _header(name: str, annotation: object) -> str:
    """Return the header of a table, or the name of a key that is none."""
    for one in _choices(annotation):
        arguments = get_args(one)
        if get_origin(one) in {list, tuple} and any(map(_is_model, _choices(arguments[0]))):
            return f"[[{name}]]"
        if get_origin(one) is dict and any(map(_is_model, _choices(arguments[1]))):
            return f"[{name}.NAME]"
        if _is_model(one):
            return f"[{name}]"
    return name


def _reached(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    """Return the model of the table at `path`, None where there is none."""
    found: list[object] = [model]
    for part in path:
        found = [one for choice in found for inner in _choices(choice) for one in _inside(inner, part)]
    return next((one for choice in found for one in _choices(choice) if _is_model(one)), None)


def _inside(annotation: object, part: str | int) -> list[object]:
    """Return what may stand at `part` of a value; a type of several is one of their names in pydantic's path."""
    if _is_model(annotation):
        fields = annotation.model_fields
        if part in fields:
            return [fields[part].annotation]
        kind = fields.get("type")
        return [annotation] if kind is not None and part in get_args(kind.annotation) else []
    if get_origin(annotation) in {list, tuple}:
        return [get_args(annotation)[0]]
    return [get_args(annotation)[1]] if get_origin(annotation) is dict else []


def _choices(annotation: object) -> list[object]:
    """Return what a value may be: the members of a union, without what is said of them."""
    if get_origin(annotation) is Annotated:
        return _choices(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return [one for member in get_args(annotation) for one in _choices(member)]
    return [] if get_origin(annotation) is Literal else [annotation]


def _is_model(annotation: object) -> TypeGuard[type[BaseModel]]:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
