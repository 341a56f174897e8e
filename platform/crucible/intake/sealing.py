"""Seals store keys for the database: a copy of it gives nobody access to a store.

The sealing key is derived from the site's secret, which is in no database. A sealed text belongs to
one user and one endpoint and opens nowhere else.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

from submissions.failures import Failure

NONCE = 12  # bytes, drawn anew for every text


def seal(text: bytes, belongs_to: str) -> bytes:
    """The text encrypted and authenticated (AES-256-GCM), with its nonce before it."""
    nonce = os.urandom(NONCE)
    return nonce + _cipher().encrypt(nonce, text, belongs_to.encode())


def unseal(sealed: bytes, belongs_to: str) -> bytes:
    """The text; raises `Failure` where it was sealed under another secret or for somebody else."""
    try:
        return _cipher().decrypt(sealed[:NONCE], sealed[NONCE:], belongs_to.encode())
    except InvalidTag:
        said = "the site's secret has changed since the store key was entered: enter it again"
        raise Failure("store_refused", said) from None


def _cipher() -> AESGCM:
    derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=b"crucible.store-key")
    return AESGCM(derived.derive(settings.SECRET_KEY.encode()))
