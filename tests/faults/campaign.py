"""One run: submissions come in while faults strike, then everything must come to its end.

`python -m tests.faults.campaign --faults 60 --seed 1 --broker redis` prints the table of the run.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.brokers import BROKERS
from tests.faults.faults import Faults
from tests.faults.site import Site
from tests.faults.verdict import Verdict, judge, open_submissions, wait_until_over
from tests.platform.ray_cluster import RayCluster
from tests.platform.slurm_cluster import SlurmCluster
from tests.platform.slurm_cluster import missing as slurm_missing

IN_FLIGHT = 6  # submissions that are on their way while faults strike
PAUSE = (0.3, 2.5)  # seconds between two faults


@dataclass
class Campaign:
    """How it went."""

    broker: str
    backend: str
    seed: int
    seconds: float = 0.0
    settled_after: float = 0.0  # seconds from the last fault to the last ending
    faults: Counter[str] = field(default_factory=Counter)
    verdict: Verdict = field(default_factory=Verdict)


class Client(threading.Thread):
    """Hands in submissions, so that some are always on their way."""

    def __init__(self, site: Site) -> None:
        super().__init__(daemon=True)
        self.site = site
        self.names: list[str] = []
        self.stopped = threading.Event()
        self.error = ""

    def run(self) -> None:
        try:
            while not self.stopped.wait(0.3):
                try:
                    room = IN_FLIGHT - open_submissions(self.site.database_url())
                except Exception:
                    continue
                if room > 0:
                    name = f"dataset {len(self.names)}"
                    self.site.submit(name)
                    self.names.append(name)
        except AssertionError as error:
            self.error = str(error)


def missing(broker: str, backend: str) -> str:
    """What such a run lacks here, in one line."""
    return BROKERS[broker]().missing() or (slurm_missing() if backend == "slurm" else "")


def run(
    folder: Path, broker: str, backend: str, seed: int, faults: int, seconds: float, patience: float
) -> Campaign:
    """At most so many faults and seconds of them, then up to `patience` seconds to come to rest."""
    cluster: SlurmCluster | RayCluster | None = None
    if backend != "local":
        cluster = SlurmCluster(folder / "slurm") if backend == "slurm" else RayCluster()
        cluster.start()
    site = Site(folder, BROKERS[broker](), cluster)
    campaign = Campaign(broker, backend, seed)
    try:
        site.prepare()
        _strike(site, campaign, faults, seconds, patience)
    finally:
        site.tear_down()
    return campaign


def _strike(site: Site, campaign: Campaign, faults: int, seconds: float, patience: float) -> None:
    draw = random.Random(campaign.seed)
    deeds = Faults(site, draw)
    client = Client(site)
    client.start()
    time.sleep(2)
    began = time.monotonic()
    while campaign.faults.total() < faults and time.monotonic() - began < seconds:
        kinds = deeds.kinds()
        weights = [weight for weight, _ in kinds.values()]
        (name,) = draw.choices(list(kinds), weights)
        if kinds[name][1]():
            campaign.faults[name] += 1
        time.sleep(draw.uniform(*PAUSE))
        site.tend()
    campaign.seconds = time.monotonic() - began
    client.stopped.set()
    client.join(150)
    rest = time.monotonic()
    wait_until_over(site.database_url, patience, site.tend)
    campaign.settled_after = time.monotonic() - rest
    time.sleep(1.5)  # so that what runs although it should not is seen
    campaign.verdict = judge(site.database_url(), site.ledger, client.names)
    if client.error:
        campaign.verdict.stuck.append(client.error)


def table(campaigns: list[Campaign]) -> str:
    """The runs side by side, in Markdown."""
    kinds = sorted({kind for campaign in campaigns for kind in campaign.faults})
    heads = [f"{c.broker}, {c.backend}" for c in campaigns]
    rows = [["seed", *(str(c.seed) for c in campaigns)]]
    rows += [[f"faults: {kind}", *(str(c.faults[kind]) for c in campaigns)] for kind in kinds]
    rows += [["**faults**", *(f"**{c.faults.total()}**" for c in campaigns)]]
    for name, what in (
        ("submissions", "submissions"), ("published", "published"),
        ("failed, with a reason", "failed"), ("attempts", "attempts"),
        ("processes launched", "processes"), ("of these, that began work", "bodies"),
        ("results", "results"),
    ):  # fmt: skip
        rows.append([name, *(str(getattr(c.verdict, what)) for c in campaigns)])
    for what in ("lost", "doubled", "stuck"):
        rows.append([f"**{what}**", *(f"**{len(getattr(c.verdict, what))}**" for c in campaigns)])
    rows.append(["seconds of faults", *(f"{c.seconds:.0f}" for c in campaigns)])
    rows.append(["seconds to rest after", *(f"{c.settled_after:.0f}" for c in campaigns)])
    lines = ["| broker, backend | " + " | ".join(heads) + " |", "|---" * (len(heads) + 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def main() -> int:
    """Runs what is asked for, one after the other; 1 when the platform broke a promise."""
    parser = argparse.ArgumentParser(description="Strike a running site with faults.")
    parser.add_argument("--faults", type=int, default=60, help="of each run")
    parser.add_argument("--seconds", type=float, default=900, help="at most, of each run")
    parser.add_argument("--patience", type=float, default=240, help="seconds to come to rest")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--broker", choices=[*BROKERS], nargs="*", default=[*BROKERS])
    parser.add_argument(
        "--backend", choices=["local", "slurm", "ray"], nargs="*", default=["local"]
    )
    parser.add_argument("--keep", type=Path, help="keep the files in this folder")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing is left running
    campaigns = []
    for backend in options.backend:
        for broker in options.broker if backend == "local" else options.broker[:1]:
            absent = missing(broker, backend)
            if absent:
                print(absent, flush=True)
                continue
            folder = Path(tempfile.mkdtemp(prefix="crucible-faults-", dir=options.keep))
            folder.chmod(0o711)
            campaigns.append(
                run(folder, broker, backend, options.seed, options.faults, options.seconds,
                    options.patience)
            )  # fmt: skip
            for problem in campaigns[-1].verdict.problems:
                print(f"{broker}, {backend}: {problem}", flush=True)
    print(table(campaigns))
    return int(any(campaign.verdict.problems for campaign in campaigns))


if __name__ == "__main__":
    sys.exit(main())
