"""Validation errors of the settings in words, with secrets left out."""

from neardup_platform.settings.settings import Settings


def is_secret(place: tuple[int | str, ...]) -> bool:
    """Whether an error at this place of the settings concerns a value that must not be shown."""
    section = Settings.model_fields.get(str(place[0])) if place else None
    fields = getattr(section.annotation, "model_fields", {}) if section is not None else {}
    found = fields.get(str(place[1])) if len(place) > 1 else None
    return found is not None and "SecretStr" in str(found.annotation)


def setting_error(place: tuple[int | str, ...], message: str, value: object) -> str:
    """One validation error of `Settings` in words: the setting, what is wrong, and the value found."""
    shown = f" (found {value!r})" if isinstance(value, str | int | float) and not is_secret(place) else ""
    return f"setting {'.'.join(map(str, place)) or 'combination'}: {message.removeprefix('Value error, ')}{shown}"
