"""Read a vector with Python and NumPy alone, and check an Elman step with it.

    python reader.py FOLDER/elman/basic.safetensors

Exit code 1 if an output differs by more than 1e-12.
"""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np

DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8"}


def read(path):
    """Return the manifest, and the arrays by name."""
    data = path.read_bytes()
    manifest = json.loads(path.with_suffix(".json").read_text("utf-8"))
    if hashlib.sha256(data).hexdigest() != manifest["checksum"]:
        raise ValueError(f"{path} is not the file that its manifest describes")
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    header.pop("__metadata__", None)
    arrays = {}
    for name, entry in header.items():
        begin, end = (start + offset for offset in entry["data_offsets"])
        flat = np.frombuffer(data[begin:end], DTYPES[entry["dtype"]])
        arrays[name] = flat.reshape(entry["shape"])
    return manifest, arrays


def main():
    manifest, v = read(Path(sys.argv[1]))
    print(manifest["name"], "-", manifest["breaks"])
    for name, array in sorted(v.items()):
        print(f"  {name} {array.shape}")

    h, worst = v["state0/h"], 0.0
    for x_t, y_t in zip(v["x"], v["y"], strict=True):
        a = x_t @ v["params/W_xh"] + h @ v["params/W_hh"] + v["params/b_h"]
        h = np.tanh(a)
        worst = np.maximum(worst, abs(h - y_t).max())  # keeps NaN
    print(f"y recomputed: largest difference {worst:.1e}")
    return 0 if worst <= 1e-12 else 1


if __name__ == "__main__":
    sys.exit(main())
