"""Data sets: embedded, generated, and read from files."""

from msref.data.batching import mask, minibatches, next_frame, pad
from msref.data.music import (
    MusicSet,
    find_polyphonic,
    load_chorales,
    load_polyphonic,
)
from msref.data.tasks import autoregressive, random_sequences

__all__ = [
    "MusicSet",
    "autoregressive",
    "find_polyphonic",
    "load_chorales",
    "load_polyphonic",
    "mask",
    "minibatches",
    "next_frame",
    "pad",
    "random_sequences",
]
