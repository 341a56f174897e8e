"""Ray's Jobs API over HTTP, as documented for Ray 2: each call bounded in time, answers as data.

The site needs no Ray for it. https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from crucible.jobs.backends.base import BackendAway

logger = logging.getLogger(__name__)
TIMEOUT = (2.0, 4.0)  # seconds to connect, and to wait: three calls fit into a task's soft limit
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
OWN_ARGUMENTS = ("num_cpus", "num_gpus", "memory")  # every other resource is a cluster's own
TOLD = 300  # characters of Ray's own words that are handed on


class Refused(Exception):
    """Ray will not take such a job, now or later."""


@dataclass(frozen=True)
class Entry:
    """One job as Ray sees it."""

    status: str
    message: str
    error: str  # Ray's JobErrorType

    @property
    def ended(self) -> bool:
        """Whether Ray holds it for over."""
        return self.status in ENDED

    @property
    def waited_in_vain(self) -> bool:
        """Whether it found no room within RAY_JOB_START_TIMEOUT_SECONDS and was taken back."""
        return self.error == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"


class RayJobs:
    """The head at that address; the token is that of a cluster with RAY_AUTH_MODE=token."""

    def __init__(
        self, address: str, token: str = "", timeout: tuple[float, float] = TIMEOUT
    ) -> None:
        self.address = address
        self.token = token
        self.timeout = timeout

    def submit(self, id: str, command: str, resources: dict[str, float], note: str) -> None:
        """Hands a command over under an id that Ray takes once.

        Raises `Refused`, or `BackendAway` when nobody knows whether it was accepted; either may be
        said of a job that exists already.
        """
        own = {f"entrypoint_{name}": resources[name] for name in OWN_ARGUMENTS if name in resources}
        others = {name: value for name, value in resources.items() if name not in OWN_ARGUMENTS}
        document = {"submission_id": id, "entrypoint": command, "metadata": {"crucible": note},
                    "entrypoint_resources": others, **own}  # fmt: skip
        answer = self._ask("POST", "", document)
        if answer.status_code == 400:
            raise Refused(last_line(answer.text))
        self._accepted(answer)

    def entry(self, id: str) -> Entry | None:
        """The job of that id; None where Ray knows none."""
        answer = self._ask("GET", id)
        if answer.status_code == 404 and "does not exist" in answer.text:
            return None
        self._accepted(answer)
        try:
            told = answer.json()
            return Entry(told["status"], told.get("message") or "", told.get("error_type") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendAway("what answers at its address is no Ray") from error

    def stop(self, id: str) -> None:
        """Asks the job to end: SIGTERM to all its processes, then SIGKILL."""
        self._accepted(self._ask("POST", f"{id}/stop"))

    def forget(self, id: str) -> None:
        """Takes a job that is over off Ray's list, so that its id is free."""
        self._accepted(self._ask("DELETE", id))

    def _ask(self, method: str, path: str, document: Any = None) -> requests.Response:
        if not self.address:
            raise BackendAway("no file names its address any more")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with requests.Session() as session:  # a fresh one: a head that died left dead ones
                session.trust_env = False  # no proxy, and no password of ~/.netrc
                return session.request(
                    method, f"{self.address}/api/jobs/{quote(path)}", json=document,
                    headers=headers, timeout=self.timeout, allow_redirects=False,
                )  # fmt: skip
        except requests.RequestException as error:
            logger.info("Ray: %s", error)
            raise BackendAway("its head does not answer") from error

    def _accepted(self, answer: requests.Response) -> None:
        if answer.status_code == 200:
            return
        logger.warning("Ray: %s %s", answer.status_code, last_line(answer.text))
        if answer.status_code in (401, 403):
            raise BackendAway("its head does not accept the token")
        raise BackendAway(f"its head answers with {answer.status_code}")


def last_line(text: str) -> str:
    """The last line that says something: of a traceback, what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:TOLD] if lines else ""
