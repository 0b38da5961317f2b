# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the database is, and that nobody is shown its password."""

from __future__ import annotations

import pytest

from vision_line.central.database_url import database_url, parsed
from vision_line.errors import ConfigError


def test_secrets_are_filled_in_and_never_shown() -> None:
    """A password may hold what a URL may not."""
    url = database_url("postgresql://box:{PASSWORD}@db.plant/records", {"PASSWORD": "p@ss/w#rd"})

    assert "p@ss/w#rd" in url.parameters.values()
    assert url.parameters["dbname"] == "records"
    assert str(url) == "postgresql://***@db.plant/records"
    assert "p@ss/w#rd" not in repr(url)
    assert url.without_secret("for p@ss/w#rd\n  no") == "for *** no"


def test_a_server_in_a_network_is_verified() -> None:
    """Unless the URL says otherwise; nobody is between two programs of one machine."""
    assert parsed("postgresql://a@db.plant/x").parameters["sslmode"] == "verify-full"
    assert parsed("postgresql://a@db.plant/x?sslmode=require").parameters["sslmode"] == "require"
    assert "sslmode" not in parsed("postgresql://a@127.0.0.1/x").parameters
    assert "sslmode" not in parsed("postgresql://a@[::1]:5433/x").parameters
    assert parsed("postgresql://localhost/x?hostaddr=10.0.0.1").parameters["sslmode"] == "verify-full"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "VISION_LINE_DATABASE"),
        ("mysql://a:secret9@b/c", "postgresql://"),
        ("postgresql://a:secret9@b", "name of a database"),
        ("postgresql://a:secret9@b:x/c", "host or port"),
        ("postgresql://a:{NOT_THERE}@b/c", "NOT_THERE"),
    ],
)
def test_what_is_no_database(text: str, said: str) -> None:
    """It is said what was expected, without what was found."""
    with pytest.raises(ConfigError, match=said) as caught:
        database_url(text, {})

    assert "secret9" not in str(caught.value)
