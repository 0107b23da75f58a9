"""Every error that this platform raises on purpose.

NeardupError
├── PermanentError            the input is wrong and stays wrong: dead-letter it, or report it to the user
│   ├── BadMessage            a Kafka message that cannot be decoded or validated
│   ├── BadPicture            bytes that are not a picture the platform accepts
│   │   └── TooCostly         a picture that needs more memory, time or scans than is allowed
│   ├── NotAPicture           a file in a folder that is skipped and counted
│   ├── BadArtefact           a model or index file that is damaged or does not fit
│   ├── BadCommand            a control command whose name, arguments or age is not accepted
│   │   └── NothingSelected   a selection without any image (stream/redecide/s3_selections.py)
│   ├── BadSnapshotId         a snapshot id of a form that no snapshot has (stream/snapshots/snapshot_manifest.py)
│   ├── Conflict              a request that contradicts an active one
│   ├── AccessDenied          a call of the API without the token it needs, or whose token lacks the scope
│   ├── InvalidRequest        a call of the API that is malformed
│   ├── DecidedAnew           an image decided again while a reprocessing ran (stream/reprocess/reprocessing.py)
│   └── NotFound              an image or a cluster that is not stored
├── RetryableError            the same call may succeed later
│   ├── ServerUnavailable     Kafka, S3 or the API does not answer
│   ├── RateExceeded          more queries per second than allowed
│   └── HomeInUse             another process owns this NEARDUP_HOME
├── SetupError                the machine lacks something; the message says what to install or set
└── InvariantBroken           stored state contradicts itself: the worker must stop
    └── Damaged               `neardup doctor` found such a contradiction (cli/doctor.py)

A message names what was tried, the offending value, the place (`topic[partition]@offset`, `s3://…`, a path) and the
next step, on one line, because the command line prints it as it is.
"""


class NeardupError(Exception):
    """Base of all errors raised on purpose; its text is written for an operator."""


class PermanentError(NeardupError):
    """Retrying cannot help."""


class BadMessage(PermanentError):
    """A message that cannot be decoded or validated; `reason` is a code of the dead-letter topic."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadPicture(PermanentError):
    """Bytes that are not a picture the platform accepts."""


class TooCostly(BadPicture):
    """A picture whose decoding exceeds a limit of memory, time or scans; the text names the limit."""


class NotAPicture(PermanentError):
    """A file in a folder or prefix that is not a picture: skipped, and counted by its kind, which is the text."""


class BadArtefact(PermanentError):
    """A model, term space or index file that is damaged or does not fit the data."""


class BadCommand(PermanentError):
    """A control command whose name, arguments or age is not accepted, or that cannot be carried out."""


class Conflict(PermanentError):
    """A request that contradicts itself or an active one; the text names the active one."""


class AccessDenied(PermanentError):
    """The API needs a token, does not know the one sent, or the token lacks the scope."""


class InvalidRequest(PermanentError):
    """A call of the API with a malformed argument."""


class NotFound(PermanentError):
    """No such image or cluster."""


class RetryableError(NeardupError):
    """The same call may succeed later."""


class ServerUnavailable(RetryableError):
    """Kafka, S3 or the API did not answer in time."""


class RateExceeded(RetryableError):
    """More queries per second than the settings allow; one more is allowed in `retry_s` seconds."""

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class HomeInUse(RetryableError):
    """Another process holds the store of this NEARDUP_HOME."""


class SetupError(NeardupError):
    """Something this machine lacks; the text says how to get it."""


class InvariantBroken(NeardupError):
    """Stored state contradicts itself; continuing could spread the damage."""
