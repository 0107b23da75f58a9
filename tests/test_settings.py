"""Settings that control access: blank values and incomplete logins are refused, secrets stay secret."""

import traceback
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from neardup_platform.settings import Settings, setting_error


def _names() -> list[tuple[str, str]]:
    """Every setting that can be given as text: its environment variable and its name."""
    found = []
    for section, field in Settings.model_fields.items():
        model: Any = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            found += [(f"NEARDUP_{section}_{name}".upper(), f"{section}.{name}") for name in model.model_fields]
        else:
            found.append((f"NEARDUP_{section}".upper(), section))
    return found


@pytest.mark.parametrize("blank", ["", "   "])
@pytest.mark.parametrize(("variable", "name"), _names())
def test_a_setting_that_is_set_and_empty_is_refused_by_name(
    variable: str, name: str, blank: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(variable, blank)
    with pytest.raises(Exception, match=name.partition(".")[2] or name) as refused:
        Settings()
    if isinstance(refused.value, ValidationError):
        assert [".".join(map(str, error["loc"])) for error in refused.value.errors()] == [name]


def test_the_kinds_that_cluster_are_checked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert Settings().scoring.kinds == ("same", "altered-copy")
    monkeypatch.setenv("NEARDUP_SCORING_KINDS", "same, same-template")
    assert Settings().scoring.kinds == ("same", "same-template")
    for kinds, says in (
        (["same", "twin"], "'same', 'altered-copy', 'same-template' or 'same-scene'"),
        (["altered-copy"], "altered-copy: name each kind once, and `same` among them"),
        (["same", "same"], "name each kind once"),
        ([], "nothing: name each kind once"),
    ):
        with pytest.raises(ValidationError, match=says):
            Settings(scoring={"kinds": kinds})


@pytest.mark.parametrize("token", ["x", "fifteen-letters", "sixteen letters!", "sixteen-lettërs!", "x" * 513])
@pytest.mark.parametrize("name", ["token", "client_token"])
def test_a_short_or_unsendable_token_is_refused_without_being_shown(name: str, token: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Settings(api={name: token})
    shown = [setting_error(error["loc"], error["msg"], error.get("input")) for error in refused.value.errors()]
    assert shown[0].startswith(f"setting api.{name}: a token has 16 to 512 visible ASCII characters")
    for text in (*shown, str(refused.value), "".join(traceback.format_exception(refused.value))):
        assert repr(token) not in text


@pytest.mark.parametrize(
    ("section", "values", "says"),
    [
        ("s3", {"access_key": "a"}, "s3.secret_key"),
        ("s3", {"secret_key": "a"}, "s3.access_key"),
        ("kafka", {"security_protocol": "SASL_SSL"}, "kafka.sasl_mechanism"),
        ("kafka", {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN"}, "kafka.sasl_username"),
        (
            "kafka",
            {"security_protocol": "SASL_PLAINTEXT", "sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u"},
            "kafka.sasl_password",
        ),
        ("kafka", {"sasl_password": "p"}, "does not use it"),
        ("kafka", {"security_protocol": "SSL", "sasl_username": "u"}, "does not use it"),
    ],
)
def test_an_incomplete_login_is_refused(section: str, values: dict[str, str], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(**{section: values})


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"names": ["https://neardup.example"]}, "without scheme"),
        ({"names": ["neardup.example:80"]}, "without scheme"),
        ({"names": ["*"]}, "without scheme"),
        ({"proxies": ["*"]}, "not an address"),
        ({"proxies": ["proxy.example"]}, "not an address"),
        ({"proxies": ["10.0.0.1/8"]}, "not an address"),
    ],
)
def test_names_and_proxies_are_validated(values: dict[str, list[str]], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Settings(api=values)


def test_environment_variables_hold_lists_in_either_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("10.0.0.1, 192.0.2.0/24", '["10.0.0.1", "192.0.2.0/24"]'):
        monkeypatch.setenv("NEARDUP_API_PROXIES", text)
        assert Settings().api.proxies == ("10.0.0.1", "192.0.2.0/24")
    for text in ("[", "a,,b", '["a", 1]'):
        monkeypatch.setenv("NEARDUP_JOIN_NEWER_LSH", text)
        monkeypatch.delenv("NEARDUP_API_PROXIES", raising=False)
        with pytest.raises(ValidationError, match="newer_lsh"):
            Settings()


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("0.0.0.0", "http://127.0.0.1:80"),  # noqa: S104 -- connected to, not listened on
        ("::", "http://[::1]:80"),
        ("2001:db8::1", "http://[2001:db8::1]:80"),
        ("neardup.example", "http://neardup.example:80"),
    ],
)
def test_url_is_reachable_from_this_machine_wherever_the_api_listens(host: str, url: str) -> None:
    assert Settings(api={"host": host, "port": 80}).api.url == url


def test_a_complete_login_is_accepted() -> None:
    sasl = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "u", "sasl_password": "p"}
    Settings(kafka={"security_protocol": "SASL_SSL", **sasl}, s3={"access_key": "a", "secret_key": "b"})
