"""What explains a port's numbers, in words and as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Match:
    """A mistake, or two of them, that a port's numbers agree with.

    Attributes
        keys: the mistakes in words.
        advice: a sentence for each: what to change.
        agreeing, held: arrays that agree, of those held against it.
    """

    keys: tuple[str, ...]
    advice: tuple[str, ...]
    agreeing: int
    held: int


@dataclass(frozen=True)
class Diagnosis:
    """What explains a port's numbers.

    Attributes
        kind: "inputs", "variant", "pair", "backward", "precision" or
            "unknown".
        matches: what agrees; more than one cannot be told apart by the
            arrays given.
        precision: "float64", "float32", "TF32", "bfloat16", "float16", or
            ``None`` where it cannot be told.
        told_by: what would tell several matches apart, in words.
        notes: what else there is to say.
    """

    kind: str
    matches: tuple[Match, ...] = ()
    precision: str | None = None
    told_by: str = ""
    notes: tuple[str, ...] = ()

    @property
    def named(self) -> bool:
        """Whether a mistake was found, and one alone."""
        return len(self.matches) == 1

    def __str__(self) -> str:
        lines = []
        if len(self.matches) == 1:
            (match,) = self.matches
            joined = " and ".join(match.keys)
            lines.append(
                f"diagnosis: {joined} ({match.agreeing} of {match.held} arrays"
                " agree with that)"
            )
            lines += [f"  {_sentence(text)}" for text in match.advice]
        elif self.matches:
            lines.append(
                f"diagnosis: one of {len(self.matches)} mistakes that the"
                " arrays given cannot tell apart"
            )
            for match in self.matches[:8]:
                lines.append(f"  - {' and '.join(match.keys)}")
                lines += [f"      {_sentence(text)}" for text in match.advice]
            if len(self.matches) > 8:
                lines.append(f"  - and {len(self.matches) - 8} more")
            lines.append(f"  {_sentence(self.told_by)}")
        lines += [f"  {_sentence(note)}" for note in self.notes]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return everything."""
        return {
            "kind": self.kind,
            "matches": [
                {
                    "keys": list(match.keys),
                    "advice": list(match.advice),
                    "agreeing": match.agreeing,
                    "held": match.held,
                }
                for match in self.matches
            ],
            "precision": self.precision,
            "told_by": self.told_by,
            "notes": list(self.notes),
        }


def _sentence(text: str) -> str:
    """Begin a sentence with a capital, unless with a name, and end it."""
    first = text.partition(" ")[0]
    if first.isalpha() and len(first) > 1 and first.islower():
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", ":")) or not text else f"{text}."
