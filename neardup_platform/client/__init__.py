"""A typed client of the HTTP API, synchronous and asynchronous.

| file | does |
|---|---|
| `answers.py` | what the calls return: frozen dataclasses |
| `calls.py` | one `Call` per endpoint: request and type of the answer |
| `exchange.py` | sends a `Call`'s request, decides on retries, turns a response into an answer or an error |
| `sync_client.py`, `async_client.py` | the methods; everything else is shared |
"""

from neardup_platform.client.async_client import AsyncClient
from neardup_platform.client.sync_client import Client

__all__ = ["AsyncClient", "Client"]
