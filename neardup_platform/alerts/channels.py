"""The ways by which people are told: a webhook as Slack and others take it, and e-mail."""

import smtplib
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from functools import partial

import httpx

from neardup_platform.alerts.problems import Message
from neardup_platform.errors import ServerUnavailable
from neardup_platform.settings import AlertSettings

_TIMEOUT_S = 10.0
# For all steps of a delivery together: a receiver that answers byte by byte must not hold up the sensor, whose tick
# would end without remembering whom it told.
_DEADLINE_S = 12.0
# Slack and others read `<…>` as links and as calls to everyone, and an image id in a message may hold anything.
_PLAIN = str.maketrans("<>", "‹›")

Send = Callable[[Message], None]


def channels(settings: AlertSettings) -> Mapping[str, Send]:
    """The ways that the settings name. Each raises `ServerUnavailable` where a message could not be delivered."""
    found: dict[str, Send] = {}
    if settings.webhook is not None:
        found["webhook"] = within(_DEADLINE_S, "the webhook", partial(post, settings.webhook.get_secret_value()))
    if settings.mail_to:
        found["mail"] = within(_DEADLINE_S, "the mail server", partial(mail, settings))
    return found


def within(deadline_s: float, receiver: str, send: Send) -> Send:
    """The same, but `ServerUnavailable` is raised where a delivery takes longer.

    The delivery is left to its own timeouts then, and may still succeed: people are rather told twice than not at all.
    """

    def send_within(message: Message) -> None:
        errors: list[Exception] = []

        def deliver() -> None:
            try:
                send(message)
            except Exception as error:  # noqa: BLE001 -- raised again in the caller's thread
                errors.append(error)

        thread = threading.Thread(target=deliver, name="alert", daemon=True)
        thread.start()
        thread.join(deadline_s)
        if thread.is_alive():
            raise ServerUnavailable(f"{receiver} did not take an alert within {deadline_s:g} s")
        if errors:
            raise errors[0]

    return send_within


def post(url: str, message: Message) -> None:
    """Send a message to a webhook: a JSON object with `text`.

    Raises:
        ServerUnavailable: it does not answer, or refuses. The address is a secret, and is not in the error.
    """
    text = f"{message.subject}\n{message.body}".translate(_PLAIN)
    try:
        answer = httpx.post(url, json={"text": text}, timeout=_TIMEOUT_S)
        if not answer.is_success:
            raise ServerUnavailable(f"the webhook of alerts answers {answer.status_code}: check alerts.webhook")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ServerUnavailable(f"the webhook of alerts cannot be reached ({type(error).__name__})") from None


def mail(settings: AlertSettings, message: Message) -> None:
    """Send a message by e-mail.

    Raises:
        ServerUnavailable: the server does not answer, or refuses.
    """
    letter = EmailMessage()
    letter["Subject"], letter["From"], letter["To"] = message.subject, settings.mail_from, ", ".join(settings.mail_to)
    letter.set_content(message.body)
    try:
        with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=_TIMEOUT_S) as server:
            if settings.smtp_tls:
                server.starttls()
            if settings.smtp_user is not None and settings.smtp_password is not None:
                server.login(settings.smtp_user, settings.smtp_password.get_secret_value())
            server.send_message(letter)
    except (OSError, smtplib.SMTPException) as error:
        where = f"{settings.smtp_host}:{settings.smtp_port}"
        raise ServerUnavailable(f"the mail server {where} did not take an alert: {error}") from error
