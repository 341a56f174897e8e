"""Removes secrets from text before people read it: logs, pages, mails, webhooks.

It looks for the secrets of this installation, and for the forms of well-known kinds of secrets,
which a job's log or a library's error text may contain.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from django.conf import settings

MARK = "[redacted]"
SHORTEST = 8  # characters; a shorter secret would redact ordinary words
SECRET_NAME = re.compile(
    r"(SECRET|PASSWORD|PASSWD|TOKEN|CREDENTIALS?|API_KEY|ACCESS_KEY(_ID)?|"
    r"SECRET_KEY)$",
    re.IGNORECASE,
)
URL_NAMES = ("DATABASE_URL", "CELERY_BROKER_URL", "CRUCIBLE_SMTP_URL")

_WHOLE = re.compile(
    r"crucible_[A-Za-z0-9_-]{43}"  # our own tokens
    r"|(?:AKIA|ASIA)[0-9A-Z]{16}"  # AWS key ids
    r"|hf_[A-Za-z0-9]{20,}|gh[opsur]_[A-Za-z0-9]{30,}|github_pat_\w{30,}|sk-[A-Za-z0-9_-]{20,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
# The secret follows the first group.
_AFTER = re.compile(
    r"(\bX-Amz-(?:Signature|Credential|Security-Token)=|[?&](?:Signature|sig|token)="
    r"|\bBearer\s+|\bBasic\s+(?=[A-Za-z0-9+/=]{8,})"
    r"|(?:password|passwd|secret|secret_?(?:access_?)?key|access_token|auth_token|api_?key)"
    r"[\"']?\s*[:=]\s*[\"']?)([^\s&\"',;]{4,})",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"(://[^\s:/@]*:)([^\s@/]+)(@)")


@lru_cache(maxsize=1)
def _own_secrets() -> tuple[str, ...]:
    """The longest first, so that a secret that contains another one is redacted whole."""
    found = {settings.SECRET_KEY, str(settings.DATABASES["default"].get("PASSWORD") or "")}
    found |= {value for name, value in os.environ.items() if SECRET_NAME.search(name)}
    for url in (settings.CELERY_BROKER_URL, *(os.environ.get(name, "") for name in URL_NAMES)):
        password = urlsplit(url).password or ""
        found |= {password, unquote(password)}
    return tuple(sorted((s for s in found if len(s) >= SHORTEST), key=len, reverse=True))


def redact(text: str) -> str:
    """The text, with every known or recognised secret replaced by `MARK`."""
    for secret in _own_secrets():
        text = text.replace(secret, MARK)
    text = _WHOLE.sub(MARK, text)
    text = _IN_URL.sub(rf"\1{MARK}\3", text)
    return _AFTER.sub(rf"\1{MARK}", text)


def cleaned(document: dict[str, Any]) -> dict[str, Any]:
    """A JSON document with every string in it redacted."""
    return {name: _cleaned(value) for name, value in document.items()}


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return cleaned(value)
    if isinstance(value, list):
        return [_cleaned(item) for item in value]
    return value
