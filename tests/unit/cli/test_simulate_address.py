# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where simulated cameras are served."""

from __future__ import annotations

import pytest

from vision_line.cli.simulate import serve
from vision_line.errors import ConfigError


@pytest.mark.parametrize("host", ["", "here", "10.0.0.300", "0.0.0.0:8554"])
def test_what_is_no_address_is_refused_before_anything_is_drawn(host: str) -> None:
    with pytest.raises(ConfigError, match=r"--listen: expected an IP address such as 0\.0\.0\.0"):
        serve(1, (host, 8554), 1, None, None)
