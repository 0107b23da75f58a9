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
        read = {
            name: getattr(record, name) for name in cls.model_fields if name not in computed and hasattr(record, name)
        }
        return cls.model_validate(read | computed)
