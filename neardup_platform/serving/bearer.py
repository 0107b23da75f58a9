"""Who may change something: nobody but the holder of the token, once one is configured."""

import secrets
from typing import Annotated

from fastapi import Header
from pydantic import SecretStr
from starlette.exceptions import HTTPException

_SCHEME = "bearer "


class Bearer:
    """A dependency of every call that changes something.

    Without a token the API listens on loopback only (`ApiSettings`), and a web page in a browser there cannot send what
    these calls ask for: the method DELETE or a body of JSON needs a consent that this server never gives.
    """

    def __init__(self, token: SecretStr | None) -> None:
        self._token = token.get_secret_value() if token is not None else None

    def __call__(self, authorization: Annotated[str, Header(include_in_schema=False)] = "") -> None:
        """Let a request pass.

        Raises:
            HTTPException: 401, it has no token or another one.
        """
        if self._token is None:
            return
        found = authorization[len(_SCHEME) :] if authorization.lower().startswith(_SCHEME) else ""
        if not secrets.compare_digest(found.strip().encode(), self._token.encode()):
            raise HTTPException(
                401, "send the token of api.token as `Authorization: Bearer …`", headers={"WWW-Authenticate": "Bearer"}
            )
