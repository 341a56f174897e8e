"""Ray's Jobs API over HTTP, as documented for Ray 2; each call has a time limit.

The site itself does not need Ray for it. https://docs.ray.io/en/latest/cluster/running-applications/job-submission/rest.html
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests

from crucible.jobs.backends.base import BackendAway

logger = logging.getLogger(__name__)
TIMEOUT = (2.0, 4.0)  # seconds to connect and to wait: three calls fit into a task's soft limit
ENDED = ("STOPPED", "SUCCEEDED", "FAILED")
OWN_ARGUMENTS = (
    "num_cpus",
    "num_gpus",
    "memory",
)  # every other resource is a custom one of the cluster
MESSAGE_LIMIT = 300  # characters of Ray's messages that are passed on


class Refused(Exception):
    """Ray will not accept such a job, now or later."""


@dataclass(frozen=True)
class RayJob:
    """One job as Ray reports it."""

    status: str
    message: str
    error: str  # Ray's JobErrorType

    @property
    def ended(self) -> bool:
        """Whether Ray reports that it is over."""
        return self.status in ENDED

    @property
    def start_timed_out(self) -> bool:
        """Whether no node had room within RAY_JOB_START_TIMEOUT_SECONDS, so Ray gave it up."""
        return self.error == "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"


class RayJobs:
    """The head at this address; the token is for a cluster with RAY_AUTH_MODE=token."""

    def __init__(
        self, address: str, token: str = "", timeout: tuple[float, float] = TIMEOUT
    ) -> None:
        self.address = address
        self.token = token
        self.timeout = timeout

    def submit(self, id: str, command: str, resources: dict[str, float], note: str) -> None:
        """Submits a command under an id that Ray accepts once.

        Raises `Refused`, or `BackendAway` if it is unknown whether Ray accepted it. Either may be
        raised although the job exists.
        """
        own = {f"entrypoint_{name}": resources[name] for name in OWN_ARGUMENTS if name in resources}
        others = {name: value for name, value in resources.items() if name not in OWN_ARGUMENTS}
        document = {
            "submission_id": id,
            "entrypoint": command,
            "metadata": {"crucible": note},
            "entrypoint_resources": others,
            **own,
        }
        answer = self._ask("POST", "", document)
        if answer.status_code == 400:
            raise Refused(last_line(answer.text))
        self._accepted(answer)

    def entry(self, id: str) -> RayJob | None:
        """The job with this id; None if Ray knows none."""
        answer = self._ask("GET", id)
        if answer.status_code == 404 and "does not exist" in answer.text:
            return None
        self._accepted(answer)
        try:
            job = answer.json()
            return RayJob(job["status"], job.get("message") or "", job.get("error_type") or "")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BackendAway("the server at its address is not Ray") from error

    def stop(self, id: str) -> None:
        """Asks the job to end: SIGTERM to all its processes, then SIGKILL."""
        self._accepted(self._ask("POST", f"{id}/stop"))

    def forget(self, id: str) -> None:
        """Removes a finished job from Ray's list, so that its id is free."""
        self._accepted(self._ask("DELETE", id))

    def _ask(self, method: str, path: str, document: Any = None) -> requests.Response:
        if not self.address:
            raise BackendAway("the backends file no longer gives its address")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            with (
                requests.Session() as session
            ):  # a new session: connections to a head that died are dead
                session.trust_env = False  # no proxy, and no password from ~/.netrc
                return session.request(
                    method,
                    f"{self.address}/api/jobs/{quote(path)}",
                    json=document,
                    headers=headers,
                    timeout=self.timeout,
                    allow_redirects=False,
                )
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
    """The last line with text: the error of a traceback."""
    lines = [line.strip() for line in text.splitlines() if line.strip(" .")]
    return lines[-1][:MESSAGE_LIMIT] if lines else ""
