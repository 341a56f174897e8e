"""Writes a zip archive with a password, which Python can read but not write.

PKWARE's traditional encryption, as GPQA's archive has it: APPNOTE.TXT 6.3.10, section 6.1.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from pathlib import Path

_TABLE = [0] * 256
for _byte in range(256):
    _value = _byte
    for _ in range(8):
        _value = _value >> 1 ^ 0xEDB88320 if _value & 1 else _value >> 1
    _TABLE[_byte] = _value


class _Keys:
    def __init__(self, password: bytes) -> None:
        self.keys = [0x12345678, 0x23456789, 0x34567890]
        for byte in password:
            self._update(byte)

    def _update(self, byte: int) -> None:
        first, second, third = self.keys
        first = first >> 8 ^ _TABLE[(first ^ byte) & 0xFF]
        second = ((second + (first & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
        third = third >> 8 ^ _TABLE[(third ^ second >> 24) & 0xFF]
        self.keys = [first, second, third]

    def encrypt(self, data: bytes) -> bytes:
        found = bytearray()
        for byte in data:
            mask = (self.keys[2] | 2) & 0xFFFF
            found.append(byte ^ (mask * (mask ^ 1) >> 8 & 0xFF))
            self._update(byte)
        return bytes(found)


def write_protected_zip(path: Path, members: dict[str, bytes], password: bytes) -> None:
    """A zip of deflated, encrypted members."""
    body, directory = io.BytesIO(), io.BytesIO()
    for name, content in members.items():
        checksum = zlib.crc32(content)
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        plain = packed.compress(content) + packed.flush()
        header = bytes(11) + bytes([checksum >> 24])
        data = _Keys(password).encrypt(header + plain)
        sizes = struct.pack("<LLL", checksum, len(data), len(content))
        fields = struct.pack("<HHHHH", 20, 1, zipfile.ZIP_DEFLATED, 0, 33) + sizes
        encoded = name.encode()
        directory.write(b"PK\1\2" + struct.pack("<H", 20) + fields)
        directory.write(struct.pack("<HHHHHLL", len(encoded), 0, 0, 0, 0, 0, body.tell()))
        directory.write(encoded)
        body.write(b"PK\3\4" + fields + struct.pack("<HH", len(encoded), 0) + encoded + data)
    place, size, count = body.tell(), directory.tell(), len(members)
    end = b"PK\5\6" + struct.pack("<HHHHLLH", 0, 0, count, count, size, place, 0)
    path.write_bytes(body.getvalue() + directory.getvalue() + end)
