# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names and passwords as cameras ask for them: Basic (RFC 7617) and Digest (RFC 2069, 2617, 7616).

Digest with MD5 is preferred where a camera offers several: that is what every other program uses there, so it is what
works. SHA-256 is used where it is asked for alone. Basic, which shows the password to whoever listens on an `rtsp://`
connection, comes last.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r'(?P<key>[\w-]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^\s,"]*))|(?P<scheme>[\w!#$%&\'*+.^`|~-]+)'
)
_HASHES: dict[str, str] = {"md5": "md5", "sha-256": "sha256", "sha-512-256": "sha512_256"}
_SESSION = "-sess"


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way in that a camera offers; keys are in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict)

    @property
    def algorithm(self) -> str:
        """The hash of a Digest, in lower case; MD5 where none is named."""
        return self.parameters.get("algorithm", "MD5").lower()

    @property
    def nonce(self) -> str:
        """The camera's number, used once."""
        return self.parameters.get("nonce", "")

    @property
    def is_stale(self) -> bool:
        """Whether the camera says that only the nonce was too old."""
        return self.parameters.get("stale", "").lower() == "true"

    @property
    def wants(self) -> str:
        """Name it for people; the camera chose the words."""
        return f"Digest {self.parameters.get('algorithm', 'MD5')[:40]}" if self.scheme == "digest" else self.scheme[:40]

    @property
    def rank(self) -> int | None:
        """Where it stands in our preference, from 0; None: not known here."""
        if self.scheme == "basic":
            return len(_HASHES)
        name = self.algorithm.removesuffix(_SESSION)
        qop = self.parameters.get("qop")
        if self.scheme != "digest" or _HASHES.get(name) not in hashlib.algorithms_available:
            return None
        return None if qop is not None and "auth" not in _words(qop) else list(_HASHES).index(name)


def parse_challenges(values: Iterable[str]) -> list[Challenge]:
    """Return the challenges of `WWW-Authenticate` headers, each of which may hold several."""
    return [challenge for value in values for challenge in _challenges(value)]


def _challenges(value: str) -> Iterator[Challenge]:
    scheme: str | None = None
    parameters: dict[str, str] = {}
    for found in _TOKEN.finditer(value):
        if found["scheme"] is None:
            plain = found["plain"] if found["quoted"] is None else re.sub(r"\\(.)", r"\1", found["quoted"])
            parameters[found["key"].lower()] = plain
            continue
        if scheme is not None:
            yield Challenge(scheme, parameters)
        scheme, parameters = found["scheme"].lower(), {}
    if scheme is not None:
        yield Challenge(scheme, parameters)


def choose_challenge(challenges: Iterable[Challenge]) -> Challenge | None:
    """Return the challenge to answer; None where all are of kinds that are not known here."""
    known = [(challenge.rank, challenge) for challenge in challenges]
    ranked = sorted(((rank, challenge) for rank, challenge in known if rank is not None), key=lambda pair: pair[0])
    return ranked[0][1] if ranked else None


@dataclass(slots=True)
class Credentials:
    """A camera's user name and password, and how many requests each nonce has seen."""

    user: str
    password: str = field(repr=False)
    make_nonce: Callable[[], str] = field(default=lambda: secrets.token_hex(8), repr=False)
    _nonce: str = field(default="", repr=False)
    _uses: int = 0

    def answer(self, challenge: Challenge, method: str, url: str) -> str:
        """Return the `Authorization` header for a request."""
        if challenge.scheme == "basic":
            return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        return self._digest(challenge, method, url)

    def _digest(self, challenge: Challenge, method: str, url: str) -> str:
        self._uses = self._uses + 1 if challenge.nonce == self._nonce else 1
        self._nonce = challenge.nonce
        given, client_nonce, count = challenge.parameters, self.make_nonce(), f"{self._uses:08x}"
        digest = _hasher(challenge.algorithm)
        secret = digest(f"{self.user}:{given.get('realm', '')}:{self.password}")
        if challenge.algorithm.endswith(_SESSION):
            secret = digest(f"{secret}:{challenge.nonce}:{client_nonce}")
        request = digest(f"{method}:{url}")
        fields = {"username": self.user, "realm": given.get("realm", ""), "nonce": challenge.nonce, "uri": url}
        plain = {"algorithm": given["algorithm"]} if "algorithm" in given else {}
        if "qop" in given:
            fields["response"] = digest(f"{secret}:{challenge.nonce}:{count}:{client_nonce}:auth:{request}")
            plain |= {"qop": "auth", "nc": count}
        else:
            fields["response"] = digest(f"{secret}:{challenge.nonce}:{request}")
        if "qop" in given or challenge.algorithm.endswith(_SESSION):
            fields["cnonce"] = client_nonce
        if "opaque" in given:
            fields["opaque"] = given["opaque"]
        quoted = [f'{name}="{_escaped(value)}"' for name, value in fields.items()]
        return "Digest " + ", ".join([*quoted, *(f"{name}={value}" for name, value in plain.items())])


def _hasher(algorithm: str) -> Callable[[str], str]:
    name = _HASHES[algorithm.removesuffix(_SESSION)]
    return lambda text: hashlib.new(name, text.encode(), usedforsecurity=False).hexdigest()


def _words(text: str) -> list[str]:
    return [word.strip().lower() for word in text.split(",")]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
