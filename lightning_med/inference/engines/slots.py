"""Slots: where a network keeps the tokens of conversations, and which of them a new prompt need not read again."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field


@dataclass
class Slot:
    """What a slot holds.

    Attributes:
        tokens: Whose keys and values are there.
        prompt: How many of them were a prompt; the others were written.
        opening: How many of them were the prompt's opening, read by itself.
        used: When, in monotonic seconds.
    """

    tokens: list[int] = field(default_factory=list)
    prompt: int = 0
    opening: int = 0
    used: float = 0.0


@dataclass(frozen=True)
class Place:
    """Where a prompt is to be read.

    Attributes:
        slot: In which slot.
        start: How many of its tokens are there already, or are copied.
        source: The slot to copy them from first, if any.
    """

    slot: int
    start: int
    source: int | None = None


class Slots:
    """The slots of a backend.

    A network's scores differ in their last bits with how many tokens it read at once. So that no answer depends on who
    asked before, only two things are taken over: the opening that prompts share, and a conversation that goes on.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._slots = [Slot() for _ in range(count)]

    def __len__(self) -> int:
        return len(self._slots)

    def clear(self) -> None:
        """Forgets what the slots hold."""
        self._slots = [Slot() for _ in self._slots]

    def note(self, slot: int, tokens: list[int], prompt: int, opening: int) -> None:
        """Notes what a slot holds; see `Slot`."""
        self._slots[slot] = Slot(tokens, prompt, opening, time.monotonic())

    def choose(self, prompt: Sequence[int], opening: int, taken: Collection[int]) -> Place:
        """Chooses the free slot that holds most of a prompt's beginning; among equals the one that is longest unused.

        Args:
            prompt: Token ids.
            opening: How many of them other prompts begin with, too.
            taken: Slots that are not free; they may be copied from.
        """
        free = [slot for slot in range(len(self._slots)) if slot not in taken]
        held = {slot: self._count_held(self._slots[slot], prompt, opening) for slot in free}
        slot = max(free, key=lambda slot: (held[slot], -self._slots[slot].used, -slot))
        if held[slot] < opening:
            for source in range(len(self._slots)):
                if self._count_held(self._slots[source], prompt, opening) >= opening:
                    return Place(slot, opening, source)
        return Place(slot, held[slot])

    def _count_held(self, slot: Slot, prompt: Sequence[int], opening: int) -> int:
        """Returns how many tokens of a prompt's beginning a slot holds; the last one is always read again."""
        shared = min(count_shared(slot.tokens, prompt), len(prompt) - 1)
        if shared >= slot.prompt > 0:
            return shared
        return opening if slot.opening == opening <= shared else 0


def count_shared(first: Sequence[int], second: Sequence[int]) -> int:
    """Returns how many tokens two sequences begin with alike."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count
