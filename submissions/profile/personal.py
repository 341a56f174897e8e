"""Counts what looks like personal data in a text. Only numbers leave this module, never a match.

Expressions without nested repetition: their time is linear in the length of a text.
"""

from __future__ import annotations

import re

KINDS = ("mail", "phone", "ip", "card", "iban")
_MAIL = re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,4}")
_PHONE = re.compile(
    r"(?<![\w.+])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){1,4}"
    r"|\(\d{3}\) ?\d{3}[-. ]\d{4}|\d{3}[-.]\d{3}[-.]\d{4})(?![\w.-]\d)"
)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?![\d]|\.\d)")
_CARD = re.compile(r"(?<!\d)(?:\d{4}[ -]?){3}\d{1,7}(?!\d)")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)")


def personal_data(text: str) -> dict[str, int]:
    """How many matches of each of KINDS there are.

    Internet addresses count only with numbers up to 255, cards and bank accounts (IBAN, ISO 13616)
    only with their check digits. Versions such as 1.2.3.4 look like addresses.
    """
    digits = any(map(str.isdigit, text))
    return {
        "mail": len(_MAIL.findall(text)) if "@" in text else 0,
        "phone": len(_PHONE.findall(text)) if digits else 0,
        "ip": sum(map(_is_address, _IP.findall(text))) if digits else 0,
        "card": sum(map(_is_card, _CARD.findall(text))) if digits else 0,
        "iban": sum(map(_is_iban, _IBAN.findall(text))) if digits else 0,
    }


def _is_address(found: str) -> bool:
    return all(int(part) <= 255 for part in found.split("."))


def _is_card(found: str) -> bool:
    numbers = [int(one) for one in found if one in "0123456789"]
    if not 13 <= len(numbers) <= 19 or not any(numbers):
        return False
    doubled = [sum(divmod(2 * one, 10)) for one in numbers[-2::-2]]
    return (sum(numbers[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(found: str) -> bool:
    plain = found.replace(" ", "")
    if not plain.isascii() or len(plain) < 15:
        return False
    moved = plain[4:] + plain[:4]
    return int("".join(str(int(one, 36)) for one in moved)) % 97 == 1
