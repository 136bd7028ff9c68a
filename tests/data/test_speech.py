"""MFCCs keep what they should, and the words are cut where they lie."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from msref.data import load_timit_words, mfcc
from msref.data.speech import WORDS, read_sphere, read_words

RATE = 16_000


def noise(n, seed=0):
    return np.random.default_rng(seed).standard_normal(n)


# --- MFCC -------------------------------------------------------------------


@given(st.integers(1, 3000), st.sampled_from([8_000, 16_000, 44_100]))
def test_every_sample_is_in_a_frame_and_the_last_frame_has_one(n, rate):
    n_time = len(mfcc(noise(n), rate))
    width, hop = round(0.025 * rate), round(0.010 * rate)
    assert (n_time - 1) * hop + width >= n
    assert n_time == 1 or (n_time - 2) * hop + width < n


@given(st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_loudness_is_in_the_first_coefficient_alone(seed, exponent):
    signal, factor = noise(1200, seed), 10.0**exponent
    soft, loud = mfcc(signal, RATE), mfcc(factor * signal, RATE)
    louder = 2 * np.log(factor)
    np.testing.assert_allclose(loud[:, 0], soft[:, 0] + louder, atol=1e-9)
    np.testing.assert_allclose(loud[:, 1:], soft[:, 1:], atol=1e-9)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_a_later_word_has_the_same_frames_later(seed, steps):
    signal = noise(1600, seed)
    later = np.concatenate([np.zeros(160 * steps), signal])
    np.testing.assert_allclose(
        mfcc(later, RATE)[steps:], mfcc(signal, RATE), atol=1e-9
    )


def test_by_the_equations_one_by_one():
    n, rate = 205, 8_000
    s = noise(n)
    e = [s[0]] + [s[t] - 0.97 * s[t - 1] for t in range(1, n)]
    e += [0.0] * (280 - n)  # two frames of 200 samples, 80 apart
    mel = [j * 2595 * np.log10(1 + 4000 / 700) / 27 for j in range(28)]
    edge = [700 * (10 ** (m / 2595) - 1) for m in mel]
    for t, found in enumerate(mfcc(s, rate)):
        frame = [
            e[80 * t + i] * (0.54 - 0.46 * np.cos(2 * np.pi * i / 199))
            for i in range(200)
        ]
        turn = np.exp(-2j * np.pi * np.outer(range(129), range(200)) / 256)
        power = np.abs(turn @ frame) ** 2 / 256
        log_e = np.zeros(26)
        for j in range(26):
            a, b, c = edge[j : j + 3]
            for k in range(129):
                f = k * 8000 / 256
                up, down = (f - a) / (b - a), (c - f) / (c - b)
                log_e[j] += power[k] * max(0, min(up, down))
        log_e = np.log(log_e)
        expected = [
            np.sqrt(2 / 26)
            * sum(
                log_e[j] * np.cos(np.pi * k * (j + 0.5) / 26) for j in range(26)
            )
            for k in range(13)
        ]
        expected[0] = np.log(power.sum())
        np.testing.assert_allclose(found, expected, atol=1e-10)


def test_silence_is_finite():
    assert np.isfinite(mfcc(np.zeros(1000), RATE)).all()


@pytest.mark.parametrize(
    ("signal", "options", "message"),
    [
        ([], {}, r"signal has shape \(0,\)"),
        ([[1.0, 2.0]], {}, r"signal has shape \(1, 2\)"),
        ([1.0, np.nan], {}, "finite"),
        ([1.0], {"n_mfcc": 27}, r"n_mfcc is 27, expected 1\.\.26"),
        ([1.0], {"n_mfcc": 0}, r"n_mfcc is 0"),
        ([1.0], {"step": 0.0}, "step of 0 samples"),
        ([1.0], {"window": 0.0}, "window of 0"),
    ],
)
def test_other_signals_and_numbers_are_refused(signal, options, message):
    with pytest.raises(ValueError, match=message):
        mfcc(signal, RATE, **options)


# --- SPHERE and .WRD --------------------------------------------------------


def sphere(samples, order="01", **changed):
    fields = {
        "database_id": "-s5 TIMIT",
        "channel_count": "-i 1",
        "sample_count": f"-i {len(samples)}",
        "sample_rate": f"-i {RATE}",
        "sample_n_bytes": "-i 2",
        "sample_byte_format": f"-s2 {order}",
        "sample_sig_bits": "-i 16",
    }
    lines = [f"{k} {v}\n" for k, v in (fields | changed).items() if v]
    header = "NIST_1A\n   1024\n" + "".join(lines) + "end_head\n"
    dtype = {"01": "<i2", "10": ">i2"}[order]
    return header.encode().ljust(1024) + np.asarray(samples, dtype).tobytes()


@pytest.mark.parametrize("order", ["01", "10"])
def test_reads_16_bits_in_either_order(tmp_path, order):
    path = tmp_path / "some.wav"
    samples = [0, 1, -32768, 32767, 258]
    path.write_bytes(sphere(samples, order) + b"more")
    signal, rate = read_sphere(path)
    assert rate == RATE
    assert signal.dtype == np.float64
    np.testing.assert_array_equal(signal * 32768, samples)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"RIFF....WAVE", "not a NIST SPHERE file"),
        (b"NIST_1A\n   10", "end_head"),
        (sphere([1, 2])[:200], "holds 0 bytes"),
        (sphere([1, 2])[:-1], "holds 3 bytes of samples, expected 2 samples"),
        (sphere([1], sample_coding="-s23 pcm,embedded-shorten"), "shorten"),
        (sphere([1], channel_count="-i 2"), "channel_count is 2, expected 1"),
        (sphere([1], sample_n_bytes="-i 1"), "sample_n_bytes is 1"),
        (sphere([1], sample_rate=""), "damaged header: 'sample_rate'"),
        (sphere([1], sample_rate="-i many"), "damaged header"),
        (sphere([1], sample_byte_format="-s1 1"), "damaged header: '1'"),
        (sphere([1], sample_count="-i -1"), "expected -1 samples"),
    ],
)
def test_a_damaged_or_other_signal_is_named(tmp_path, data, message):
    path = tmp_path / "some.wav"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_sphere(path)
    assert str(path) in str(caught.value)


def test_reads_words(tmp_path):
    path = tmp_path / "some.WRD"
    path.write_text("10 20 She\n20 35 had\n\n")
    assert read_words(path) == [(10, 20, "she"), (20, 35, "had")]
    for wrong in ("10 20", "10 x word", "word"):
        path.write_text(f"0 1 a\n{wrong}\n")
        with pytest.raises(ValueError, match=rf"some\.WRD .*'{wrong}'"):
            read_words(path)


# --- the 25 words -----------------------------------------------------------


def write_speaker(folder, speaker, words, lower=False):
    """Write one utterance of all ``words``, each with its own noise."""
    place = folder / ("TEST" if speaker % 3 == 0 else "TRAIN") / f"S{speaker}"
    place.mkdir(parents=True)
    rng = np.random.default_rng(speaker)
    samples = rng.integers(-3000, 3000, 50 + 700 * len(words))
    lines = [
        f"{50 + 700 * i} {50 + 700 * (i + 1)} {word}\n"
        for i, word in enumerate(words)
    ]
    name = "sx1" if lower else "SX1"
    wav, wrd = (".wav", ".wrd") if lower else (".WAV", ".WRD")
    (place / f"{name}{wav}").write_bytes(sphere(samples))
    (place / f"{name}{wrd}").write_text("".join(lines))
    return samples


@pytest.fixture(scope="module")
def timit(tmp_path_factory):
    """Eight speakers who say all words, and how each word sounds."""
    folder = tmp_path_factory.mktemp("timit")
    sounds = {word: [] for word in WORDS}
    said = ["the", *WORDS, "making"]  # only the first counts
    for speaker in range(8):
        samples = write_speaker(folder, speaker, said, lower=speaker > 4)
        for i, word in enumerate(said[:-1]):
            if word in sounds:
                cut = samples[50 + 700 * i : 50 + 700 * (i + 1)] / 32768
                sounds[word].append(mfcc(cut, RATE))
    return folder, sounds


def test_there_are_25_words_of_five_suffixes():
    assert len(set(WORDS)) == 25
    for suffix in ("ing", "cal", "tion", "tions|sions|cians", "way"):
        assert (
            sum(word.endswith(tuple(suffix.split("|"))) for word in WORDS) == 5
        )


def test_seven_utterances_of_each_word_five_to_train(timit):
    folder, sounds = timit
    read = load_timit_words(folder, np.random.default_rng(0))
    assert read.classes == WORDS
    assert read.valid == read.train
    for part, each in {"train": 5, "test": 2}.items():
        facts = read.describe()[part]
        assert facts["smallest_class"] == facts["largest_class"] == each
    for label, word in enumerate(WORDS):
        known = {sound.tobytes() for sound in sounds[word]}
        drawn = [x for x, k in read.train + read.test if k == label]
        assert len(drawn) == len({x.tobytes() for x in drawn}) == 7
        assert {x.tobytes() for x in drawn} <= known
    assert read.standardised().train[0][0].shape == read.train[0][0].shape


def test_the_generator_draws(timit):
    def first(seed):
        read = load_timit_words(timit[0], np.random.default_rng(seed))
        return [x.tobytes() for x, _ in read.test]

    assert first(0) == first(0)
    assert first(0) != first(1)


def test_too_few_utterances_are_counted(tmp_path):
    for speaker in range(7):
        words = [w for w in WORDS if w != "subway" or speaker > 0]
        write_speaker(tmp_path, speaker, words)
    with pytest.raises(ValueError, match=r"expected 7 of each word: subway 6$"):
        load_timit_words(tmp_path, np.random.default_rng(0))


def test_a_folder_without_words_and_a_word_without_samples(tmp_path):
    rng = np.random.default_rng(0)
    with pytest.raises(FileNotFoundError, match=r"holds no \.WRD file"):
        load_timit_words(tmp_path, rng)
    for speaker in range(7):
        write_speaker(tmp_path, speaker, WORDS)
    (lost,) = tmp_path.glob("TRAIN/S1/*.WAV")
    data = lost.read_bytes()
    lost.unlink()
    with pytest.raises(FileNotFoundError, match=r"S1.SX1\.WAV"):
        load_timit_words(tmp_path, rng)
    short = np.frombuffer(data[1024:], "<i2")[:-1]
    lost.write_bytes(sphere(short))
    with pytest.raises(ValueError, match=r"SX1\.WRD has a word at .*samples 0"):
        load_timit_words(tmp_path, rng)
