"""Topics: names and partitioning from the code, keys and messages from the comments of neardup.proto."""

import re
from importlib import resources

from neardup_platform import wire
from neardup_platform.wire import topics
from scripts.reference.markdown import code, one_line, page, table

_MESSAGE = re.compile(r"((?://[^\n]*\n)+)message (\w+) \{\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^  (?:optional |repeated )?([\w<>, ]+?) (\w+) = (\d+);(?: *// *(.*))?$")


def topics_page() -> str:
    """Every topic, who writes it, its partitions, and the fields of its messages."""
    proto = (resources.files(wire) / "neardup.proto").read_text()
    messages = [(_comment(text), name, body) for text, name, body in _MESSAGE.findall(proto) if "neardup." in text]
    rows = [
        (
            code(topic),
            "the worker" if topic in topics.PUBLISHED else "producers and senders of commands",
            "`kafka.partitions`" if topic in topics.PARTITIONED else "1",
            ", ".join(
                f"[`{name}`](#{name.lower()})" for text, name, _ in messages if re.search(rf"{topic}\b(?!-)", text)
            ),
        )
        for topic in (*topics.PARTITIONED, *topics.SINGLE_PARTITION)
    ]
    return page(
        "Topics",
        "Values are Protocol Buffers messages of `neardup_platform/wire/neardup.proto`. Field numbers never change.",
        table(("topic", "written by", "partitions", "message"), rows),
        *[f"## {name}\n\n{text}\n\n{_fields(body)}" for text, name, body in messages],
    )


def _comment(text: str) -> str:
    return one_line(text.replace("//", ""))


def _fields(body: str) -> str:
    rows: list[list[str]] = []
    for line in body.splitlines():
        if field := _FIELD.match(line):
            kind, name, number, text = field.groups()
            rows.append([number, code(name), code(kind), text or ""])
        elif rows and (more := re.match(r"^ {4,}// *(.*)$", line)):
            rows[-1][-1] += f" {more.group(1)}"
    return table(("number", "field", "type", "meaning"), rows)
