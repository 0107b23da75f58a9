"""Runs the API: one process, settings from the environment and `neardup.toml`."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from neardup_platform.serving.app import build_app
from neardup_platform.serving.keras_models import load_models
from neardup_platform.settings import Settings


def main() -> int:
    """Serve until SIGTERM or SIGINT; the exit status is uvicorn's."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for noisy in ("botocore", "boto3", "urllib3", "absl", "tensorflow"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, part['loc']))}: {part['msg']}" for part in error.errors())
        print(f"neardup: settings: {wrong}", file=sys.stderr)  # noqa: T201 -- the answer to whoever started it
        return 1
    uvicorn.run(
        build_app(settings, lambda: load_models(settings)),
        host=settings.api.host,
        port=settings.api.port,
        access_log=False,
        log_config=None,
        timeout_graceful_shutdown=3,
        server_header=False,
        proxy_headers=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
