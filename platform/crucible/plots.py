"""Computes plots as SVG geometry; templates draw them, without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 240
LEFT, RIGHT, TOP, BOTTOM = 48, 16, 12, 36


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: its position in pixels and its label."""

    at: float
    label: str


@dataclass(frozen=True)
class LinePlot:
    """One line with its axes."""

    points: str  # the `points` attribute of an SVG polyline
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    summary: str  # for screen readers
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def nice_step(span: float, wanted: int) -> float:
    """A step of 1, 2 or 5 times a power of ten that divides `span` into about `wanted` parts."""
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)


def ticks_between(low: float, high: float, wanted: int) -> list[float]:
    """Round values within [low, high]."""
    if high <= low:
        return [low]
    step = nice_step(high - low, wanted)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def loss_plot(curve: Sequence[tuple[int, float]]) -> LinePlot | None:
    """Training loss (nats per token) over steps; None for fewer than two points."""
    if len(curve) < 2:
        return None
    steps, losses = [float(p[0]) for p in curve], [float(p[1]) for p in curve]
    low, high = min(losses), max(losses)
    span = (high - low) or 1.0

    def x_of(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - steps[0]) / ((steps[-1] - steps[0]) or 1)

    def y_of(loss: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - loss) / span

    return LinePlot(
        points=" ".join(f"{x_of(s):.1f},{y_of(v):.1f}" for s, v in zip(steps, losses, strict=True)),
        x_ticks=[Tick(round(x_of(v), 1), f"{v:g}") for v in ticks_between(steps[0], steps[-1], 6)],
        y_ticks=[Tick(round(y_of(v), 1), f"{v:g}") for v in ticks_between(low, high, 4)],
        summary=f"Training loss {_trend(losses[0], losses[-1])} from {losses[0]:.3f} at step"
        f" {steps[0]:.0f} to {losses[-1]:.3f} at step {steps[-1]:.0f}.",
    )


def _trend(first: float, last: float) -> str:
    return "falls" if last < first else "rises" if last > first else "stays the same"


DOT_WIDTH, DOT_MARGIN = 200, 6  # pixels of a drawing


@dataclass(frozen=True)
class Dot:
    """A score with its interval on a shared axis, in pixels of the drawing."""

    at: float
    low: float
    high: float
    zero: float


Interval = tuple[float, float]


def dots_on_one_axis(values: Sequence[tuple[float | None, Interval | None]]) -> list[Dot | None]:
    """Scores with their 95 % intervals on one axis that always shows 0.

    An unknown score has no dot; an unknown interval has no width.
    """
    intervals = [(v, *(interval or (v, v))) if v is not None else None for v, interval in values]
    edges = [edge for interval in intervals if interval for edge in interval]
    low, high = min([0.0, *edges]), max([0.01, *edges])

    def pixel(value: float) -> float:
        inner = DOT_WIDTH - 2 * DOT_MARGIN
        return round(DOT_MARGIN + inner * (value - low) / (high - low), 1)

    return [
        Dot(pixel(i[0]), pixel(i[1]), pixel(i[2]), pixel(0.0)) if i else None for i in intervals
    ]


def interval_of(value: float | None, stderr: float | None) -> Interval | None:
    """The 95 % interval from the standard error, for scores without one from the questions."""
    if value is None or stderr is None:
        return None
    return value - 1.96 * stderr, value + 1.96 * stderr


@dataclass(frozen=True)
class Bar:
    """One bar of a histogram in pixels, with what it says."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class BarPlot:
    """A histogram with its axis."""

    bars: list[Bar]
    x_ticks: list[Tick]
    summary: str
    width: int = WIDTH
    height: int = HEIGHT
    bottom: int = HEIGHT - BOTTOM


def bar_plot(histogram: Sequence[tuple[float, int]], unit: str) -> BarPlot | None:
    """Documents by the lower edge of each bin; None where there are no documents."""
    filled = [number for number, (_, count) in enumerate(histogram) if count]
    if not filled:
        return None
    shown = list(histogram[filled[0] : filled[-1] + 1])
    highest = max(count for _, count in shown)
    step = (WIDTH - LEFT - RIGHT) / len(shown)
    bars, every = [], max(1, math.ceil(len(shown) / 8))
    for number, (edge, count) in enumerate(shown):
        height = (HEIGHT - TOP - BOTTOM) * count / highest
        label = f"from {edge:g} {unit}: {count:,} documents"
        bar = Bar(
            round(LEFT + number * step, 1), round(HEIGHT - BOTTOM - height, 1),
            round(max(step - 2, 1), 1), round(height, 1), label,
        )  # fmt: skip
        bars.append(bar)
    ticks = [
        Tick(bar.x, f"{edge:g}" if edge.is_integer() and edge < 10_000 else f"{edge:.2g}")
        for (edge, _), bar in list(zip(shown, bars, strict=True))[::every]
    ]
    common = max(shown, key=lambda entry: entry[1])[0]
    summary = f"Most documents have from {common:g} {unit}; the most in one bar are {highest:,}."
    return BarPlot(bars, ticks, summary)


MAP_SIZE, MAP_MARGIN = 480, 16  # pixels of a map
COLOURS = 8  # classes of the sheet, by topic


@dataclass(frozen=True)
class Point:
    """A text or the middle of a topic on the map, in pixels; `colour` is a class of the sheet."""

    x: float
    y: float
    colour: int
    label: str = ""


def map_points(places: Sequence[tuple[float, float, int, str]]) -> list[Point]:
    """Points of a map from places in 0..1 with topic and label; up is up."""
    inner = MAP_SIZE - 2 * MAP_MARGIN
    return [
        Point(
            round(MAP_MARGIN + inner * x, 1), round(MAP_MARGIN + inner * (1 - y), 1),
            topic % COLOURS, label,
        )
        for x, y, topic, label in places
    ]  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A drawing of values over values: the edges of both axes, and pixels for them."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = WIDTH
    height: int = 360
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    percent: bool = True  # ticks are shown as 25, not 0.25

    @property
    def bottom(self) -> int:
        return self.height - BOTTOM

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The pixel of two values."""
        across = (x - self.x[0]) / ((self.x[1] - self.x[0]) or 1)
        up = (y - self.y[0]) / ((self.y[1] - self.y[0]) or 1)
        return (
            round(self.left + (self.right - self.left) * across, 1),
            round(self.bottom - (self.bottom - self.top) * up, 1),
        )

    def path(self, points: Sequence[tuple[float, float]]) -> str:
        """The `points` attribute of a polyline or polygon."""
        return " ".join("{},{}".format(*self.at(x, y)) for x, y in points)

    @property
    def x_ticks(self) -> list[Tick]:
        found = ticks_between(*self.x, 6)
        return [Tick(self.at(value, self.y[0])[0], self._label(value)) for value in found]

    @property
    def y_ticks(self) -> list[Tick]:
        found = ticks_between(*self.y, 5)
        return [Tick(self.at(self.x[0], value)[1], self._label(value)) for value in found]

    def _label(self, value: float) -> str:
        return f"{100 * value:g}" if self.percent else f"{value:g}"


@dataclass(frozen=True)
class Mark:
    """A point of a drawing in pixels; `kind` is its class, `title` its words."""

    x: float
    y: float
    kind: str
    title: str


@dataclass(frozen=True)
class MarkPlot:
    """Marks in a frame with a line, and a band around it where there is one."""

    frame: Frame
    marks: list[Mark]
    line: str
    band: str
    summary: str


def frame_around(points: Sequence[tuple[float, float]]) -> Frame:
    """A frame that holds all points with a little room."""

    def edges(values: list[float]) -> tuple[float, float]:
        room = 0.04 * ((max(values) - min(values)) or 1.0)
        return min(values) - room, max(values) + room

    return Frame(edges([x for x, _ in points]), edges([y for _, y in points]))
