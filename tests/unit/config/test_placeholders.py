# SPDX-License-Identifier: AGPL-3.0-or-later
"""Secrets in URLs: written so that any password works, and refused with a reason where they cannot be read."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision_line.config.load import fill_placeholders, load_config
from vision_line.errors import ConfigError

HEAD = 'config_version = 1\n[[stream]]\nname = "a"\nurl = '


@given(password=st.text(st.characters(codec="utf-8")))
def test_any_password_reaches_the_user_part_whole(password: str) -> None:
    """Host, port and path stay what they are, whatever the password holds."""
    url, problems = fill_placeholders("rtsp://{USER}:{PW}@cam.local:8554/x", {"USER": "u@me", "PW": password})
    parts = urlsplit(url)

    assert problems == []
    assert (parts.hostname, parts.port, parts.path) == ("cam.local", 8554, "/x")
    assert (unquote(parts.username or ""), unquote(parts.password or "")) == ("u@me", password)


@pytest.mark.parametrize(
    ("url", "secret", "filled"),
    [
        ("rtsp://{S}@host/x", "user:p/w", "rtsp://user:p%2Fw@host/x"),
        ("rtsp://u:{S}@host/x", "100%", "rtsp://u:100%25@host/x"),
        ("rtsp://host/x?user=u&password={S}", "a&b c", "rtsp://host/x?user=u&password=a%26b%20c"),
        ("rtsp://{S}/x", "host:8554", "rtsp://host:8554/x"),
        ("rtsp://host/{S}", "Channels/101?unicast", "rtsp://host/Channels/101?unicast"),
        ("{S}", "rtsp://u:p@host/x", "rtsp://u:p@host/x"),
        ("file:{S}/a=1.mp4", "/videos/ä b", "file:/videos/ä b/a=1.mp4"),
        ("rtsp://u:{S}@host/x", "\udcff", "rtsp://u:%FF@host/x"),
        ("rtsp://u:{S}@host/x", "", "rtsp://u:@host/x"),
    ],
)
def test_a_secret_is_written_as_its_place_wants(url: str, secret: str, filled: str) -> None:
    """Encoded in the user part and behind a `=`; a piece of the URL's own elsewhere."""
    assert fill_placeholders(url, {"S": secret}) == (filled, [])


def problem_of(folder: Path, url: str, environment: dict[str, str]) -> str:
    path = folder / "streams.toml"
    path.write_text(f'{HEAD}"{url}"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment=environment)
    (problem,) = caught.value.problems
    return problem.removeprefix(f"{path}:")


def test_a_secret_file_that_is_no_text_is_a_problem_of_its_url(tmp_path: Path) -> None:
    """One line that names the file and none of its bytes: a reload that meets it is refused, and not the end."""
    (tmp_path / "PW").write_bytes(b"\xff\xfes3cret")
    said = problem_of(tmp_path, "rtsp://u:{PW}@host/x", {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert said == f"4: stream[a].url: {{PW}}: {tmp_path}/PW: expected UTF-8 text"


def test_a_secret_file_that_cannot_be_read_is_a_problem_of_its_url(tmp_path: Path) -> None:
    """The system's reason is in the line."""
    file = tmp_path / "PW"
    file.symlink_to(file)  # in a circle: unreadable also to root, who may read everything
    said = problem_of(tmp_path, "rtsp://u:{PW}@host/x", {"CREDENTIALS_DIRECTORY": str(tmp_path)})

    assert said == f"4: stream[a].url: {{PW}}: {file} cannot be read: Too many levels of symbolic links"
