"""What each vector is worth: the known mistakes that its numbers reveal.

A mistake is *killed* by a file if a port that makes it gets another number,
beyond the file's tolerance, somewhere among the arrays of the file. Wrong
variants of the forward pass are told by its arrays, wrong backward passes by
the gradients and adjoints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from msref.architectures import REGISTRY
from msref.arrays import Arrays
from msref.vectors.backward import backward_keys, wrong_backwards
from msref.vectors.catalogue import load, names, plans
from msref.vectors.judging import EPS64, agreeing, is_forward
from msref.vectors.onnx_power import OnnxPower
from msref.vectors.variants import run_variant, variants
from msref.vectors.vector import Vector

Kills = dict[str, list[str]]
BACKWARD = "backward: "
"""What the name of a wrong backward pass begins with, in a table."""


def kills(vector: Vector) -> Kills:
    """Return what a file reveals.

    Returns
        ``"variants"`` and ``"backward"``: the mistakes, in words.
    """
    forward = {k: v for k, v in vector.arrays.items() if is_forward(k)}
    return {
        "variants": [
            variant.key
            for variant in variants(vector.arch)
            if _reveals(vector, forward, run_variant(vector, [variant]))
        ],
        "backward": [
            bug.key
            for bug in wrong_backwards(vector, widely=False)
            if _reveals(vector, vector.arrays, bug.arrays)
        ],
    }


def _reveals(vector: Vector, expected: Arrays, wrong: Arrays) -> bool:
    """Tell whether a port with these numbers would be caught.

    One that has no output of the right shape is.
    """
    if "y" in expected and "y" not in wrong and "dx" not in wrong:
        return True
    return bool(agreeing(wrong, expected, vector, EPS64)[1])


@dataclass(frozen=True)
class NetworkPower:
    """The mistakes in one network, and the files that reveal them.

    Attributes
        arch, example: which network of the registry.
        call: its constructor call.
        mistakes: all known ones, in words: wrong variants, then wrong
            backward passes (which begin with "backward: ").
        by_file: file -> those that it reveals.
    """

    arch: str
    example: int
    call: str
    mistakes: tuple[str, ...]
    by_file: Mapping[str, frozenset[str]]

    @property
    def killed(self) -> frozenset[str]:
        """What any file reveals."""
        return frozenset().union(*self.by_file.values())

    @property
    def survivors(self) -> tuple[str, ...]:
        """What no file of this network reveals."""
        return tuple(k for k in self.mistakes if k not in self.killed)


def table(
    archs: Iterable[str] = (),
    *,
    measure: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[NetworkPower]:
    """Collect what the files of each network reveal.

    Arguments
        archs: names in the registry; none for all.
        measure: run every mistake again; else what the manifests say.
        progress: called with (files done, files in all).

    Raises
        ValueError: no such architecture.
    """
    wanted = names(archs)
    by_network: dict[tuple[str, int], dict[str, frozenset[str]]] = {}
    for done, name in enumerate(wanted):
        if progress is not None:
            progress(done, len(wanted))
        plan, vector = plans()[name], load(name)
        said = None if measure else vector.manifest.get("kills")
        found = kills(vector) if said is None else said
        files = by_network.setdefault((plan.arch, plan.example), {})
        files[name] = frozenset(
            [*found["variants"], *(BACKWARD + k for k in found["backward"])]
        )
    return [
        _of_network(arch, example, files)
        for (arch, example), files in sorted(
            by_network.items(), key=lambda item: (_rank(item[0][0]), item[0][1])
        )
    ]


def _rank(arch: str) -> int:
    return list(REGISTRY).index(arch)


def _of_network(
    arch: str, example: int, files: Mapping[str, frozenset[str]]
) -> NetworkPower:
    network = REGISTRY[arch].examples[example]
    mistakes = [v.key for v in variants(network)]
    mistakes += [BACKWARD + k for k in backward_keys(network)]
    return NetworkPower(arch, example, repr(network), tuple(mistakes), files)


def survivors(powers: Sequence[NetworkPower]) -> dict[str, list[str]]:
    """Return architecture -> mistakes that none of its files reveals.

    A mistake that networks of one architecture share is revealed where it is
    in one of them: long periods want long sequences, which one file has.
    """
    found: dict[str, list[str]] = {}
    for power in powers:
        same = [p for p in powers if p.arch == power.arch]
        killed = frozenset().union(*(p.killed for p in same))
        left = [k for k in power.survivors if k not in killed]
        found.setdefault(power.arch, [])
        found[power.arch] += [k for k in left if k not in found[power.arch]]
    return found


# --- as a table -------------------------------------------------------------


def markdown(
    powers: Sequence[NetworkPower], onnx: Sequence[OnnxPower] = ()
) -> str:
    """Return the power of all files as tables in Markdown.

    Arguments
        onnx: what ``onnx_power`` measured, to stand beside ours.
    """
    left = survivors(powers)
    lines = [
        "| architecture | networks | files | wrong variants | wrong backward"
        " passes | not revealed |",
        "|---|---|---|---|---|---|",
    ]
    for arch, missed in left.items():
        own = [p for p in powers if p.arch == arch]
        known = {k for p in own for k in p.mistakes}
        backward = sum(k.startswith(BACKWARD) for k in known)
        files = sum(len(p.by_file) for p in own)
        lines.append(
            f"| {arch} | {len(own)} | {files} | {len(known) - backward} |"
            f" {backward} | {len(missed)} |"
        )
    lines += [
        "",
        "| file | wrong variants | of | wrong backward passes | of |",
        "|---|---|---|---|---|",
    ]
    for power in powers:
        of_backward = sum(k.startswith(BACKWARD) for k in power.mistakes)
        of_forward = len(power.mistakes) - of_backward
        for name, killed in power.by_file.items():
            backward = sum(k.startswith(BACKWARD) for k in killed)
            lines.append(
                f"| {name} | {len(killed) - backward} | {of_forward} |"
                f" {backward} | {of_backward} |"
            )
    if onnx:
        lines += ["", *_beside(powers, onnx)]
    return "\n".join(lines) + "\n"


def as_json(
    powers: Sequence[NetworkPower], onnx: Sequence[OnnxPower] = ()
) -> dict[str, Any]:
    """Return everything that was measured."""
    return {
        "networks": [
            {
                "arch": p.arch,
                "example": p.example,
                "call": p.call,
                "mistakes": list(p.mistakes),
                "by_file": {k: sorted(v) for k, v in p.by_file.items()},
                "survivors": list(p.survivors),
            }
            for p in powers
        ],
        "survivors": survivors(powers),
        "onnx": [
            {
                "operator": p.operator,
                "cases": list(p.cases),
                "mistakes": list(p.mistakes),
                "survivors": list(p.survivors),
            }
            for p in onnx
        ],
    }


def _beside(
    powers: Sequence[NetworkPower], onnx: Sequence[OnnxPower]
) -> list[str]:
    """Put ONNX's vectors beside ours, by cell."""
    cell = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}
    lines = [
        "| ONNX operator | cases | wrong variants | not revealed | not revealed"
        " by ours |",
        "|---|---|---|---|---|",
    ]
    ours = survivors(powers)
    for power in onnx:
        missed = [
            k
            for k in ours.get(cell[power.operator], [])
            if not k.startswith(BACKWARD)
        ]
        lines.append(
            f"| {power.operator} | {len(power.cases)} |"
            f" {len(power.mistakes)} | {len(power.survivors)} |"
            f" {len(missed)} |"
        )
    return lines
