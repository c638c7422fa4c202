"""Random numbers that a seed determines, for faults that can be repeated (SplitMix64, by Sebastiano Vigna, in the public domain)."""

from typing import Final, final

_MASK: Final = (1 << 64) - 1


@final
class Seeded:
    """A stream of numbers, the same for the same seed on every machine."""

    def __init__(self, seed: int) -> None:
        self._state: int = seed & _MASK

    def next(self) -> int:
        """A number of 64 bits."""
        self._state = self._state + 0x9E3779B97F4A7C15 & _MASK
        mixed = self._state
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _MASK
        return mixed ^ mixed >> 31

    def below(self, limit: int) -> int:
        """A number from 0 up to and without `limit`, which is at most 2**32."""
        return (self.next() >> 32) * limit >> 32

    def chance(self, probability: float) -> bool:
        """True as often as `probability` says, from 0 (never) to 1 (always)."""
        return (self.next() >> 11) / (1 << 53) < probability
