# SPDX-License-Identifier: AGPL-3.0-or-later
"""No password is shown: not by the URL's display form, not by a log line, not by the error about a broken URL."""

from __future__ import annotations

import io
import logging
import re
import traceback
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import ValidationError

from vision_line.config.load import load_config
from vision_line.config.models import Stream
from vision_line.errors import ConfigError, mask_credentials
from vision_line.screens.logs import logging_to_stream

HEAD = 'config_version = 1\n[[stream]]\nname = "a"\nurl = '

#: Of every URL `k7et` is a piece of the password.
VALID_URLS = (
    "rtsp://user:sek7et@host/x",
    "rtsp://user:se'k7et@host/x",
    'rtsp://user:se"k7et@host/x',
    "rtsp://user:se k7et@host/x",
    "rtsp://user:se@k7et@host/x",
    "rtsp://host/live?user=admin&password=sek7et",
    "rtsp://host/live?channel=1&USERNAME=admin&PWD=se'k7et",
    "rtsp://host/live?password=se k7et",
    "rtsp://host/user=admin&password=sek7et&channel=1",
    "rtsp://host/user=admin_password=sek7et_channel=1_stream=0.sdp",
)
BROKEN_URLS = (
    "rtsp:/user:sek7et@host/x",
    "rtsp:user:sek7et@host/x",
    "user:sek7et@host/x",
    "us er:se k7et@host/x",
    "http://user:se'k7et@host/x",
    "sek7et",
    "rtsp://user:se/k7et@host/x",
    "rtsp://user:se#k7et@host/x",
    "rtsp://user:12345678k7et",
    "rtsp://user:12/sek7et@host/x",
    "rtsp://user:se\\nk7et@host/x",
)


@pytest.mark.parametrize("url", VALID_URLS)
def test_a_valid_url_is_shown_without_its_secrets(url: str) -> None:
    """What is shown and stored has the place and not the password, and stays so in a line of the log."""
    stream = Stream.model_validate({"name": "a", "url": url})
    log = io.StringIO()
    with logging_to_stream(log):
        logging.getLogger("vision_line.test").info("camera %s: added, %s", stream.name, stream.display_url)
        logging.getLogger("vision_line.test").info("camera %s: added, %s", stream.name, url.replace(" ", "%20"))

    assert stream.display_url.startswith(("rtsp://***@host/x", "rtsp://host/"))
    assert "k7et" not in stream.display_url + log.getvalue() + repr(stream) + stream.settings_json


@pytest.mark.parametrize("url", BROKEN_URLS)
def test_a_broken_url_is_never_shown(url: str, tmp_path: Path) -> None:
    """Nobody can say where in it the password is; neither message nor traceback quotes it."""
    path = tmp_path / "streams.toml"
    path.write_text(f'{HEAD}"{url}"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(path, environment={})

    shown = "".join(traceback.format_exception(caught.value))
    assert "stream[a].url: expected" in shown
    assert "k7et" not in shown
    with pytest.raises(ValidationError) as invalid:
        Stream.model_validate({"name": "a", "url": url.replace("\\n", "\n")})
    assert "k7et" not in "".join(traceback.format_exception(invalid.value))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("refused by rtsp://u:p@10.0.3.7/x, see rtsps://[fe80::1]:322/y", None),
        ("rtsp://u:p@a/x and http://u:p@b/y\nrtsp://c/z", "rtsp://***@a/x and http://***@b/y\nrtsp://c/z"),
        ("'rtsp://u:se cr'et@host/x' timed out", "'rtsp://***@host/x' timed out"),
        ("rtsp://host/x: 25 frames @ 640x360, 12:30", "rtsp://host/x: 25 frames @ 640x360, 12:30"),
        ("found 'user:pass@host/x'", "found ***@host/x'"),
        ("answers 404 No stream /live?user=admin&password=geheim", "answers 404 No stream /live?user=***&password=***"),
        ("file:///videos/line@2.mp4 and file:a@b.mp4", "file:///videos/line@2.mp4 and file:a@b.mp4"),
        ("expected rtsp://, rtsps:// or file:, found http://", "expected rtsp://, rtsps:// or file:, found http://"),
        ("stream[a].thresholds.open: found 3", "stream[a].thresholds.open: found 3"),
    ],
)
def test_only_what_may_be_secret_goes(text: str, masked: str | None) -> None:
    """Places, files and plain text stay readable."""
    expected = text.replace("u:p@", "***@") if masked is None else masked

    assert mask_credentials(text) == expected


@given(user=st.text("ab1é", min_size=1), password=st.text(st.characters(exclude_characters="\n", codec="utf-8")))
def test_no_password_survives(user: str, password: str) -> None:
    """Whatever it holds, save the beginning of another URL, which would hide where the first one ends."""
    assume(not re.search("://|rtsps?:", password, re.IGNORECASE))
    text = mask_credentials(f"opening rtsp://{user}:{password}@host/x failed")

    assert text == "opening rtsp://***@host/x failed"
