"""The program. `python app.py [args]` is `sendry [args]`; `app:app` is the WSGI application (panel and API)."""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    # A WSGI server asks for `app`; the command line must not pay for building it.
    if name == "app":
        from sendry.service import wsgi_app

        return wsgi_app()
    raise AttributeError(name)


if __name__ == "__main__":
    from sendry.cli import main

    sys.exit(main())
