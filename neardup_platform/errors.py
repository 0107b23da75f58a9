"""Every error this platform raises on purpose.

NeardupError
├── PermanentError            the input is wrong and will stay wrong: dead-letter it or tell the user
│   ├── BadMessage            a Kafka message that cannot be decoded or validated
│   ├── BadPicture            bytes that are no picture we accept
│   │   └── TooCostly         a picture that takes more memory, time or scans than is allowed
│   ├── NotAPicture           a file of a folder that is passed over and counted
│   ├── BadArtefact           a model or index file that is damaged or does not fit
│   ├── Conflict              an order that contradicts one in force
│   └── NotFound              an image or a cluster nobody has stored
├── RetryableError            trying again later may work
│   ├── ServerUnavailable     Kafka, S3 or the API does not answer
│   ├── RateExceeded          more queries a second than are allowed
│   └── HomeInUse             another instance owns this NEARDUP_HOME
├── SetupError                the machine lacks something, and the message says what to do
└── InvariantBroken           stored state contradicts itself: the worker must stop

A message names what was tried, the offending value, the place (`topic[partition]@offset`, `s3://…`,
a path) and the next step, on one line, because the command line prints it as it is.
"""


class NeardupError(Exception):
    """Base of all errors raised on purpose; its text is fit for an operator."""


class PermanentError(NeardupError):
    """Retrying cannot help."""


class BadMessage(PermanentError):
    """A message that cannot be decoded or validated; `reason` is a code of the dead-letter topic."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class BadPicture(PermanentError):
    """Bytes that are not a picture this platform accepts."""


class TooCostly(BadPicture):
    """A picture whose decoding exceeds a limit of memory, time or scans; the text names the limit."""


class NotAPicture(PermanentError):
    """A file of a folder or prefix that is no picture: passed over, and counted by its kind, which is the text."""


class BadArtefact(PermanentError):
    """A model, term space or index file that is damaged or does not fit the data."""


class Conflict(PermanentError):
    """An order that contradicts itself or one that is in force; the text names that one."""


class NotFound(PermanentError):
    """No such image or cluster."""


class RetryableError(NeardupError):
    """The same call may succeed later."""


class ServerUnavailable(RetryableError):
    """Kafka, S3 or the API did not answer in time."""


class RateExceeded(RetryableError):
    """More queries a second than the settings allow; `retry_s` seconds from now one more will be allowed."""

    def __init__(self, message: str, retry_s: float) -> None:
        super().__init__(message)
        self.retry_s = retry_s


class HomeInUse(RetryableError):
    """Another process holds the store of this NEARDUP_HOME."""


class SetupError(NeardupError):
    """Something this machine lacks; the text says how to get it."""


class InvariantBroken(NeardupError):
    """Stored state contradicts itself; continuing could spread the damage."""
