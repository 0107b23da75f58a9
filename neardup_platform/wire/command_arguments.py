"""The arguments of each control command: one model that the sender fills in and the worker checks. Pure.

On the topic arguments are text by name (`pb.Command.arguments`). `to_wire` writes them and `parse` reads them; flags
are `true` or `false` and may be missing. The bounds on size are in `command_bounds.py`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from neardup_platform.errors import BadCommand

MAX_REASON = 500


def _flag(value: Any, info: ValidationInfo) -> bool:
    if isinstance(value, bool):
        return value
    if value not in ("true", "false"):
        raise ValueError(f"{info.field_name} is {str(value)[:40]!r}, `true` or `false` is expected")
    return bool(value == "true")


def _reason(value: str) -> str:
    if len(value) > MAX_REASON:
        raise ValueError(f"the reason has {len(value)} characters, at most {MAX_REASON} are allowed")
    return value


_WHY = f"Why, at most {MAX_REASON} characters; kept with the override."

Flag = Annotated[bool, BeforeValidator(_flag)]
Reason = Annotated[str, BeforeValidator(_reason)]


class CommandArguments(BaseModel):
    """Arguments of one command.

    Attributes:
        command: the name of the command.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    command: ClassVar[str]

    @classmethod
    def parse(cls, arguments: Mapping[str, str]) -> Self:
        """Read the arguments of a command.

        Raises:
            BadCommand: one is missing, unknown or wrong.
        """
        _check_names(cls, arguments)
        try:
            return cls.model_validate(dict(arguments))
        except ValidationError as error:
            raise BadCommand(_first(error)) from error

    def to_wire(self) -> dict[str, str]:
        """The arguments as text, without those that have their default."""
        values = self.model_dump(exclude_defaults=True)
        return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}


class PauseArguments(CommandArguments):
    """`pause`: the worker reads no embeddings until `resume`."""

    command: ClassVar[str] = "pause"


class ResumeArguments(CommandArguments):
    """`resume`: ends a pause."""

    command: ClassVar[str] = "resume"


class SnapshotArguments(CommandArguments):
    """`snapshot`: a consistent copy of the store on S3."""

    command: ClassVar[str] = "snapshot"
    scheduled: Flag = Field(
        False, description="It is one of a schedule: `snapshots.keep_hourly` and `keep_daily` say how long it stays."
    )


class ReprocessArguments(CommandArguments):
    """`reprocess`: every image decided again by the present rules."""

    command: ClassVar[str] = "reprocess"


class CancelArguments(CommandArguments):
    """`cancel`: ends a command that is waiting or in progress."""

    command: ClassVar[str] = "cancel"
    command_id: str = Field(description="The command to cancel.")


class TraceArguments(CommandArguments):
    """`trace`: reports what the pipeline finds about an image, and changes nothing."""

    command: ClassVar[str] = "trace"
    image_id: str = Field(description="A decided image.")


class ForgetArguments(CommandArguments):
    """`forget`: removes an image from everything the worker keeps."""

    command: ClassVar[str] = "forget"
    image_id: str = Field(description="The image to remove.")


class LoadModelArguments(CommandArguments):
    """`load-model`: makes another classifier the active one."""

    command: ClassVar[str] = "load-model"
    version: str = Field(description="12 hex digits: a version in the registry, shipped, or in the settings.")
    force: Flag = Field(False, description="Accept a classifier that measures worse than the active one.")


class IngestSegmentArguments(CommandArguments):
    """`ingest-segment`: decides the images of a Parquet file on S3."""

    command: ClassVar[str] = "ingest-segment"
    key: str = Field(description="The object, in the bucket of the settings.")
    skip_bad: Flag = Field(False, description="Skip and count bad rows; without it one bad row refuses the segment.")


class RestoreArguments(CommandArguments):
    """`restore`: puts the state of a snapshot in place of the present one, or takes the last such exchange back."""

    command: ClassVar[str] = "restore"
    snapshot: str | None = Field(None, description="The id of the snapshot.")
    undo: Flag = Field(False, description="Instead of `snapshot`: return to the store that the last restore replaced.")
    force: Flag = Field(False, description="Restore although Kafka has deleted embeddings since, which are lost.")
    most_images: int | None = Field(
        None, ge=0, description="Refuse if the store that would be replaced holds more images than this."
    )

    @model_validator(mode="after")
    def _either(self) -> Self:
        if self.undo == (self.snapshot is not None):
            raise ValueError("restore takes either `snapshot`, an id, or `undo` = `true`")
        return self


class OverrideArguments(CommandArguments):
    """`override`: an operator's correction, effective at once and whenever its images are decided again."""

    command: ClassVar[str] = "override"
    action: str

    @classmethod
    def parse(cls, arguments: Mapping[str, str]) -> Self:
        """Read the arguments of the action that they name; see `CommandArguments.parse`."""
        if cls is not OverrideArguments:
            return super().parse(arguments)
        action = arguments.get("action", "")
        model = _OVERRIDES.get(action)
        if model is None:
            raise BadCommand(f"action is {action[:40]!r}, one of {sorted(_OVERRIDES)} is expected")
        return cast("Self", model.parse(arguments))

    def to_wire(self) -> dict[str, str]:
        """See `CommandArguments.to_wire`; the action is always named."""
        return {"action": self.action, **super().to_wire()}


class MoveArguments(OverrideArguments):
    """`override move`: the image belongs with another one."""

    action: Literal["move"] = "move"
    image_id: str = Field(description="The image to move.")
    other_id: str = Field(description="The image it belongs with.")
    reason: Reason = Field("", description=_WHY)


class AloneArguments(OverrideArguments):
    """`override alone`: the image belongs with no other."""

    action: Literal["alone"] = "alone"
    image_id: str = Field(description="The image to set apart.")
    reason: Reason = Field("", description=_WHY)


class ForbidArguments(OverrideArguments):
    """`override forbid`: two images never share a cluster."""

    action: Literal["forbid"] = "forbid"
    image_id: str = Field(description="One of the two images.")
    other_id: str = Field(description="The image it is kept apart from.")
    reason: Reason = Field("", description=_WHY)


class RemoveArguments(OverrideArguments):
    """`override remove`: withdraws an override; no cluster changes by this alone."""

    action: Literal["remove"] = "remove"
    override_id: str = Field(description="The override to withdraw.")
    reason: Reason = Field("", description=_WHY)


_OVERRIDES: Mapping[str, Any] = {
    "move": MoveArguments,
    "alone": AloneArguments,
    "forbid": ForbidArguments,
    "remove": RemoveArguments,
}


COMMANDS: Mapping[str, type[CommandArguments]] = {
    model.command: model
    for model in (
        PauseArguments,
        ResumeArguments,
        SnapshotArguments,
        ReprocessArguments,
        CancelArguments,
        TraceArguments,
        ForgetArguments,
        LoadModelArguments,
        IngestSegmentArguments,
        RestoreArguments,
        OverrideArguments,
    )
}


def _check_names(model: type[CommandArguments], arguments: Mapping[str, str]) -> None:
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    allowed = set(model.model_fields) - needed
    if issubclass(model, OverrideArguments):
        needed, allowed = needed | {"action"}, allowed - {"action"}
    found = set(arguments)
    if found - needed - allowed or needed - found:
        raise BadCommand(
            f"{model.command} takes the arguments {sorted(needed)} and may take {sorted(allowed)}, "
            f"found {sorted(name[:40] for name in found)[:10]}"
        )


def _first(error: ValidationError) -> str:
    """The text of the first problem; ours where a validator of this file raised it."""
    problem = error.errors(include_url=False, include_input=False)[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
