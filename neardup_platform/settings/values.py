"""Field types and rules that every section of the settings shares."""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator
from pydantic_settings import NoDecode

# Bounds of tokens and keys that an operator chooses; generated tokens have 43 characters.
MIN_TOKEN_CHARACTERS = 16
MAX_TOKEN_CHARACTERS = 512


def not_blank(value: Any) -> Any:
    """Reject a value that is set but empty, which is neither unset nor a value.

    `NEARDUP_API_TOKEN=$TOKEN` with TOKEN unset must not open the API, and `NEARDUP_HOME=` must not mean the working
    directory.

    Raises:
        ValueError: the value is an empty or blank string.
    """
    plain = value.get_secret_value() if isinstance(value, SecretStr) else value
    if isinstance(plain, str) and not plain.strip():
        raise ValueError("it is set and empty: give it a value, or leave it out")
    return value


def _checked_token(token: SecretStr | None) -> SecretStr | None:
    text = token.get_secret_value() if token is not None else None
    if text is not None and not (
        MIN_TOKEN_CHARACTERS <= len(text) <= MAX_TOKEN_CHARACTERS and all("!" <= letter <= "~" for letter in text)
    ):
        raise ValueError(
            f"a token has {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS} visible ASCII characters without spaces, "
            f"this one has {len(text)}: generate one with `openssl rand -hex 32`"
        )
    return token


def _list_of(value: Any) -> Any:
    """A list from an environment variable: `a, b`, or `["a", "b"]` as JSON."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f"it is not a JSON list ({error}): use `a, b`") from error
    return [part.strip() for part in value.split(",")]


# Parsed here and not by pydantic-settings, whose errors would name the section only.
Texts = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], NoDecode, BeforeValidator(_list_of)]


def _with_same(kinds: tuple[str, ...]) -> tuple[str, ...]:
    if "same" not in kinds or len(set(kinds)) < len(kinds):
        raise ValueError(f"{', '.join(kinds) or 'nothing'}: name each kind once, and `same` among them")
    return kinds


ClusteringKinds = Annotated[
    tuple[Literal["same", "altered-copy", "same-template", "same-scene"], ...],
    NoDecode,
    BeforeValidator(_list_of),
    AfterValidator(_with_same),
]
# A secret that clients send.
TokenText = Annotated[SecretStr | None, AfterValidator(_checked_token)]


class Section(BaseModel):
    """One section of `neardup.toml`: frozen, without unknown or blank names. Attribute docstrings describe fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def _reject_blank(cls, value: Any) -> Any:
        return not_blank(value)
