"""A GRU in PyTorch that is wrong on purpose, to see its diagnosis.

    python examples/ports/wrong_gru.py wrong.safetensors
    msref vectors compare gru/basic wrong.safetensors

It resets the state before the product with W_hn; the network of ``gru/basic``
resets what comes out of that product, bias included.
"""

from __future__ import annotations

import sys

import torch
from pytorch_ports import Recurrent

from msref.files import write_arrays
from msref.vectors import load


class WrongGRU(Recurrent):
    """Gated recurrent unit with the other dialect's reset."""

    def step(self, state, x, t):
        r = torch.sigmoid(x @ self.W_xr + state @ self.W_hr + self.b_r)
        z = torch.sigmoid(x @ self.W_xz + state @ self.W_hz + self.b_z)
        reset = (r * state) @ self.W_hn + self.b_hn  # r * (h W_hn + b_hn)
        n = torch.tanh(x @ self.W_xn + self.b_n + reset)
        h = (1.0 - z) * n + z * state
        return h, {"r": r, "z": z, "n": n, "y": h}


def main(path: str) -> None:
    vector = load("gru/basic")
    network = WrongGRU(vector.params)
    with torch.no_grad():
        x, h = torch.tensor(vector.x), torch.tensor(vector.state0["h"])
        y, h, trace = network(x, h, traced=True)
    outputs = {f"trace/{k}": torch.stack(trace[k]) for k in "rzn"}
    outputs |= {"y": y, "state/h": h}
    write_arrays(path, {k: v.numpy() for k, v in outputs.items()})


if __name__ == "__main__":
    main(sys.argv[1])
