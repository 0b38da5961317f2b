# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with a request, as one sentence: the parameter, what was found, what was expected. Pure.

What a library says of it is in its own words, of its own types, and changes with its version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pydantic_core import ErrorDetails

from vision_line.words import counted

_LONGEST_SHOWN = 80
#: What is expected where a value is of another kind.
_KINDS = {
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number with fewer digits",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_parsing": "a number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "bool_parsing": "true or false",
    "bool_type": "true or false",
    "string_type": "a text",
    "string_unicode": "a text in UTF-8",
    "list_type": "a list",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}
#: The same where a value is beyond a bound; with the bound.
_BOUNDS: Mapping[str, Callable[[Mapping[str, object]], str]] = {
    "greater_than_equal": lambda bound: f"at least {_plain(bound['ge'])}",
    "greater_than": lambda bound: f"more than {_plain(bound['gt'])}",
    "less_than_equal": lambda bound: f"at most {_plain(bound['le'])}",
    "less_than": lambda bound: f"less than {_plain(bound['lt'])}",
    "string_too_long": lambda bound: f"at most {bound['max_length']}",
    "string_too_short": lambda bound: f"at least {bound['min_length']}",
    "too_long": lambda bound: f"at most {bound['max_length']}",
    "too_short": lambda bound: f"at least {bound['min_length']}",
    "literal_error": lambda bound: f"one of {str(bound['expected']).replace(' or ', ', ')}",
    "enum": lambda bound: f"one of {str(bound['expected']).replace(' or ', ', ')}",
    "string_pattern_mismatch": lambda bound: f"what matches {bound['pattern']}",
}


def request_problem(errors: Iterable[ErrorDetails]) -> str:
    """Return the sentence; `errors` are as FastAPI found them, each with the way to its place."""
    return "; ".join(map(_sentence, errors))


def _sentence(error: ErrorDetails) -> str:
    kind, value = error["type"], error["input"]
    source, *inside = error["loc"]
    name = ".".join(map(str, inside)) or f"the {source}"
    if kind == "missing":
        return f"{name}: found nothing, expected a value"
    if kind == "json_invalid":
        return f"the {source}: found no JSON, expected an object"
    if kind == "extra_forbidden":
        return f"{name}: is unknown"
    if kind == "value_error":  # of a validator of ours: its words say what was found
        return f"{name}: {str(error['msg']).removeprefix('Value error, ')}"
    if kind in _BOUNDS:
        return f"{name}: found {_found(kind, value)}, expected {_BOUNDS[kind](error['ctx'])}"
    return f"{name}: found {_shown(value)}, expected {_KINDS.get(kind, 'another value')}"


def _plain(bound: object) -> str:
    return f"{bound:g}" if isinstance(bound, float) else str(bound)


def _found(kind: str, value: object) -> str:
    """Return what was found; of what is too long or too short, how long it is."""
    if kind.startswith("string_too_") and isinstance(value, str):
        return counted(len(value), "character")
    if kind.startswith("too_") and isinstance(value, list):
        return counted(len(value), "value")
    return _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = ascii(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."
