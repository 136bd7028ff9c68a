"""Data sets: embedded, fetched, generated, and read from files."""

from msref.data.batching import mask, minibatches, next_frame, pad
from msref.data.labelled import (
    LabelledSet,
    load_mnist,
    load_pen_digits,
    load_spoken_digits,
    load_vowels,
)
from msref.data.music import (
    MusicSet,
    find_polyphonic,
    load_chorales,
    load_polyphonic,
)
from msref.data.packages import PACKAGED, FetchError, Packaged, fetch
from msref.data.recall_tasks import (
    copy_first_input,
    denoising,
    pixel_order,
    pixel_sequences,
)
from msref.data.speech import load_timit_words, mfcc
from msref.data.strokes import StrokeSet, load_strokes
from msref.data.tasks import (
    WAVEFORMS,
    addition_task,
    autoregressive,
    copy_task,
    generation_task,
    random_sequences,
    warped_copy_task,
    waveform,
)
from msref.data.tmaze import TMaze

__all__ = [
    "PACKAGED",
    "WAVEFORMS",
    "FetchError",
    "LabelledSet",
    "MusicSet",
    "Packaged",
    "StrokeSet",
    "TMaze",
    "addition_task",
    "autoregressive",
    "copy_first_input",
    "copy_task",
    "denoising",
    "fetch",
    "find_polyphonic",
    "generation_task",
    "load_chorales",
    "load_mnist",
    "load_pen_digits",
    "load_polyphonic",
    "load_spoken_digits",
    "load_strokes",
    "load_timit_words",
    "load_vowels",
    "mask",
    "mfcc",
    "minibatches",
    "next_frame",
    "pad",
    "pixel_order",
    "pixel_sequences",
    "random_sequences",
    "warped_copy_task",
    "waveform",
]
