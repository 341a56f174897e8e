"""`manage.py reconcile` with more looks a second, counted in the file `looks`: an hour in minutes.

Started by benchmarks/scale.py --soak, with the number of times in SCALE_SPEED.
"""

from __future__ import annotations

import os

import django
from django.core.management import call_command


def main() -> None:
    django.setup()
    from crucible.jobs import reconciler
    from crucible.paths import home

    reconciler.PERIOD /= float(os.environ["SCALE_SPEED"])
    looks, look = 0, reconciler.reconcile_once

    def counted() -> int:
        nonlocal looks
        looks += 1
        if looks % 20 == 0:
            (home() / "looks").write_text(str(looks))
        return look()

    reconciler.reconcile_once = counted
    call_command("reconcile")


if __name__ == "__main__":
    main()
