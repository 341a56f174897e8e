"""Template filters that format figures the same way on every page."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from decimal import Decimal

from django import template
from django.utils.html import format_html

from crucible.plots import DOT_WIDTH, Dot
from submissions import names
from training_recipes.cost import size_text

register = template.Library()
register.filter("size", size_text)

_SECONDS = ((86400, "d"), (3600, "h"), (60, "min"))


@register.filter
def percent(value: float | None, digits: int = 1) -> str:
    """0.1234 → 12.3, −0.05 → −5.0; a dash for None."""
    if value is None:
        return "–"
    rounded = round(100 * value, digits) + 0.0  # −0.0 becomes 0.0
    return f"{rounded:.{digits}f}".replace("-", "\u2212")


@register.filter
def signed(value: float | None, digits: int = 1) -> str:
    """0.1234 → +12.3, −0.05 → −5.0; a dash for None."""
    if value is None:
        return "–"
    return f"{100 * value:+.{digits}f}".replace("-", "\u2212")


@register.filter
def p_value(value: float | None) -> str:
    """0.00012 → < 0.001, 0.0421 → 0.042."""
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


@register.filter
def p_text(value: float | None) -> str:
    """0.00012 → p < 0.001, 0.0421 → p = 0.042."""
    return "" if value is None else ("p < 0.001" if value < 0.001 else f"p = {value:.3f}")


@register.filter
def duration(seconds: float | None) -> str:
    """75 → 1 min 15 s; a dash for None."""
    if seconds is None:
        return "–"
    left = round(seconds)
    for size, unit in _SECONDS:
        if left >= size:
            rest = left % size
            smaller = {"d": (3600, "h"), "h": (60, "min"), "min": (1, "s")}[unit]
            return f"{left // size} {unit} {rest // smaller[0]} {smaller[1]}"
    return f"{left} s"


@register.filter
def figure(value: float | None) -> str:
    """A number with four significant digits; large ones with thousands separators."""
    if value is None:
        return "–"
    if isinstance(value, int) or abs(value) >= 10_000:
        return f"{value:,.0f}".replace(",", "\u202f")
    return f"{value:.4g}"


@register.filter
def visible(text: str) -> str:
    """A text of others with all that cannot be seen in it written as its code."""
    return names.visible(text)


@register.filter
def scientific(value: float | None) -> str:
    """FLOPs: 3.1e+13."""
    return "–" if value is None else f"{value:.2e}"


@register.filter
def change(value: Decimal) -> str:
    """A change of hours: +10.00, −2.50; empty for 0."""
    if not value:
        return ""
    return f"{value:+}".replace("-", "−")


@register.simple_tag
def dot(drawn: Dot | None, interval: Sequence[float] | None = None) -> str:
    """An SVG of a score with its interval on a shared axis; empty without a score."""
    if drawn is None:
        return ""
    between = f" {percent(interval[0])} to {percent(interval[1])}" if interval else ""
    return format_html(
        '<svg class="dot" viewBox="0 0 {} 16" role="img" aria-label="95 % interval{}">'
        '<line class="zero" x1="{}" x2="{}" y1="0" y2="16"/>'
        '<line class="interval" x1="{}" x2="{}" y1="8" y2="8"/>'
        '<circle cx="{}" cy="8" r="4"/></svg>',
        DOT_WIDTH,
        between,
        drawn.zero,
        drawn.zero,
        drawn.low,
        drawn.high,
        drawn.at,
    )


@register.filter
def plain(text: str) -> str:
    """A stranger's text with every character that hides or turns others made visible.

    Control and format characters, among them those that change the direction of writing, appear as
    their number; the template escapes the rest.
    """
    return "".join(
        f"\u27e8U+{ord(one):04X}\u27e9"
        if unicodedata.category(one) in {"Cc", "Cf", "Co", "Cn"} and one not in "\n\t"
        else one
        for one in text
    )


@register.filter
def within(error: float) -> str:
    """Half of the 95 % interval of a share, in points: 0.01 → 2.0; a dash where it is exact."""
    return f"{196 * error:.1f}" if error else "–"


@register.filter
def within_count(error: float | None) -> str:
    """Half of the 95 % interval of a count; a dash where it is exact or not known."""
    return f"{1.96 * error:,.0f}" if error else "–"
