# SPDX-License-Identifier: AGPL-3.0-or-later
"""`vision-line desk` and `vision-line desk user` with their options; each hands over to its own module."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vision_line.cli.error_report import reported_errors
from vision_line.cli.shared_options import RECORDS, Record
from vision_line.commands import CarefulTyper, refuse_unheard
from vision_line.desk.users.sessions import Role

desk_cli = CarefulTyper(name="desk", no_args_is_help=False, rich_markup_mode="rich")
user_cli = CarefulTyper(name="user", help="Who may sign in to the desk, and as what.", no_args_is_help=True)
desk_cli.add_typer(user_cli)


Name = Annotated[str, typer.Argument(metavar="NAME", help="The user's name.")]
WithRole = Annotated[
    Role, typer.Option("--role", help="viewer and reviewer see the records; quality sees users and their changes too.")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file", metavar="FILE", help="Take the password from this file; - is standard input. Default: ask."
    ),
]


@desk_cli.callback(invoke_without_command=True)
def desk(
    context: typer.Context,
    record: Record = RECORDS,
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS", help="Address and port on this machine.")
    ] = "127.0.0.1:8080",
    names: Annotated[
        list[str],
        typer.Option(
            "--name", metavar="HOST", help="Name by which browsers call this address; may be given more than once."
        ),
    ] = [],  # noqa: B006 - typer copies it
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain (PEM) for https.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key (PEM).")] = None,
    behind_proxy: Annotated[
        list[str],
        typer.Option(
            "--behind-proxy",
            metavar="CIDR",
            help="Believe X-Forwarded-User of a proxy in this network; may be given more than once.",
        ),
    ] = [],  # noqa: B006 - typer copies it
    proxy_secret: Annotated[
        Path | None,
        typer.Option("--proxy-secret", metavar="FILE", help="File with the secret that the proxy sends."),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database",
            metavar="URL",
            help="Show all boxes of this central record (- for the environment's); --record is the desk's own then.",
        ),
    ] = None,
    boxes: Annotated[
        Path | None,
        typer.Option("--boxes", metavar="FILE", help="Where the boxes' own desks are (TOML), with --database."),
    ] = None,
    fleet_token: Annotated[
        Path | None,
        typer.Option(
            "--fleet-token",
            metavar="FILE",
            help="File with the plant's token: boxes give images by it, the desk of all boxes asks by it.",
        ),
    ] = None,
) -> None:
    """Show the records in a browser, also during a run: what was inspected, what was not, and what was found."""
    if context.invoked_subcommand is not None:
        return
    if database is not None and boxes is None:
        refuse_unheard(context, ("fleet_token",), "without --boxes: whom the desk of all boxes asks by it stands there")
    with reported_errors():
        from vision_line.cli.desk import DeskOptions, serve_desk

        options = DeskOptions(
            record,
            listen,
            tuple(names),
            tls_cert=tls_cert,
            tls_key=tls_key,
            behind_proxy=tuple(behind_proxy),
            proxy_secret=proxy_secret,
            database=database,
            boxes=boxes,
            fleet_token=fleet_token,
        )
        raise typer.Exit(serve_desk(options))


@user_cli.command("add")
def add_user(
    name: Name,
    role: WithRole,
    record: Record = RECORDS,
    password_file: PasswordFile = None,
    no_password: Annotated[
        bool, typer.Option("--no-password", help="The user comes through the proxy alone (--behind-proxy).")
    ] = False,
) -> None:
    """Add a user. The password is asked, or read from standard input; it is never an option."""
    with reported_errors():
        from vision_line.cli.desk_user import add

        add(record, name, role, password_file, no_password=no_password)


@user_cli.command("list")
def list_users(record: Record = RECORDS) -> None:
    """Show the users and their roles."""
    with reported_errors():
        from vision_line.cli.desk_user import show

        show(record)


@user_cli.command("remove")
def remove_user(name: Name, record: Record = RECORDS) -> None:
    """Remove a user, whose sessions end."""
    with reported_errors():
        from vision_line.cli.desk_user import remove

        remove(record, name)


@user_cli.command("role")
def change_role(name: Name, role: WithRole, record: Record = RECORDS) -> None:
    """Give a user another role, at once."""
    with reported_errors():
        from vision_line.cli.desk_user import set_role

        set_role(record, name, role)


@user_cli.command("password")
def change_password(name: Name, record: Record = RECORDS, password_file: PasswordFile = None) -> None:
    """Give a user another password, which ends their sessions."""
    with reported_errors():
        from vision_line.cli.desk_user import set_password

        set_password(record, name, password_file)
