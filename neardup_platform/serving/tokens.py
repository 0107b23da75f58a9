"""Access tokens of the HTTP servers, stored as digests in `NEARDUP_HOME/tokens.json`.

A token is generated from 32 random bytes, so its plain SHA-256 is stored. Slow, salted hashes protect passwords, which
people choose from a space small enough to search; 2**256 values cannot be searched at any speed, and equal tokens,
which a salt would hide, do not occur. A slow hash would only let strangers use up this server's processor. An operator
chooses `api.token`, so it has a minimum length; it is hashed when it is read.
"""

import hashlib
import hmac
import ipaddress
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import SecretStr

from neardup_platform.errors import Conflict, NotFound, PermanentError, SetupError
from neardup_platform.files import write_json

FILE_NAME = "tokens.json"
PREFIX = "neardup_"
MAX_NAME = 64
# Every request compares with every digest; the bound protects against a script that creates tokens in a loop.
MAX_TOKENS = 1_000


class Scope(StrEnum):
    """What a token allows; `admin` includes the others, no other scope includes another one."""

    READ = "read"
    SEARCH = "search"
    CORRECT = "correct"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Token:
    """What is stored of a token.

    Attributes:
        digest: SHA-256 of its text, hexadecimal.
    """

    name: str
    scopes: tuple[Scope, ...]
    digest: str
    created_ms: int = 0

    def allows(self, scope: Scope) -> bool:
        """Whether the token allows calls that need `scope`."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


def digest_of(text: str) -> str:
    """The digest that is stored of a token's text."""
    return hashlib.sha256(text.encode()).hexdigest()


def setting_token(name: str, secret: SecretStr | None) -> tuple[Token, ...]:
    """The admin token of a setting, if it is set."""
    return () if secret is None else (Token(name, (Scope.ADMIN,), digest_of(secret.get_secret_value())),)


def holder(tokens: Iterable[Token], text: str) -> Token | None:
    """The token with this text; all are compared in constant time, so the duration reveals nothing."""
    digest, found = digest_of(text), None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest):
            found = token
    return found


def is_loopback(host: str) -> bool:
    """Whether a name or address is loopback, reachable from this machine only."""
    if host.lower().removesuffix(".") == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


class TokenFile:
    """The named tokens of a home, in a file that only its owner can read (mode 0600)."""

    def __init__(self, home: Path) -> None:
        self.path = home / FILE_NAME

    def read(self) -> tuple[Token, ...]:
        """All tokens, in the order of their creation.

        Raises:
            SetupError: the file is damaged.
        """
        try:
            stored = json.loads(self.path.read_text())
            return tuple(
                Token(
                    str(t["name"]), tuple(map(Scope, t["scopes"])), _checked_digest(t["digest"]), int(t["created_ms"])
                )
                for t in stored["tokens"]
            )
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SetupError(
                f"{self.path} cannot be used ({error}): restore it, or delete it and create the tokens again"
            ) from error

    def create(self, name: str, scopes: Iterable[Scope], now_ms: int | None = None) -> str:
        """Create a token; return its text, which is not stored.

        Raises:
            Conflict: a token of that name exists.
            PermanentError: the name or the scopes are invalid, or there are too many tokens.
        """
        wanted = tuple(scope for scope in Scope if scope in set(scopes))
        if not (0 < len(name) <= MAX_NAME and name.isprintable() and name == name.strip()):
            raise PermanentError(f"token name {name[:80]!r}: 1 to {MAX_NAME} printable characters are expected")
        if not wanted:
            raise PermanentError(f"a token needs at least one scope of {', '.join(Scope)}")
        known = self.read()
        if any(token.name == name for token in known):
            raise Conflict(f"a token {name!r} exists: `neardup token revoke {name}` first, or use another name")
        if len(known) >= MAX_TOKENS:
            raise PermanentError(f"{self.path} has {len(known)} tokens, at most {MAX_TOKENS}: revoke some")
        text = PREFIX + secrets.token_urlsafe(32)
        created_ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
        self._write((*known, Token(name, wanted, digest_of(text), created_ms)))
        return text

    def revoke(self, name: str) -> Token:
        """Revoke a token; running servers refuse it within a second.

        Raises:
            NotFound: there is no token of that name.
        """
        known = self.read()
        revoked = next((token for token in known if token.name == name), None)
        if revoked is None:
            raise NotFound(f"there is no token {name[:80]!r}: `neardup token list` lists them")
        self._write(tuple(token for token in known if token is not revoked))
        return revoked

    def _write(self, tokens: tuple[Token, ...]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_json(self.path, {"tokens": [asdict(token) for token in tokens]})


class Tokens:
    """The tokens that a server accepts: those in the file now, and the one of a setting."""

    def __init__(self, home: Path, fixed: tuple[Token, ...] = ()) -> None:
        self._file = TokenFile(home)
        self._fixed = fixed
        self._stamp: tuple[int, ...] | None = None
        self._named: tuple[Token, ...] = ()

    def all(self) -> tuple[Token, ...]:
        """All tokens; the file is read again after a change.

        Raises:
            SetupError: the file is damaged.
        """
        stamp = self._stamp_now()
        if stamp != self._stamp:
            self._named, self._stamp = (self._file.read() if stamp else ()), stamp
        return self._fixed + self._named

    def _stamp_now(self) -> tuple[int, ...]:
        try:
            status = self._file.path.stat()
        except OSError:
            return ()
        return status.st_ino, status.st_mtime_ns, status.st_size


def _checked_digest(digest: object) -> str:
    if not isinstance(digest, str) or len(bytes.fromhex(digest)) != 32:
        raise ValueError("a digest is not the SHA-256 of a token")
    return digest
