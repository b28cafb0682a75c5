"""The partition key: hashed like the SDK does where it chooses partitions itself (Jenkins lookup3).

How the service hashes is not documented; nothing may depend on it. Here both ways of sending agree.
"""

from __future__ import annotations

_WORD = 0xFFFFFFFF
_ROUND = 12


def hash_key(key: str) -> int:
    """Return a number from -32768 to 32767."""
    units = [ord(character) for character in key]
    a = b = c = (0xDEADBEEF + len(units)) & _WORD
    while units:
        a = (a + _word(units[0:4])) & _WORD
        b = (b + _word(units[4:8])) & _WORD
        c = (c + _word(units[8:12])) & _WORD
        a, b, c = _mix(a, b, c) if len(units) > _ROUND else _final(a, b, c)
        units = units[_ROUND:]
    folded = (b ^ c) & 0xFFFF
    return folded - 0x10000 if folded & 0x8000 else folded


def _word(units: list[int]) -> int:
    return sum(unit << (8 * place) for place, unit in enumerate(units))


def _mix(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (4, 6, 8, 16, 19, 4):
        a = ((a - c) & _WORD) ^ _turn(c, bits)
        c = (c + b) & _WORD
        a, b, c = b, c, a
    return a, b, c


def _final(a: int, b: int, c: int) -> tuple[int, int, int]:
    for bits in (14, 11, 25, 16, 4, 14, 24):
        c = ((c ^ b) - _turn(b, bits)) & _WORD
        a, b, c = b, c, a
    return c, a, b  # Seven turns are two rounds and one.


def _turn(word: int, bits: int) -> int:
    return ((word << bits) | (word >> (32 - bits))) & _WORD
