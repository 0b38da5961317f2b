# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is wrong with a command that came from outside, as plain sentences: the key, what was found, what was expected.

Pure. A text is quoted only where it could be an id: short and printable.
"""

from __future__ import annotations

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

#: What an id may be at most, and so many sentences are said.
_LONGEST, _MOST = 64, 4
_KINDS = {dict: "an object", list: "a list", bytes: "bytes"}


def command_problem(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what pydantic found wrong with a command; a field's description says what it expects."""
    found = error.errors(include_url=False, include_context=False)
    return "; ".join(_sentence(one, model) for one in found[:_MOST])


def _sentence(details: ErrorDetails, model: type[BaseModel]) -> str:
    keys = ", ".join(model.model_fields)
    if details["type"] == "json_invalid":
        return f"the message: found no JSON, expected an object with {keys}"
    if not details["loc"]:
        return f"the message: found {_shown(details['input'])}, expected an object with {keys}"
    key = str(details["loc"][0])
    if details["type"] == "extra_forbidden":
        return f"{key if _is_id(key) else 'a key'}: unknown key, expected {keys}"
    found = "nothing" if details["type"] == "missing" else _shown(details["input"])
    return f"{key}: found {found}, expected {model.model_fields[key].description}"


def _shown(value: object) -> str:
    if isinstance(value, str):
        if _is_id(value):
            return repr(value)
        return f"a text of {len(value)} characters" if len(value) > _LONGEST else "a text that cannot be printed"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        shown = str(value)
        return shown if len(shown) <= _LONGEST else "a number"
    return next((words for kind, words in _KINDS.items() if isinstance(value, kind)), "something else")


def _is_id(text: str) -> bool:
    return len(text) <= _LONGEST and text.isprintable()
