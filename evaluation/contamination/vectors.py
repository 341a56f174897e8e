"""Sixty-four bytes looked at together: what Numba has no words for, written as LLVM's vectors.

LLVM turns them into what the machine's processor has (SSE2, AVX2, AVX-512, NEON); the results are
the same on all of them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import extending, types

WIDTH = 64  # bytes: one for each bit of a mask
intrinsic: Any = extending.intrinsic
tuple_of: Any = types.UniTuple
BYTE, MASK = ir.IntType(8), ir.IntType(64)
VECTOR = ir.VectorType(BYTE, WIDTH)


@intrinsic  # type: ignore[untyped-decorator]
def eight_at(_context: Any, buffer: Any, place: Any) -> Any:
    """The eight bytes from `place` on as one uint64, the first of them lowest."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature, given)
        return builder.load(builder.bitcast(pointer, MASK.as_pointer()), align=1)

    return types.uint64(buffer, place), generate


@intrinsic  # type: ignore[untyped-decorator]
def trailing_zeros(_context: Any, _mask: Any) -> Any:
    """How many bits below the lowest one that is set; 64 for none."""

    def generate(_: Any, builder: Any, __: Any, given: Any) -> Any:
        return builder.cttz(given[0], ir.IntType(1)(0))

    return types.uint64(types.uint64), generate


@intrinsic  # type: ignore[untyped-decorator]
def classes_at(_context: Any, buffer: Any, place: Any) -> Any:
    """Masks (uint64) of the WIDTH bytes from `place` on, the first of them lowest.

    Letters and digits; apostrophes and backticks; backslashes; what may follow one as a short
    escape of JSON; n, r, t; u, x; quotes; and what asks for a closer look: tags, entities, control
    characters, all but ASCII.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        pointer = _pointer(context, builder, signature, given)
        data = builder.load(builder.bitcast(pointer, VECTOR.as_pointer()), align=1)
        return context.make_tuple(builder, signature.return_type, _Masks(builder, data).all())

    return tuple_of(types.uint64, 8)(buffer, place), generate


def _pointer(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    array = context.make_array(signature.args[0])(context, builder, given[0])
    return builder.gep(array.data, [given[1]])


class _Masks:
    """Builds the masks of one vector."""

    def __init__(self, builder: Any, data: Any) -> None:
        self.builder, self.data = builder, data

    def all(self) -> list[Any]:
        lower = self.builder.or_(self.data, _same(0x20))
        letters = self._below(self.builder.sub(lower, _same(0x61)), 26)
        digits = self._below(self.builder.sub(self.data, _same(0x30)), 10)
        special = self._any(b"<&")
        special = self.builder.or_(special, self._below(self.data, 0x20))
        above = self.builder.icmp_unsigned(">=", self.data, _same(0x80))
        masks = (
            self.builder.or_(letters, digits), self._any(b"'`"), self._any(b"\\"),
            self._any(b'"/bfnrt'), self._any(b"nrt"), self._any(b"ux"), self._any(b'"'),
            self.builder.or_(special, above),
        )  # fmt: skip
        return [self.builder.bitcast(mask, MASK) for mask in masks]

    def _below(self, vector: Any, limit: int) -> Any:
        return self.builder.icmp_unsigned("<", vector, _same(limit))

    def _any(self, characters: bytes) -> Any:
        found = None
        for character in characters:
            one = self.builder.icmp_unsigned("==", self.data, _same(character))
            found = one if found is None else self.builder.or_(found, one)
        return found


def _same(value: int) -> Any:
    return ir.Constant(VECTOR, [value] * WIDTH)
