"""The arguments of each control command: one model that the sender fills in and the worker checks. Pure.

On the topic arguments are text by name (`pb.Command.arguments`). `to_wire` writes them and `parse` reads them; flags
are `true` or `false` and may be missing. The bounds on size are in `command_bounds.py`.
"""

import re
from collections import Counter
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from neardup_platform.errors import BadCommand

MAX_REASON = 500
MAX_POLICY = 64
BANK_PATTERN = r"^[a-z0-9-]{1,64}$"
# Each image of a split is decided again and published; the stream waits meanwhile.
MAX_LISTED = 1_000
# As many PDQ hashes as fit into a list (command_bounds.py).
MAX_HASHES_EACH = 2_000
# The action of negative banks.
NEVER_MATCH = "never-match"
PDQ_PATTERN = r"^[0-9a-fA-F]{64}$"
CELLS_PATTERN = r"cells[0-9a-f]{12}"
# The cells of the term space, in place of fitted ones.
TERM_SPACE = "term-space"
DATA_SET_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
VERSION_PATTERN = r"[0-9a-f]{16}"


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


def _ids(value: Any) -> tuple[str, ...]:
    """Image ids, one a line: an id has no line separators."""
    ids = tuple(value.splitlines() if isinstance(value, str) else value)
    if not 1 <= len(ids) <= MAX_LISTED:
        raise ValueError(
            f"{len(ids)} images are listed, 1 to {MAX_LISTED} are allowed: split off a part, then each next one, and "
            "merge the parts"
        )
    if "" in ids:
        raise ValueError("an empty id is listed: one id a line is expected")
    repeated = next((image_id for image_id, times in Counter(ids).items() if times > 1), None)
    if repeated is not None:
        raise ValueError(f"image {repeated[:128]!r} is listed twice")
    return ids


def pdq_text(value: str) -> str:
    """Return a PDQ hash as text, in lower case.

    Raises:
        ValueError: it is not 64 hexadecimal digits.
    """
    if not re.fullmatch(PDQ_PATTERN, value):
        raise ValueError(f"hash {value[:80]!r} is not 64 hexadecimal digits")
    return value.lower()


def _hashes(value: Any) -> tuple[str, ...]:
    """PDQ hashes, one a line."""
    hashes = tuple(map(pdq_text, value.splitlines() if isinstance(value, str) else value))
    if not 1 <= len(hashes) <= MAX_HASHES_EACH:
        raise ValueError(f"{len(hashes)} hashes are listed, 1 to {MAX_HASHES_EACH} are allowed: send several commands")
    repeated = next((pdq for pdq, times in Counter(hashes).items() if times > 1), None)
    if repeated is not None:
        raise ValueError(f"hash {repeated} is listed twice")
    return hashes


def _bank(value: str) -> str:
    if not re.fullmatch(BANK_PATTERN, value):
        raise ValueError(f"bank is {value[:80]!r}, 1 to 64 of a-z, 0-9 and - are expected")
    return value


def _hash_action(value: str, info: ValidationInfo) -> str:
    if value == NEVER_MATCH:
        raise ValueError(
            f"a hash cannot have the action {NEVER_MATCH}: that keeps images out of a cluster, and a hash names none; "
            "put an image of the cluster into the bank"
        )
    return _policy(value, info)


def _data_set(value: str) -> str:
    if not re.fullmatch(DATA_SET_PATTERN, value):
        raise ValueError(
            f"data_set is {value[:80]!r}, 1 to 100 of a-z, A-Z, 0-9, `.`, `_` and - are expected, the first of them a "
            "letter or digit"
        )
    return value


def _version(value: str) -> str:
    if not re.fullmatch(VERSION_PATTERN, value):
        raise ValueError(f"version is {value[:80]!r}, 16 hexadecimal digits are expected")
    return value


def _policy(value: str, info: ValidationInfo) -> str:
    if not (0 < len(value) <= MAX_POLICY and value.isprintable()):
        raise ValueError(f"{info.field_name} is {value[:80]!r}, 1 to {MAX_POLICY} printable characters are expected")
    return value


_WHY = f"Why, at most {MAX_REASON} characters; kept with the override."

Flag = Annotated[bool, BeforeValidator(_flag)]
Reason = Annotated[str, BeforeValidator(_reason)]
Bank = Annotated[str, BeforeValidator(_bank)]
Policy = Annotated[str, BeforeValidator(_policy)]
HashAction = Annotated[str, BeforeValidator(_hash_action)]
DataSetName = Annotated[str, BeforeValidator(_data_set)]
DataSetVersion = Annotated[str, BeforeValidator(_version)]
Hashes = Annotated[tuple[str, ...], BeforeValidator(_hashes)]
ImageIds = Annotated[tuple[str, ...], BeforeValidator(_ids)]


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
        return {name: _text(value) for name, value in values.items()}


class PauseArguments(CommandArguments):
    """`pause`: the worker reads no embeddings until `resume`."""

    command: ClassVar[str] = "pause"


class ResumeArguments(CommandArguments):
    """`resume`: ends a pause."""

    command: ClassVar[str] = "resume"


class ShadowArguments(CommandArguments):
    """`shadow`: decisions are stored and not published, until `cut-over`."""

    command: ClassVar[str] = "shadow"


class CutOverArguments(CommandArguments):
    """`cut-over`: ends the shadow: decisions are published, from the next one on."""

    command: ClassVar[str] = "cut-over"
    reason: Reason = Field("", description=f"Why, at most {MAX_REASON} characters; kept with the change.")


class PublishWithheldArguments(CommandArguments):
    """`publish-withheld`: decisions about chosen images that were withheld in shadow are published."""

    command: ClassVar[str] = "publish-withheld"
    selection: str = Field(description="The object that lists the images, in the bucket of the settings.")
    images_per_s: int = Field(1_000, ge=1, le=100_000, description="Images published in a second, at most.")


class SnapshotArguments(CommandArguments):
    """`snapshot`: a consistent copy of the store on S3."""

    command: ClassVar[str] = "snapshot"
    scheduled: Flag = Field(
        False, description="It is one of a schedule: `snapshots.keep_hourly` and `keep_daily` say how long it stays."
    )


class ReprocessArguments(CommandArguments):
    """`reprocess`: every image decided again by the present rules."""

    command: ClassVar[str] = "reprocess"


class RedecideArguments(CommandArguments):
    """`redecide`: chosen images decided again, in place and in batches; or such a command undone."""

    command: ClassVar[str] = "redecide"
    selection: str | None = Field(None, description="The object that lists the images, in the bucket of the settings.")
    undo: str | None = Field(None, description="Instead of `selection`: the id of the command to undo.")
    dry_run: Flag = Field(False, description="Report what would change, and change nothing.")
    threshold: float | None = Field(
        None, gt=0, lt=1, description="The score of a match, for each of these images. Missing: as for new images."
    )
    head_threshold: float | None = Field(
        None, gt=0, lt=1, description="The score required against the head. Missing: as for new images."
    )
    classifier: str | None = Field(None, description="12 hex digits: decide by this one. Missing: the active one.")
    images_per_s: int = Field(1_000, ge=1, le=100_000, description="Images decided again in a second, at most.")

    @model_validator(mode="after")
    def _either(self) -> Self:
        if (self.undo is None) == (self.selection is None):
            raise ValueError("redecide takes either `selection`, a list of images, or `undo`, a command")
        if self.undo is not None and (self.threshold, self.head_threshold, self.classifier) != (None, None, None):
            raise ValueError("an undo takes no thresholds and no classifier: images return to where they were")
        return self


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


class UseCellsArguments(CommandArguments):
    """`use-cells`: exchanges the cells of the term index while the stream runs."""

    command: ClassVar[str] = "use-cells"
    cells: str = Field(
        pattern=rf"^({CELLS_PATTERN}|{TERM_SPACE})$",
        description="Fitted cells, `cells` and 12 hex digits, or `term-space` for those of the term space.",
    )


class IngestSegmentArguments(CommandArguments):
    """`ingest-segment`: decides the images of a Parquet file on S3."""

    command: ClassVar[str] = "ingest-segment"
    key: str = Field(description="The object, in the bucket of the settings.")
    skip_bad: Flag = Field(False, description="Skip and count bad rows; without it one bad row refuses the segment.")


class LoadArguments(CommandArguments):
    """`load`: takes in a data set on S3 whose images come with their heads."""

    command: ClassVar[str] = "load"
    data_set: DataSetName = Field(description="The name of the data set.")
    version: DataSetVersion = Field(description="16 hex digits: the version that its files make.")
    skip_bad: Flag = Field(False, description="Skip and count bad rows; without it one bad row refuses the data set.")


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


class LabelArguments(CommandArguments):
    """`label`: puts an image into a bank; the label applies to the cluster that the image is in."""

    command: ClassVar[str] = "label"
    bank: Bank = Field(description="The bank: 1 to 64 of a-z, 0-9 and -.")
    image_id: str = Field(description="A decided image.")
    policy: Policy = Field(description=f"The name of the policy, at most {MAX_POLICY} characters.")
    action: Policy = Field(
        description=f"What consumers do, such as `block` or `review`; at most {MAX_POLICY} characters."
    )
    reason: Reason = Field("", description=f"Why, at most {MAX_REASON} characters; kept with the label.")


class UnlabelArguments(CommandArguments):
    """`unlabel`: takes an image out of a bank; decisions made before keep the label."""

    command: ClassVar[str] = "unlabel"
    bank: Bank = Field(description="The bank.")
    image_id: str = Field(description="An image in it.")


class LabelHashesArguments(CommandArguments):
    """`label-hashes`: puts PDQ hashes into a bank; images that they match are labelled, stored ones and new ones."""

    command: ClassVar[str] = "label-hashes"
    bank: Bank = Field(description="The bank: 1 to 64 of a-z, 0-9 and -.")
    hashes: Hashes = Field(description=f"PDQ hashes of 64 hexadecimal digits, 1 to {MAX_HASHES_EACH}, one a line.")
    policy: Policy = Field(description=f"The name of the policy, at most {MAX_POLICY} characters.")
    action: HashAction = Field(
        description=f"What consumers do, such as `block` or `review`; at most {MAX_POLICY} characters."
    )
    reason: Reason = Field("", description=f"Why, at most {MAX_REASON} characters; kept with the hashes.")


class UnlabelHashesArguments(CommandArguments):
    """`unlabel-hashes`: takes PDQ hashes out of a bank, with the labels of the images that they matched."""

    command: ClassVar[str] = "unlabel-hashes"
    bank: Bank = Field(description="The bank.")
    hashes: Hashes = Field(description=f"PDQ hashes in it, 1 to {MAX_HASHES_EACH}, one a line.")


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


class AddArguments(OverrideArguments):
    """An `override` that stays active until it is removed."""

    reason: Reason = Field("", description=_WHY)


class MoveArguments(AddArguments):
    """`override move`: the image belongs with another one."""

    action: Literal["move"] = "move"
    image_id: str = Field(description="The image to move.")
    other_id: str = Field(description="The image it belongs with.")


class AloneArguments(AddArguments):
    """`override alone`: the image belongs with no other."""

    action: Literal["alone"] = "alone"
    image_id: str = Field(description="The image to set apart.")


class ForbidArguments(AddArguments):
    """`override forbid`: two images never share a cluster."""

    action: Literal["forbid"] = "forbid"
    image_id: str = Field(description="One of the two images.")
    other_id: str = Field(description="The image it is kept apart from.")


class MergeArguments(AddArguments):
    """`override merge`: the clusters of two images are one; the larger one keeps its head."""

    action: Literal["merge"] = "merge"
    image_id: str = Field(description="An image of one cluster, such as its head.")
    other_id: str = Field(description="An image of the other cluster.")


class SplitArguments(AddArguments):
    """`override split`: the listed images leave their cluster for one of their own, and never come back."""

    action: Literal["split"] = "split"
    image_id: str = Field(description="An image of the cluster, such as its head.")
    image_ids: ImageIds = Field(description=f"The images that leave, 1 to {MAX_LISTED}, one id a line.")


class QuarantineArguments(AddArguments):
    """`override quarantine`: no new image joins the cluster by its matches."""

    action: Literal["quarantine"] = "quarantine"
    image_id: str = Field(description="An image of the cluster, such as its head.")


class RemoveArguments(OverrideArguments):
    """`override remove`: withdraws an override; no cluster changes by this alone."""

    action: Literal["remove"] = "remove"
    override_id: str = Field(description="The override to withdraw.")
    reason: Reason = Field("", description=_WHY)


_OVERRIDES: Mapping[str, Any] = {
    "move": MoveArguments,
    "alone": AloneArguments,
    "forbid": ForbidArguments,
    "merge": MergeArguments,
    "split": SplitArguments,
    "quarantine": QuarantineArguments,
    "remove": RemoveArguments,
}


COMMANDS: Mapping[str, type[CommandArguments]] = {
    model.command: model
    for model in (
        PauseArguments,
        ResumeArguments,
        ShadowArguments,
        CutOverArguments,
        PublishWithheldArguments,
        SnapshotArguments,
        ReprocessArguments,
        RedecideArguments,
        CancelArguments,
        TraceArguments,
        ForgetArguments,
        LoadModelArguments,
        UseCellsArguments,
        IngestSegmentArguments,
        LoadArguments,
        RestoreArguments,
        OverrideArguments,
        LabelArguments,
        UnlabelArguments,
        LabelHashesArguments,
        UnlabelHashesArguments,
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


def _text(value: Any) -> str:
    """A value as it is on the topic."""
    if isinstance(value, tuple):
        return "\n".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first(error: ValidationError) -> str:
    """The text of the first problem; ours where a validator of this file raised it."""
    problem = error.errors(include_url=False, include_input=False)[0]
    if problem["type"] == "value_error":
        return str(problem["ctx"]["error"])
    return f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
