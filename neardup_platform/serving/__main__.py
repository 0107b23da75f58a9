"""Runs the API in one process, with settings from the environment and `neardup.toml`."""

import logging
import sys
import tomllib

import uvicorn
from pydantic import ValidationError
from pydantic_settings import SettingsError

from neardup_platform.errors import NeardupError
from neardup_platform.serving.app import build_app
from neardup_platform.serving.connections import BoundedConfig
from neardup_platform.serving.keras_models import load_models
from neardup_platform.serving.picture_decoding import PictureDecoding
from neardup_platform.serving.search_corpus import Models
from neardup_platform.settings import Settings, setting_error
from neardup_platform.terminal_text import log_to_stderr


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit status is uvicorn's."""
    log_to_stderr("%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "absl", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(setting_error(part["loc"], part["msg"], part.get("input")) for part in error.errors())
        print(f"neardup: {wrong}", file=sys.stderr)  # noqa: T201 -- read by the process that started it
        return 1
    except (SettingsError, tomllib.TOMLDecodeError) as error:
        print(f"neardup: settings: {error}", file=sys.stderr)  # noqa: T201 -- read by the process that started it
        return 1
    decoding = PictureDecoding(settings.images)

    def load() -> Models:
        decoding.start()
        return load_models(settings)

    try:
        app = build_app(settings, load, decoding)
    except NeardupError as error:
        print(f"neardup: {error}", file=sys.stderr)  # noqa: T201 -- read by the process that started it
        return 1
    server = uvicorn.Server(BoundedConfig(app, settings.api))
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
