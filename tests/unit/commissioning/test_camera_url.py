# SPDX-License-Identifier: AGPL-3.0-or-later
"""A URL is taken apart into what may be written and secrets, names follow from it, and a run puts it together again."""

from __future__ import annotations

import tomllib
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from vision_line.commissioning.camera_names import camera_names
from vision_line.commissioning.camera_url import SecretBook, with_login, without_secrets
from vision_line.commissioning.streams_file import StreamEntry, streams_text, toml_string
from vision_line.config.load import checked_config
from vision_line.config.toml import TomlFile
from vision_line.errors import ConfigError

PRINTED = st.characters(blacklist_categories=["Cc", "Cs", "Zs", "Zl", "Zp"])
SECRETS = st.text(PRINTED, min_size=1, max_size=20)
PATHS = st.text("abc019/._-?&=%:;+ äß€\"'\\", max_size=30).map(lambda path: "/" + path)


def book() -> SecretBook:
    """Return a book for which every name is free."""
    return SecretBook(lambda _name, _value: False)


def loaded_url(written: str, secrets: dict[str, str]) -> str:
    """Return the URL that a run reads from a file with `written`."""
    text = streams_text("streams.toml", [StreamEntry("cam", written)], list(secrets), "secrets")
    config = checked_config(TomlFile(Path("streams.toml"), text, tomllib.loads(text)), secrets).config
    return config.stream[0].url.get_secret_value()


@given(user=SECRETS, password=SECRETS, path=PATHS)
def test_a_login_is_not_written_and_comes_back(user: str, password: str, path: str) -> None:
    """Whatever is in it; the rest of the URL stays as it is, to the byte."""
    notes = book()
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    written = without_secrets(f"rtsp://{login}@10.0.0.21:8554{path}", notes)

    assert written == f"rtsp://{{CAM_USER}}:{{CAM_PASSWORD}}@10.0.0.21:8554{path}"
    back = urlsplit(loaded_url(written, notes.values))
    assert (unquote(back.username or ""), unquote(back.password or "")) == (user, password)
    assert loaded_url(written, notes.values).endswith(f"@10.0.0.21:8554{path}")


@given(
    password=st.text(
        st.characters(blacklist_categories=["Cc", "Cs", "Zs", "Zl", "Zp"], blacklist_characters="@{}"), min_size=1
    )
)
def test_a_path_with_a_password_is_a_secret_as_a_whole(password: str) -> None:
    """Some cameras have it in the query, others in the path."""
    for path in (
        f"/live?user=admin&password={quote(password, safe='')}&channel=1",
        f"/user=admin_password={password}_x.sdp",
    ):
        notes = book()
        url = f"rtsp://10.0.0.5{path}"
        written = without_secrets(url, notes)

        assert written == "rtsp://10.0.0.5/{CAM_PATH}"
        assert loaded_url(written, notes.values) == url


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://10.0.0.21/stream1",
        "rtsps://{CAM_USER}:{CAM_PASSWORD}@cam.plant/1",
        "rtsp://{LOGIN}@cam/1",
        "rtsp://cam/live?user={A}&password={B}",
        "rtsp://[fe80::1]:554/x",
        "file:videos/monday.mp4",
    ],
)
def test_a_url_without_secrets_is_written_as_it_is(url: str) -> None:
    """Names that stand for secrets among them."""
    notes = book()

    assert without_secrets(url, notes) == url
    assert not notes.values


def test_a_half_may_be_a_name_already() -> None:
    """The other half becomes one."""
    notes = book()

    assert without_secrets("rtsp://admin:{MY_WORD}@cam/1", notes) == "rtsp://{CAM_USER}:{MY_WORD}@cam/1"
    assert notes.values == {"CAM_USER": "admin"}


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://admin:12/34@cam/1",  # the host would be `admin`, and a piece of the password its path
        "rtsp://admin:x{NAME}@cam/1",
        "rtsp://admin%3A1@cam/1",
        "rtsp://admin:%20x@cam/1",
        "rtsp://admin:a%0Ab@cam/1",
        "rtsp://cam/{DIR}?password=hunter2",
    ],
)
def test_a_url_that_cannot_be_taken_apart_is_refused(url: str) -> None:
    """Without it in the message."""
    with pytest.raises(ConfigError) as caught:
        without_secrets(url, book())
    assert "admin" not in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_the_same_login_has_one_name() -> None:
    """Another one gets the next number, and a name that means something else is left alone."""
    notes = SecretBook(lambda name, _value: name == "CAM_PASSWORD")
    written = [without_secrets(f"rtsp://{login}@h/1", notes) for login in ("a:b", "a:c", "a:b", "x")]

    assert [url.split("@")[0].removeprefix("rtsp://") for url in written] == [
        "{CAM2_USER}:{CAM2_PASSWORD}",
        "{CAM3_USER}:{CAM3_PASSWORD}",
        "{CAM2_USER}:{CAM2_PASSWORD}",
        "{CAM_USER}",
    ]


@given(user=SECRETS, password=SECRETS)
def test_a_login_is_put_into_a_url(user: str, password: str) -> None:
    """In place of the one that was there."""
    assume("{" not in user + password)
    parts = urlsplit(with_login("rtsp://old:one@10.0.0.1:554/a?b=1", user, password))

    assert (unquote(parts.username or ""), unquote(parts.password or "")) == (user, password)
    assert (parts.hostname, parts.port, parts.path, parts.query) == ("10.0.0.1", 554, "/a", "b=1")


@pytest.mark.parametrize(
    ("urls", "names"),
    [
        (["rtsp://10.0.0.21/stream1"], ["cam-10.0.0.21"]),
        (["rtsp://capper.plant.local:554/1"], ["capper"]),
        (["rtsp://10.0.0.5/ch1/", "rtsp://10.0.0.5/ch2?x=1"], ["cam-10.0.0.5-ch1", "cam-10.0.0.5-ch2"]),
        (["rtsp://10.0.0.5/1", "rtsp://10.0.0.5:555/1"], ["cam-10.0.0.5-1", "cam-10.0.0.5-1-2"]),
        (["rtsp://[fe80::1]/1"], ["cam-fe80-1"]),
        (["rtsp://{CAM_USER}:{CAM_PASSWORD}@10.0.0.5/{CAM_PATH}"], ["cam-10.0.0.5"]),
        (["file:videos/monday 1.mp4"], ["monday-1"]),
        (["rtsp://Cam/1", "rtsp://kamera-ü/1", "rtsp:///"], ["cam", "kamera", "cam-2"]),
    ],
)
def test_names_say_where_a_camera_is(urls: list[str], names: list[str]) -> None:
    """By its host; by its path and a number where that is not enough."""
    assert camera_names(urls) == names


@given(st.lists(st.text(max_size=80), max_size=12))
def test_names_are_always_valid_and_unique(ends: list[str]) -> None:
    """Whatever the URLs are, they are names that the configuration takes."""
    names = camera_names([f"rtsp://{end}" for end in ends])

    assert len({name.casefold() for name in names}) == len(ends)
    entries = [StreamEntry(name, "rtsp://h/1") for name in names]
    text = streams_text("streams.toml", [*entries, StreamEntry("other-x", "rtsp://h/1")], [], "")
    assert checked_config(TomlFile(Path("f"), text, tomllib.loads(text)), {})


@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_a_string_is_read_as_it_was_written(text: str) -> None:
    """All of Unicode, control characters too."""
    assert tomllib.loads(f"x = {toml_string(text)}") == {"x": text}


@given(st.lists(st.text(), max_size=4), st.text(), st.text())
def test_comments_stay_comments(remarks: list[str], file_name: str, folder: str) -> None:
    """What a camera or a person says in them begins no line and no key."""
    text = streams_text(file_name, [StreamEntry("cam", "rtsp://h/1", tuple(remarks))], ["CAM_USER"], folder)

    assert tomllib.loads(text) == {
        "config_version": 1,
        "defaults": {"dwell_s": 2.0},
        "stream": [{"name": "cam", "url": "rtsp://h/1"}],
    }
