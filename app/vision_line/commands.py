# SPDX-License-Identifier: AGPL-3.0-or-later
"""Command lines as both programs have them: an option that would not be heard is refused, a flag shows no value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup, TyperOption

_Parameter = TypeVar("_Parameter")


class CarefulTyper(typer.Typer):
    """A typer application whose options are given once, save flags and those that take several values.

    The options of a group are for its own work: before one of its commands they are refused.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(cls=_CarefulGroup, **settings)

    def command(self, *arguments: Any, **settings: Any) -> Callable[[Any], Any]:
        """Add a command, as typer's does."""
        return super().command(*arguments, cls=_CarefulCommand, **settings)


class _CarefulCommand(TyperCommand):
    """A command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as every command does, after a look at what is repeated."""
        _refuse_repeated(self, ctx, args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a value's name."""
        return _flags_bare(super().get_params(ctx))


class _CarefulGroup(TyperGroup):
    """A group of commands, with what it does without one."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as every group does, after a look at what is repeated, and at what stands before a command."""
        _refuse_repeated(self, ctx, args)
        if not ctx.resilient_parsing:  # the shell's Tab key
            _refuse_before_command(self, ctx, args)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, flags without a value's name."""
        return _flags_bare(super().get_params(ctx))


def refuse_unheard(context: typer.Context, options: Collection[str], said: str) -> None:
    """Refuse the first of `options`, by their parameters' names, that was given: beside the others it does nothing.

    Raises:
        typer.BadParameter: one was (exit code 2); `said` is why it is not heard.
    """
    for parameter in context.command.params:
        source = context.get_parameter_source(str(parameter.name))
        if parameter.name in options and source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(f"is not heard {said}", ctx=context, param_hint=f"'{parameter.opts[-1]}'")


def _flags_bare(parameters: list[_Parameter]) -> list[_Parameter]:
    """Let help say `--headless`, and not `--headless <bool>`: a flag takes no value."""
    for parameter in parameters:
        if isinstance(parameter, TyperOption) and parameter.is_flag:
            parameter.metavar = ""
    return parameters


def _refuse_repeated(command: TyperCommand | TyperGroup, context: Any, arguments: list[str]) -> None:
    """Raise the usage error (exit code 2) that names what is given twice."""
    _, _, order = command.make_parser(context).parse_args(args=list(arguments))
    for parameter, times in Counter(order).items():
        if times > 1 and isinstance(parameter, TyperOption) and not (parameter.multiple or parameter.is_flag):
            raise typer.BadParameter(f"given {times} times, expected once", ctx=context, param=parameter)


def _refuse_before_command(group: TyperGroup, context: typer.Context, arguments: list[str]) -> None:
    """Raise the usage error (exit code 2) that names the first option which the command behind it would not hear."""
    _, rest, order = group.make_parser(context).parse_args(args=list(arguments))
    # Eager ones, such as --version, do their work all the same.
    ignored = [parameter for parameter in order if isinstance(parameter, TyperOption) and not parameter.is_eager]
    if ignored and rest and rest[0] in group.commands:
        command = f"{context.command_path} {rest[0]}"
        said = f"is not heard before a command, expected the options of {command} behind it"
        raise typer.BadParameter(said, ctx=context, param=ignored[0])
