"""Hold the ports of this folder against msref's vectors.

    python examples/ports/check.py [NAME ...] [--out FOLDER]

Every vector of their architectures, or those named, such as ``lmn/basic``:
trace, outputs, final state, gradients of parameters, input and initial state,
in float64 and float32; from PyTorch the adjoints of every time step as well
(JAX differentiates with respect to arguments, and they are none). Each port
writes a candidate file, as a port in any language would, and ``msref vectors
compare`` judges it. Exit code 1 if any differs. Needs ``msref[ports]``.
"""

from __future__ import annotations

import argparse
import functools
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import jax_ports
import numpy as np
import pytorch_ports
import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from msref.arrays import Arrays
from msref.files import write_arrays
from msref.vectors import Vector, load, names
from msref.vectors.compare import compare

jax.config.update("jax_enable_x64", True)  # float64 is refused otherwise
jax.config.update("jax_default_matmul_precision", "highest")  # no TF32

CLOCKED = ("n_modules", "first", "origin")
PORTS: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "lmn": (pytorch_ports.LMN, jax_ports.lmn, ("output",)),
    "mslmn": (
        pytorch_ports.MultiScaleLMN,
        jax_ports.mslmn,
        ("output", *CLOCKED),
    ),
    "clockwork": (
        pytorch_ports.ClockworkRNN,
        jax_ports.clockwork,
        ("activation", *CLOCKED),
    ),
    "indrnn": (pytorch_ports.IndRNN, jax_ports.indrnn, ("activation",)),
    "brc": (pytorch_ports.BRC, jax_ports.brc, ()),
    "nbrc": (pytorch_ports.NBRC, jax_ports.nbrc, ()),
}
"""Architecture -> its two ports, and the options that they take."""


def options(vector: Vector) -> tuple[str, dict[str, Any]]:
    """Return the short name of the architecture, and the port's options."""
    name = vector.manifest["architecture"]["name"]
    return name, {key: getattr(vector.arch, key) for key in PORTS[name][2]}


def by_pytorch(vector: Vector, dtype: str) -> Arrays:
    """Run the PyTorch port over a vector; return what it computed."""

    def tensor(array: Any) -> torch.Tensor:
        return torch.tensor(array.astype(dtype))

    name, chosen = options(vector)
    params = {k: v.astype(dtype) for k, v in vector.params.items()}
    network = PORTS[name][0](params, **chosen)
    ((symbol, start),) = vector.state0.items()
    x, state0 = tensor(vector.x), tensor(start)
    x.requires_grad_(), state0.requires_grad_()
    y, state, trace = network(x, state0, vector.t0, traced=True)

    outputs = {"y": y, f"state/{symbol}": state}
    outputs |= {
        f"trace/{k}": torch.stack(v) for k, v in trace.items() if k != "y"
    }
    asked = {f"grads/{k}": v for k, v in network.named_parameters()}
    asked |= {"dx": x, f"dstate0/{symbol}": state0}
    adjoints = {
        k: trace[k.removeprefix("adjoints/")]
        for k in vector.expected()
        if k.startswith("adjoints/")
    }
    found = iter(
        torch.autograd.grad(
            [y, state],
            [
                *asked.values(),
                *(a for steps in adjoints.values() for a in steps),
            ],
            [tensor(vector.dy), tensor(vector.dstate[symbol])],
            materialize_grads=True,  # zero where nothing depends on it
        )
    )
    outputs |= {k: next(found) for k in asked}
    for k, steps in adjoints.items():
        outputs[k] = torch.stack([next(found) for _ in steps])
    return {k: v.detach().numpy() for k, v in outputs.items()}


@functools.cache
def jax_step(name: str, **chosen: Any) -> Any:
    """Return a step with its options; the same object for the same ones."""
    return functools.partial(PORTS[name][1], **chosen)


@functools.partial(jax.jit, static_argnums=0)
def both_ways(step: Any, point: Any, t0: int, cotangents: Any) -> Any:
    """Return y and the final state, the trace, and all gradients."""

    def forward(params: Any, x: Any, state0: Any) -> Any:
        y, state, trace = jax_ports.run(step, params, x, state0, t0)
        return (y, state), trace

    outputs, pull, trace = jax.vjp(forward, *point, has_aux=True)
    return outputs, trace, pull(cotangents)


def by_jax(vector: Vector, dtype: str) -> Arrays:
    """Run the JAX port over a vector; return what it computed."""

    def array(value: Any) -> jax.Array:
        return jnp.asarray(value, dtype)

    name, chosen = options(vector)
    params = {k: array(v) for k, v in vector.params.items()}
    ((symbol, start),) = vector.state0.items()
    (y, state), trace, (grads, dx, dstate0) = both_ways(
        jax_step(name, **chosen),
        (params, array(vector.x), array(start)),
        vector.t0,
        (array(vector.dy), array(vector.dstate[symbol])),
    )
    outputs = {f"trace/{k}": v for k, v in trace.items() if k != "y"}
    outputs |= {"y": y, f"state/{symbol}": state}
    outputs |= {f"grads/{k}": v for k, v in grads.items()}
    outputs |= {"dx": dx, f"dstate0/{symbol}": dstate0}
    return {k: np.asarray(v) for k, v in outputs.items()}


def in_two(run: Any, vector: Vector, dtype: str) -> Arrays:
    """Run the frames before the cut and those after it by themselves."""

    def half(frames: slice, given: Arrays) -> Arrays:
        part = vector.arrays | given
        part |= {k: vector.arrays[k][frames] for k in ("x", "dy")}
        said = vector.manifest | {"t0": vector.t0 + frames.start}
        return run(replace(vector, manifest=said, arrays=part), dtype)

    cut, (symbol,) = vector.manifest["cut"], vector.state0
    state, dstate0 = f"state/{symbol}", f"dstate0/{symbol}"
    before, after = slice(0, cut), slice(cut, None)
    at_cut = half(before, {})[state]
    second = half(after, {f"state0/{symbol}": at_cut})
    first = half(before, {f"dstate/{symbol}": second[dstate0]})
    whole = {
        k: v + second[k]
        if k.startswith("grads/")
        else np.concatenate([v, second[k]])
        for k, v in first.items()
    }
    whole |= {state: second[state], dstate0: first[dstate0]}
    return whole | {f"cut/{symbol}": at_cut, f"dcut/{symbol}": second[dstate0]}


RUNS = {"PyTorch": by_pytorch, "JAX": by_jax}
DTYPES = ("float64", "float32")


def candidate(run: Any, name: str, dtype: str, path: Path) -> Any:
    """Write what a port says to a vector; return the comparison."""
    vector = load(name)
    if "cut" in vector.manifest:
        found = in_two(run, vector, dtype)
    else:
        found = run(vector, dtype)
    write_arrays(path, found)
    return compare(name, path)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Hold the ports to vectors.")
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--out", type=Path, help="keep the candidates here")
    chosen = parser.parse_args(arguments)
    columns = [(port, dtype) for port in RUNS for dtype in DTYPES]
    table = Table()
    table.add_column("vector", no_wrap=True)
    for column in columns:
        table.add_column("\n".join(column))
    differing = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.out or Path(temporary)
        for name in track(
            chosen.names or names(PORTS), console=Console(stderr=True)
        ):
            row = []
            for port, dtype in columns:
                place = folder / f"{port.lower()}-{dtype}"
                path = place / f"{name}.safetensors"
                path.parent.mkdir(parents=True, exist_ok=True)
                found = candidate(RUNS[port], name, dtype, path)
                row.append("agrees" if found.ok else "differs")
                if not found.ok:
                    differing.append(f"{name}, {port}, {dtype}\n{found}")
            table.add_row(name, *row)
    console = Console()
    console.print(table)
    for report in differing:
        console.print(f"\n{report}", markup=False)
    n = table.row_count * len(columns)
    console.print(f"{n - len(differing)} of {n} candidates agree")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
