"""`python -m sendry.cli` is `sendry`."""

from __future__ import annotations

import sys

from sendry.cli import main

sys.exit(main())
