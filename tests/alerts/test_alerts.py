"""Claims about alerts, with a real webhook and a real mail server on this machine."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from neardup_platform.alerts.alerting import tell
from neardup_platform.alerts.channels import Send, channels, within
from neardup_platform.alerts.problems import (
    MOST_TEXT,
    MOST_TOLD,
    Message,
    Problem,
    begun,
    remembered,
    shortened,
    to_remember,
)
from neardup_platform.errors import ServerUnavailable
from neardup_platform.settings import AlertSettings

MINUTE_MS = 60_000
LAG = Problem("check lag", "check lag is red", "the worker is behind: add partitions", "http://d/assets/worker")
RUN = Problem("run rollback", "the run of rollback failed", "there is no snapshot")


class Told:
    """What people got, and whether they can be reached."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.reachable = True

    def __call__(self, message: Message) -> None:
        if not self.reachable:
            raise ServerUnavailable("no answer")
        self.messages.append(message)

    @property
    def subjects(self) -> list[str]:
        return [message.subject for message in self.messages]


def rounds(ways: dict[str, Send], *now: list[Problem]) -> dict[str, Problem]:
    """Look once a minute; problems pass from round to round as text, as a cursor does."""
    cursor = None
    for number, problems in enumerate(now):
        cursor = to_remember(tell(remembered(cursor), problems, ways, MINUTE_MS * (number + 1)).problems)
    return remembered(cursor)


def test_a_problem_is_told_once_and_so_is_its_end() -> None:
    told = Told()
    assert not rounds({"w": told}, [], [LAG], [LAG], [LAG], [], [])
    assert told.subjects == ["Problem: check lag is red", "Over: check lag is red"]
    begun, over = told.messages
    assert begun.body.splitlines() == [LAG.text, LAG.link]
    assert over.body == "It lasted 3 min"


def test_problems_of_one_round_are_one_message() -> None:
    told = Told()
    rounds({"w": told}, [LAG], [LAG, RUN], [])
    assert told.subjects == [f"Problem: {LAG.title}", f"Problem: {RUN.title}", f"Over: {LAG.title}, and 1 more"]


def test_problems_with_the_same_text_have_it_once() -> None:
    hours = [Problem(f"h{n}", f"hour {n} failed", "S3 does not answer", f"http://runs/{n}") for n in (1, 2)]
    body = begun([*hours, RUN]).body
    told = "hour 1 failed\nhour 2 failed\nS3 does not answer\nhttp://runs/1\nhttp://runs/2"
    assert body.split("\n\n")[0] == told
    assert body.split("\n\n")[1].startswith(RUN.title)


def test_a_problem_that_comes_back_is_told_again() -> None:
    told = Told()
    rounds({"w": told}, [LAG], [], [LAG])
    assert told.subjects == [f"Problem: {LAG.title}", f"Over: {LAG.title}", f"Problem: {LAG.title}"]


def test_what_cannot_be_delivered_is_sent_again_by_that_way_only() -> None:
    good, bad = Told(), Told()
    ways: dict[str, Send] = {"good": good, "bad": bad}
    bad.reachable = False
    problems = tell({}, [LAG], ways, 1)
    assert problems.failures == ("bad: no answer",)
    problems = tell(problems.problems, [LAG], ways, 2)
    bad.reachable = True
    problems = tell(problems.problems, [LAG], ways, 3)
    assert good.subjects == bad.subjects == [f"Problem: {LAG.title}"]
    bad.reachable = False
    problems = tell(problems.problems, [], ways, 4)
    assert good.subjects[1:] == [f"Over: {LAG.title}"]
    bad.reachable = True
    problems = tell(problems.problems, [], ways, 5)
    assert bad.subjects[1:] == [f"Over: {LAG.title}"]
    assert not problems.problems


STALE = Problem("stale logs", "hours of logs are not materialised", "materialise them", wait_ms=3 * MINUTE_MS)


def test_a_problem_that_may_end_by_itself_is_told_only_if_it_lasts() -> None:
    told = Told()
    assert not rounds({"w": told}, [STALE], [STALE], [STALE], [])
    assert not told.messages
    rounds({"w": told}, [STALE], [STALE], [STALE], [STALE], [STALE], [])
    assert told.subjects == [f"Problem: {STALE.title}", f"Over: {STALE.title}"]
    assert told.messages[1].body == "It lasted 5 min"


def test_time_in_which_nobody_looked_does_not_count() -> None:
    told = Told()
    ways: dict[str, Send] = {"w": told}
    found = tell({}, [STALE], ways, MINUTE_MS)
    stopped_ms = 8 * 60 * MINUTE_MS
    found = tell(remembered(to_remember(found.problems)), [STALE], ways, stopped_ms)
    assert not told.messages, "the platform was down"
    for minute in (1, 2):
        found = tell(found.problems, [STALE], ways, stopped_ms + minute * MINUTE_MS)
    assert not told.messages
    found = tell(found.problems, [STALE], ways, stopped_ms + 3 * MINUTE_MS)
    assert told.subjects == [f"Problem: {STALE.title}"]
    tell(found.problems, [STALE], ways, 2 * stopped_ms)
    assert len(told.messages) == 1, "who was told is not told again after a stop"


def test_what_an_earlier_version_remembered_is_still_followed() -> None:
    told = Told()
    old = [{"key": "a", "title": "a", "text": "", "link": "", "since_ms": MINUTE_MS, "told": ["w"]}]
    tell(remembered(json.dumps(old)), [], {"w": told}, 3 * MINUTE_MS)
    assert [message.body for message in told.messages] == ["It lasted 2 min"]


def test_a_receiver_that_answers_too_slowly_does_not_hold_up_the_others() -> None:
    good, done = Told(), threading.Event()

    def slow(_: Message) -> None:
        done.wait(30)

    ways: dict[str, Send] = {"slow": within(0.05, "the webhook", slow), "good": within(5, "the mail server", good)}
    found = tell({}, [LAG], ways, 1)
    done.set()
    assert found.failures == ("slow: the webhook did not take an alert within 0.05 s",)
    assert good.subjects == [f"Problem: {LAG.title}"]
    assert found.problems[LAG.key].told == ("good",)


def test_nobody_is_told_the_end_of_what_they_were_not_told() -> None:
    told = Told()
    told.reachable = False
    found = tell({}, [LAG], {"w": told}, 1)
    told.reachable = True
    assert not tell(found.problems, [], {"w": told}, 2).problems
    assert not told.messages


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.frozensets(st.sampled_from("abc")), st.booleans()), max_size=12))
def test_beginnings_and_ends_alternate_whatever_fails(steps: list[tuple[frozenset[str], bool]]) -> None:
    told, before = Told(), dict[str, Problem]()
    for number, (open_now, reachable) in enumerate([*steps, (frozenset[str](), True)]):
        told.reachable = reachable
        now = [Problem(key, key, "") for key in sorted(open_now)]
        before = remembered(to_remember(tell(before, now, {"w": told}, number).problems))
    assert not before
    for key in "abc":
        named = [
            kind
            for kind, text in (f"{m.subject}\n{m.body}".split(": ", 1) for m in told.messages)
            if key in {line[0] for line in text.splitlines() if line}
        ]
        assert named == ["Problem", "Over"] * (len(named) // 2)


def test_a_long_text_is_cut_and_its_next_step_is_not() -> None:
    text = shortened("\n".join(["it stalled; last lines:", *["x" * 5_000] * 30]), "See the log")
    assert len(text) <= MOST_TEXT
    assert text.startswith("it stalled; last lines:\nxxx")
    assert text.endswith("\nSee the log")
    assert shortened("short", "") == "short"


def test_a_flood_is_one_bounded_message() -> None:
    told = Told()
    rounds({"w": told}, [Problem(str(n), f"check {n}", "x" * 10_000) for n in range(500)])
    (message,) = told.messages
    assert message.subject == "Problem: check 0, and 499 more"
    assert message.body.endswith(f"and {500 - MOST_TOLD} more")
    assert len(message.body) < 40_000


@pytest.mark.parametrize("cursor", ["", "x", "{}", "[1]", '[{"key": "a"}]', '[{"key": 1, "told": null}]'])
def test_a_cursor_of_another_version_is_no_problem(cursor: str) -> None:
    assert remembered(cursor) == {}


@contextmanager
def webhook(status: int) -> Iterator[tuple[str, list[bytes]]]:
    bodies: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/secret", bodies
        server.shutdown()


def test_a_webhook_gets_what_slack_takes() -> None:
    with webhook(200) as (url, bodies):
        channels(AlertSettings(webhook=SecretStr(url)))["webhook"](Message("Problem: a", "what\nnext <!channel>"))
    assert [json.loads(body) for body in bodies] == [{"text": "Problem: a\nwhat\nnext ‹!channel›"}]


def test_a_webhook_that_refuses_or_is_gone_is_an_error_without_its_address() -> None:
    with webhook(404) as (url, _):
        send = channels(AlertSettings(webhook=SecretStr(url)))["webhook"]
        with pytest.raises(ServerUnavailable, match="answers 404") as refused:
            send(Message("a", "b"))
    with pytest.raises(ServerUnavailable, match="cannot be reached") as gone:
        send(Message("a", "b"))
    assert "secret" not in f"{refused.value} {gone.value}"


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    letters: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 test\r\n")
            while line := self.rfile.readline().decode().strip():
                if line.upper() == "DATA":
                    self.wfile.write(b"354 go\r\n")
                    content = b""
                    while not content.endswith(b"\r\n.\r\n"):
                        content += self.rfile.readline()
                    letters.append(content.decode())
                self.wfile.write(b"221 bye\r\n" if line.upper() == "QUIT" else b"250 ok\r\n")
                if line.upper() == "QUIT":
                    return

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1], letters
        server.shutdown()


def test_an_e_mail_has_subject_and_body() -> None:
    with mail_server() as (port, letters):
        told = AlertSettings(mail_to=("a@example.org", "b@example.org"), smtp_port=port)
        channels(told)["mail"](Message("Problem: a", "what\nnext"))
    (letter,) = letters
    assert "Subject: Problem: a\r\n" in letter
    assert "To: a@example.org, b@example.org\r\n" in letter
    assert "what\r\nnext" in letter
    with pytest.raises(ServerUnavailable, match=f"127.0.0.1:{port} did not take"):
        channels(told)["mail"](Message("a", "b"))


def test_without_settings_nobody_is_told() -> None:
    assert channels(AlertSettings()) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"webhook": ""},
        {"webhook": "file:///etc/passwd"},
        {"webhook": "http://a b"},
        {"mail_to": ("nobody",)},
        {"smtp_user": "me", "smtp_password": "secret", "smtp_host": "mail.example.org"},
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        AlertSettings(**wrong)  # type: ignore[arg-type]
