r"""Untrusted text on a terminal or in a log: control characters are shown escaped. Pure.

Ids, file names, reasons and details come from producers, operators and file systems. Control characters could move the
cursor, change the window title or forge a log line; characters that change the direction of text make one name look
like another. Both are shown as `\x1b` or `\u202e`. Joiners in emoji and in Persian or Indic words stay as they are.
"""

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

# C0, DEL and C1; direction marks, embeddings and isolates; line separators; invisible operators; the byte order mark;
# interlinear annotation; lone surrogates, from names that are not UTF-8.
_ESCAPED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINE_END = re.compile("[ \t]*[\r\n][ \t\r\n]*")


def visible(text: str, keep: str = "") -> str:
    """A text with every control character escaped, except for the characters in `keep`."""

    def escaped(found: re.Match[str]) -> str:
        character = found[0]
        if character in keep:
            return character
        return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"

    return _ESCAPED.sub(escaped, text)


def visible_values(value: Any) -> Any:
    """A JSON-like value with every text in it made visible, so that none can forge a line of the output."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible_values(key): visible_values(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [visible_values(each) for each in value]
    return value


def one_line(text: str) -> str:
    """A text on one line: a line end and the spaces around it become one space. Spaces in names stay."""
    return visible(_LINE_END.sub(" ", text.strip("\r\n")))


def json_text(value: Any) -> str:
    """Exactly this value as readable JSON, with control characters as JSON's own escapes."""
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))


class VisibleFormatter(logging.Formatter):
    """Formats log records so that no value in a message can forge another record or control a terminal."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 -- logging's name
        """Format the line of a record."""
        record.message = visible(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 -- logging's name
        """Format the traceback of a record."""
        return visible(super().formatException(ei), keep="\n\t")


def log_to_stderr(line_format: str) -> None:
    """Make the root logger write to stderr from level INFO."""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter(line_format))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
