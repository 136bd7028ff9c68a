"""An array that stands for a GPU's, where there is none.

``Guard`` wraps an array of NumPy and computes with NumPy, so its results
have the same bits. It refuses whatever would bring a real device to the
host or fail there: conversion by accident, arrays of the host beside it,
functions and parameters that CuPy does not have. What is copied across on
purpose is counted.

``on_a_device`` puts a module in the place of CuPy, under its name: msref
comes in through the same door, ``msref.arrays``. What CuPy offers is in
``cupy_names.json``, read off CuPy itself by ``scripts/cupy_names.py``.
"""

import contextlib
import functools
import inspect
import json
import operator
import sys
import types
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft

TOLD = json.loads(Path(__file__).with_name("cupy_names.json").read_text())
NAMES = TOLD["names"]

SCALARS = (bool, int, float, complex, np.generic)
"""What CuPy takes beside its arrays, as numbers."""

WAITS = {"nonzero", "argwhere", "flatnonzero", "unique"}
"""Functions whose result has a size that the host has to wait for."""


class RefusedError(TypeError):
    """Something that a GPU would not do, or not in a hot path."""


@dataclass
class Traffic:
    """What went across.

    Attributes
        reads: numbers, arrays and sizes that the host waited for.
        uploads: arrays that went to the device.
        hot: whether a read is refused.
    """

    reads: int = 0
    uploads: int = 0
    hot: bool = False

    def read(self, what):
        if self.hot:
            raise RefusedError(f"{what} in a hot path: the host would wait")
        self.reads += 1


traffic = Traffic()


@contextlib.contextmanager
def counted():
    """Yield what goes across from here on."""
    reads, uploads = traffic.reads, traffic.uploads
    found = Traffic()
    yield found
    found.reads = traffic.reads - reads
    found.uploads = traffic.uploads - uploads


@contextlib.contextmanager
def hot():
    """Refuse every read in here."""
    before, traffic.hot = traffic.hot, True
    try:
        yield
    finally:
        traffic.hot = before


# --- in and out -------------------------------------------------------------


def inner(value):
    """Return what NumPy computes with; refuse what is not on the device."""
    if isinstance(value, Guard):
        return value._array
    if isinstance(value, np.ndarray):
        raise RefusedError(
            f"an array of the host {value.shape} beside one of the device"
        )
    if isinstance(value, tuple | list):
        return type(value)(inner(item) for item in value)
    return value


def outer(value):
    """Return a result as the device has it: no scalars, no named tuples."""
    if isinstance(value, np.ndarray | np.generic):
        return Guard(np.asarray(value))
    if isinstance(value, tuple | list):
        return tuple(outer(item) for item in value)
    return value


def index(key):
    """Return an index for NumPy; an array of the host would be copied."""
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, list):
            raise RefusedError("a list as an index is copied to the device")
        if isinstance(part, Guard) and part.dtype == bool:
            traffic.read("a boolean index")
    return inner(key)


# --- what CuPy's functions take ---------------------------------------------


@functools.cache
def signature_of(name):
    """Return the signature of a function, as the file tells it."""
    told = NAMES[name]
    if told.startswith("ufunc"):
        n_in, n_out = map(int, told.split()[1:])
        parameters = [
            inspect.Parameter(
                f"x{i}",
                inspect.Parameter.POSITIONAL_ONLY,
                default=inspect.Parameter.empty if i < n_in else None,
            )
            for i in range(n_in + n_out)
        ]
        keywords = ("out", "dtype", "casting")
        return inspect.Signature(parameters + [_keyword(k) for k in keywords])
    parameters, kind = [], inspect.Parameter.POSITIONAL_OR_KEYWORD
    for parameter in filter(None, told.split(", ")):
        if parameter.startswith("*"):
            kind = inspect.Parameter.KEYWORD_ONLY
        if parameter == "*":
            continue
        if parameter.startswith("**"):
            many = inspect.Parameter.VAR_KEYWORD
            parameters.append(inspect.Parameter(parameter[2:], many))
        elif parameter.startswith("*"):
            many = inspect.Parameter.VAR_POSITIONAL
            parameters.append(inspect.Parameter(parameter[1:], many))
        elif kind is inspect.Parameter.KEYWORD_ONLY:
            parameters.append(_keyword(parameter))
        else:
            parameters.append(inspect.Parameter(parameter, kind, default=None))
    return inspect.Signature(parameters)


def _keyword(name):
    kind = inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(name, kind, default=None)


def refuse_unknown(name, args, kwargs):
    """Refuse a call that CuPy does not take."""
    try:
        signature_of(name).bind(*args, **kwargs)
    except TypeError as error:
        raise RefusedError(f"cupy.{name}: {error}") from None


# --- the array --------------------------------------------------------------


class Guard:
    """An array of the device; see the top of this file."""

    __slots__ = ("_array",)
    __array_ufunc__ = None  # NumPy's own functions refuse it
    __hash__ = None

    def __init__(self, array):
        self._array = array

    def __repr__(self):
        return f"Guard({self._array!r})"

    # --- what may not happen by accident

    def __array__(self, *args, **kwargs):
        raise RefusedError("an array of the device is converted implicitly")

    def __array_function__(self, function, kinds, args, kwargs):
        raise RefusedError(f"numpy.{function.__name__} of the device's array")

    # --- what is read on purpose

    def __bool__(self):
        traffic.read("bool()")
        return bool(self._array)

    def __int__(self):
        traffic.read("int()")
        return int(self._array)

    def __float__(self):
        traffic.read("float()")
        return float(self._array)

    def __complex__(self):
        traffic.read("complex()")
        return complex(self._array)

    def __index__(self):
        traffic.read("an index")
        return operator.index(self._array)

    # --- shape and parts

    def __len__(self):
        return len(self._array)

    def __iter__(self):
        return (outer(row) for row in self._array)

    def __getitem__(self, key):
        return outer(self._array[index(key)])

    def __setitem__(self, key, value):
        if not isinstance(value, (Guard, *SCALARS)):
            raise RefusedError(f"{type(value).__name__} written to the device")
        self._array[index(key)] = inner(value)

    def __getattr__(self, name):
        told = NAMES.get(f"ndarray.{name}")
        if told is None:
            raise AttributeError(
                f"'cupy.ndarray' has no attribute {name!r}, or it is not in"
                " cupy_names.json: scripts/cupy_names.py can tell"
            )
        if told == "attribute":
            return outer(getattr(self._array, name))
        return lambda *args, **kwargs: self._call(name, args, kwargs)

    def _call(self, name, args, kwargs):
        refuse_unknown(f"ndarray.{name}", args, kwargs)
        if name in ("get", "item", "tolist"):
            traffic.read(f".{name}()")
            return (
                self._array.copy()
                if name == "get"
                else getattr(self._array, name)(*args)
            )
        if name in WAITS:
            traffic.read(f".{name}()")
        method = getattr(self._array, name)
        return outer(method(*inner(args), **_inner_dict(kwargs)))


def _inner_dict(kwargs):
    return {key: inner(value) for key, value in kwargs.items()}


def _operator(function):
    def of_both(self, other):
        if not isinstance(other, (Guard, np.ndarray, *SCALARS)):
            return NotImplemented
        return outer(function(self._array, inner(other)))

    def reflected(self, other):
        if not isinstance(other, (np.ndarray, *SCALARS)):
            return NotImplemented
        return outer(function(inner(other), self._array))

    return of_both, reflected


def _in_place(function):
    def of_both(self, other):
        if not isinstance(other, (Guard, np.ndarray, *SCALARS)):
            return NotImplemented
        array = function(self._array, inner(other))
        # NumPy makes a new number of a scalar; the device has none.
        self._array[...] = array
        return self

    return of_both


ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow")
for _name in (*ARITHMETIC, "matmul", "and", "or", "xor"):
    _of_both, _reflected = _operator(getattr(operator, f"__{_name}__"))
    setattr(Guard, f"__{_name}__", _of_both)
    setattr(Guard, f"__r{_name}__", _reflected)
    _function = getattr(operator, f"__i{_name}__")
    setattr(Guard, f"__i{_name}__", _in_place(_function))
for _name in ("lt", "le", "gt", "ge", "eq", "ne"):
    _of_both, _ = _operator(getattr(operator, f"__{_name}__"))
    setattr(Guard, f"__{_name}__", _of_both)
for _name in ("neg", "pos", "abs", "invert"):
    _function = getattr(operator, f"__{_name}__")
    setattr(
        Guard,
        f"__{_name}__",
        lambda self, function=_function: outer(function(self._array)),
    )


# --- the module -------------------------------------------------------------


class Functions(types.ModuleType):
    """CuPy's functions, or those of a part of it such as ``linalg``."""

    def __init__(self, name, path=""):
        super().__init__(name)
        vars(self)["_path"] = path

    def __getattr__(self, name):
        full = f"{self._path}{name}"
        if full in NAMES:
            return lambda *args, **kwargs: call(full, args, kwargs)
        if any(known.startswith(f"{full}.") for known in NAMES):
            return Functions(f"cupy.{full}", f"{full}.")
        raise AttributeError(
            f"module 'cupy' has no attribute {full!r}, or it is not in"
            " cupy_names.json: scripts/cupy_names.py can tell"
        )


def solve(a, b):
    """Solve as CuPy does: what is singular gives NaN and no error."""
    try:
        return np.linalg.solve(a, b)
    except np.linalg.LinAlgError:
        return np.full(b.shape, np.nan)


# Transforms as msref computes them on the host.
COMPUTED_BY = {
    "fft.rfft": scipy.fft.rfft,
    "fft.irfft": scipy.fft.irfft,
    "linalg.solve": solve,
}


def uploaded(value, dtype=None, **options):
    """Return an array of the device; itself, where it is one already."""
    if isinstance(value, Guard) and value.dtype == (dtype or value.dtype):
        return value
    if not isinstance(value, Guard):
        traffic.uploads += 1
    return Guard(np.array(getattr(value, "_array", value), dtype, **options))


def call(name, args, kwargs):
    """Call a function of NumPy in the place of CuPy's."""
    refuse_unknown(name, args, kwargs)
    if name == "asarray":
        return uploaded(*args, **kwargs)
    if name in WAITS:
        traffic.read(f"cupy.{name}")
    function = COMPUTED_BY.get(name) or operator.attrgetter(name)(np)
    result = function(*inner(args), **_inner_dict(kwargs))
    out = kwargs.get("out")
    return outer(result) if out is None else out


def module(n_devices=1):
    """Return a module that stands for CuPy on a machine with devices."""
    cupy = Functions("cupy")
    cupy.ndarray = Guard
    cupy.cuda = types.SimpleNamespace(
        runtime=types.SimpleNamespace(getDeviceCount=lambda: n_devices)
    )
    return cupy


# CuPy's arrays say that they are of the module "cupy", wherever it is defined.
Guard.__module__ = "cupy"


@contextlib.contextmanager
def on_a_device(n_devices=1):
    """Put the guard in the place of CuPy while it lasts."""
    before = sys.modules.get("cupy")
    sys.modules["cupy"] = module(n_devices)
    try:
        yield sys.modules["cupy"]
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
