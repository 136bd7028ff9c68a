"""Made-up distributions: a file, its entry in the table, and its wheel."""

import hashlib
import zipfile

from msref.data.packages import Packaged

DATA = b"seven sequences, by nobody\n" * 40


def packaged(data=DATA, name="made-up", member="made_up/data/some.dat"):
    """Return the entry that asks for ``data``."""
    return Packaged(
        name=name,
        distribution="made-up",
        version="1.0",
        member=member,
        sha256=hashlib.sha256(data).hexdigest(),
        size=len(data),
        licence="none",
        note="made up",
    )


def wheel(folder, data=DATA, member="made_up/data/some.dat", zipped=False):
    """Write a wheel that pip accepts, with the data as they are or zipped."""
    how = zipfile.ZIP_DEFLATED if zipped else zipfile.ZIP_STORED
    folder.mkdir(exist_ok=True)
    path = folder / "made_up-1.0-py3-none-any.whl"
    info = "made_up-1.0.dist-info"
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr(member, data)
        archive.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: made-up\nVersion: 1.0\n",
        )
        archive.writestr(
            f"{info}/WHEEL",
            "Wheel-Version: 1.0\nGenerator: by hand\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n",
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


def offline(monkeypatch, folder):
    """Let pip see the wheels of ``folder`` and nothing else."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
