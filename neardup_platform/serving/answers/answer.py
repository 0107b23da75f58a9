"""The base of all answers: a frozen model that is read from a record's attributes."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Answer(BaseModel):
    """One answer, or a part of one."""

    model_config = ConfigDict(frozen=True, from_attributes=True)

    @classmethod
    def of(cls, record: object, **computed: Any) -> Self:
        """Build the answer from a record's attributes of the same names.

        Args:
            record: a dataclass of the engine or a message of the store.
            computed: fields that the record does not hold, or holds in another form.
        """
        return cls.model_validate(_Fields(record, computed))


class _Fields:
    """Attributes of a record, except those that are computed."""

    def __init__(self, record: object, computed: dict[str, Any]) -> None:
        self._record = record
        self.__dict__.update(computed)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._record, name)
