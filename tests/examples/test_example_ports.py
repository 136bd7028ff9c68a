"""The example ports agree with the vectors, and a wrong port is found out."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from msref.vectors.compare import compare

PORTS = Path(__file__).parents[2] / "examples" / "ports"
MISSING = [n for n in ("torch", "jax") if importlib.util.find_spec(n) is None]
pytestmark = pytest.mark.skipif(
    bool(MISSING),
    reason=f"needs {' and '.join(MISSING)}: pip install 'msref[ports]'",
)


def python(*arguments):
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=PORTS,
        env=os.environ | {"COLUMNS": "160", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=600,
    )


# All files take minutes: CI runs check.py on them.
SOME = [
    "lmn/basic-2",
    "mslmn/basic-4",
    "clockwork/basic-2",
    "indrnn/basic-3",
    "brc/basic-2",
    "nbrc/basic",
]


def test_the_ports_agree_with_vectors(tmp_path):
    done = python("check.py", *SOME, "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{4 * len(SOME)} of {4 * len(SOME)} candidates agree" in done.stdout
    folders = [
        f"{p}-{d}" for p in ("jax", "pytorch") for d in ("float32", "float64")
    ]
    found = sorted(tmp_path.rglob("*.safetensors"))
    names = [f"{name}.safetensors" for name in SOME]
    assert found == sorted(tmp_path / f / n for f in folders for n in names)


BREAKS = {
    "a gate that sees one unit": (
        "pytorch_ports.NBRC.fed_back = lambda self, h:"
        " (h * self.W_hc.diagonal(), h @ self.W_ha)",
        "nbrc/basic",
        2,
    ),
    "a clock that counts from the wrong frame": (
        "step = jax_ports.clockwork\n"
        "check.PORTS['clockwork'] = (check.PORTS['clockwork'][0],"
        " lambda p, h, x, t, **o: step(p, h, x, t + 1, **o),"
        " check.PORTS['clockwork'][2])",
        "clockwork/basic-2",
        2,
    ),
    "a slope of one half at the kink": (
        "jax_ports.jax.nn.relu = lambda a: jax_ports.jnp.maximum(a, 0.0)",
        "indrnn/at-kink",
        2,
    ),
    "a gradient that stops": (
        "step = pytorch_ports.LMN.step\n"
        "pytorch_ports.LMN.step = lambda self, m, x, t:"
        " step(self, m.detach() if t == 3 else m, x, t)",
        "lmn/basic",
        2,
    ),
}


@pytest.mark.parametrize("mistake", BREAKS)
def test_a_broken_port_fails(mistake):
    code, name, n_agree = BREAKS[mistake]
    done = python(
        "-c",
        "import sys, check, jax_ports, pytorch_ports\n"
        f"{code}\nsys.exit(check.main([{name!r}]))",
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"{n_agree} of 4 candidates agree" in done.stdout


def test_the_ports_know_every_option():
    done = python(
        "-c",
        "from dataclasses import fields\n"
        "from check import PORTS\n"
        "from msref import REGISTRY\n"
        "for name, (_, _, options) in PORTS.items():\n"
        "    all = {f.name for f in fields(REGISTRY[name].cls)}\n"
        "    print(name, *sorted(all - {*options}))\n",
    )
    assert done.returncode == 0, done.stderr
    # Sizes, what shows in the parameters, and what concerns the start alone.
    assert done.stdout.split("\n") == [
        "lmn n_hid n_in n_mem",
        "mslmn learned_start n_hid n_in n_mem",
        "clockwork n_hid n_in",
        "indrnn gamma horizon mixes n_hid n_in reads",
        "brc candidate_bias n_hid n_in",
        "nbrc candidate_bias n_hid n_in recurrent",
        "",
    ]


def test_the_wrong_gru_is_diagnosed(tmp_path):
    path = tmp_path / "wrong.safetensors"
    done = python("wrong_gru.py", path)
    assert (done.returncode, done.stderr) == (0, "")
    found = compare("gru/basic", path)
    assert not found.ok
    assert (found.first.array, found.first.time) == ("trace/n", 0)
    assert "reset" in str(found)
