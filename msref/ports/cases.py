"""What can run the layers of the frameworks, and which are run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from msref.architectures import GRU, LSTM, Bidirectional, Elman, Stack
from msref.arrays import Arrays
from msref.ports import run_jax, run_keras, run_onnx, run_torch
from msref.ports.point import Outcome, Point


@dataclass(frozen=True)
class Runner:
    """What runs the layers of one framework.

    Attributes
        framework: short name.
        needs: packages.
        run: takes layer, weights and point.
        precision: that it computes in.
        lacks: parameters that its layers do not have.
        remark: what is special about how it runs.
    """

    framework: str
    needs: tuple[str, ...]
    run: Callable[[str, Arrays, Point], Outcome]
    precision: str = "float64"
    lacks: tuple[str, ...] = ()
    remark: str = ""


RUNNERS = {
    "torch": Runner("torch", ("torch",), run_torch.run),
    "keras": Runner(
        "keras",
        ("keras", "jax"),
        run_keras.run,
        remark="with JAX's tanh and sigmoid, see keras-float32",
    ),
    "keras-float32": Runner(
        "keras",
        ("keras", "jax"),
        run_keras.run,
        precision="float32",
        remark="its own tanh and sigmoid are float32 on JAX",
    ),
    "flax": Runner(
        "flax", ("flax", "jax"), partial(run_jax.run, run_jax.linen)
    ),
    "nnx": Runner(
        "nnx",
        ("flax", "jax"),
        partial(run_jax.run, run_jax.nnx),
        lacks=("b_hn",),
    ),
    "haiku": Runner(
        "haiku", ("dm-haiku", "jax"), partial(run_jax.run, run_jax.haiku)
    ),
    "equinox": Runner(
        "equinox", ("equinox", "jax"), partial(run_jax.run, run_jax.equinox)
    ),
    "onnx": Runner(
        "onnx", ("onnx",), partial(run_onnx.run, run_onnx.reference)
    ),
    "onnxruntime": Runner(
        "onnx",
        ("onnxruntime", "onnx"),
        partial(run_onnx.run, run_onnx.runtime),
        precision="float32",
        remark="it refuses float64",
    ),
}
"""What can be run; cuDNN needs a GPU and is not."""


def both(arch: Any) -> Any:
    """Return two equal networks, in both directions."""
    return Bidirectional(arch, arch)


AFTER, BEFORE = GRU(3, 5), GRU(3, 5, reset="before")
TANH, RELU = Elman(3, 5), Elman(3, 5, activation="relu")

CASES: dict[str, tuple[tuple[str, Any], ...]] = {
    "torch": (
        ("RNN", TANH),
        ("RNN", RELU),
        ("RNNCell", TANH),
        ("GRU", AFTER),
        ("GRUCell", AFTER),
        ("LSTM", LSTM(3, 5)),
        ("LSTMCell", LSTM(3, 5)),
        ("RNN", Stack(TANH, Elman(5, 5))),
        ("GRU", Stack(AFTER, GRU(5, 5))),
        ("LSTM", Stack(LSTM(3, 5), LSTM(5, 5))),
        ("RNN", both(TANH)),
        ("GRU", both(AFTER)),
        ("LSTM", both(LSTM(3, 5))),
        ("LSTM", Stack(both(LSTM(3, 5)), both(LSTM(10, 5)))),
    ),
    "keras": (
        ("SimpleRNN", TANH),
        ("SimpleRNN", RELU),
        ("GRU", AFTER),
        ("GRU", BEFORE),
        ("LSTM", LSTM(3, 5)),
        ("LSTM", Stack(LSTM(3, 5), LSTM(5, 4))),
        ("LSTM", both(LSTM(3, 5))),
        ("GRU", Bidirectional(GRU(3, 5), GRU(3, 4, reset="before"))),
    ),
    "flax": (
        ("SimpleCell", TANH),
        ("SimpleCell", RELU),
        ("GRUCell", AFTER),
        ("LSTMCell", LSTM(3, 5)),
        ("OptimizedLSTMCell", LSTM(3, 5)),
        ("LSTMCell", Stack(LSTM(3, 5), LSTM(5, 4))),
        ("GRUCell", Bidirectional(AFTER, GRU(3, 4))),
    ),
    "nnx": (
        ("SimpleCell", TANH),
        ("SimpleCell", RELU),
        ("GRUCell", AFTER),
        ("LSTMCell", LSTM(3, 5)),
        ("OptimizedLSTMCell", LSTM(3, 5)),
        ("OptimizedLSTMCell", Stack(LSTM(3, 5), LSTM(5, 4))),
        ("GRUCell", Bidirectional(AFTER, GRU(3, 4))),
    ),
    "haiku": (
        ("VanillaRNN", RELU),
        ("GRU", BEFORE),
        ("LSTM", LSTM(3, 5)),
        ("LSTM", Stack(LSTM(3, 5), LSTM(5, 4))),
    ),
    "equinox": (("GRUCell", AFTER), ("LSTMCell", LSTM(3, 5))),
    "onnx": (
        ("RNN", TANH),
        ("GRU", AFTER),
        ("GRU", BEFORE),
        ("LSTM", LSTM(3, 5)),
        ("LSTM", Stack(both(LSTM(3, 5)), LSTM(10, 4))),
        ("RNN", both(TANH)),
        ("GRU", both(BEFORE)),
        ("LSTM", both(LSTM(3, 5))),
    ),
}
CASES["keras-float32"] = CASES["keras"][:5]
CASES["onnxruntime"] = (("RNN", RELU), ("RNN", both(RELU)), *CASES["onnx"])
"""What each of them runs. The reference evaluator of ONNX knows no ReLU."""
