"""A WSGI application that says hello."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any


def hello(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer every request with the worker's process id."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello from gunicorn's process {os.getpid()}\n".encode()]
