"""Every figure, one after the other: `make bench`. Needs root for the private Postfix; takes about half an hour."""

from __future__ import annotations

import subprocess
import sys

PARTS = (
    ["bench.mta"],
    ["bench.http"],
    ["bench.growth"],
    ["bench.dkim"],
    ["bench.memory"],
    ["bench.kill9", "--rounds", "50"],
)


def main() -> int:
    """Run the parts in turn; gives how many of them failed."""
    failed = 0
    for part in PARTS:
        print(f"# {' '.join(part)}", flush=True)
        failed += subprocess.run([sys.executable, "-m", *part], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
