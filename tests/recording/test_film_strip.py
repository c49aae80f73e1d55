"""What lies beside a run in place of its film strip costs no more, whatever it holds."""

import io
import resource
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest

from keras_saliency.recording.film_strip import FilmStrips

BYTES = 200_000_000  # of zeros, which hardly take any once they are packed
SIDES = 20_000, 10_000  # pixels of a picture of 25 KB


def strips(folder):
    display = np.full((2, 60, 80, 3), 90, np.uint8)
    return FilmStrips(["a", "b"], ["x", "y"], display, "logits", 1, folder)


def add(kept, step):
    """Add a column, and return how many columns the strip shows."""
    strip = kept.add("cam", step, f"epoch {step + 1}", np.ones((2, 3, 4), np.float32), False)
    return strip.shape[1]


def measure(sound, other):
    """Print the MiB that going on in another folder takes beyond a sound one, and the widths."""
    widths, peaks = [], []
    for folder in (sound, other):
        widths.append(add(strips(Path(folder)), 3))
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(peaks[1] - peaks[0], *widths)


def stored(folder):
    """Store a strip of three columns, and return the members of its archive."""
    kept = strips(folder)
    for step in range(3):
        add(kept, step)
    kept.store()
    with zipfile.ZipFile(folder / "cam.npz") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def header(dtype, *shape):
    file = io.BytesIO()
    said = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, said)
    return file.getvalue()


def large_picture():
    """A PNG of one bit a pixel, which a reader spreads out to three bytes a pixel."""
    width, height = SIDES
    parts = {
        b"IHDR": struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0),
        b"IDAT": zlib.compress(bytes(height * (1 + width // 8))),
        b"IEND": b"",
    }
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts.items()
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


PACKINGS = {"deflated": zipfile.ZIP_DEFLATED, "bzip2": zipfile.ZIP_BZIP2, "lzma": zipfile.ZIP_LZMA}


@pytest.mark.parametrize("case", ["stored", *PACKINGS, "picture", "rows", "texts"])
def test_an_archive_is_measured_before_it_is_unpacked(tmp_path, case):
    members = stored(tmp_path / "sound")
    (tmp_path / "other").mkdir()
    if case == "picture":
        picture = large_picture()
        members["sheet.npy"] = header("|u1", len(picture)) + picture
    elif case in ("rows", "texts"):
        shape = (10**9, 0) if case == "rows" else (10**9,)
        members["labels.npy"] = members["steps.npy"] = header("<U0", *shape)
    else:
        members["sheet.npy"] = header("|u1", BYTES) + bytes(BYTES)
    path = tmp_path / "other" / "cam.npz"
    with zipfile.ZipFile(path, "w", PACKINGS.get(case, zipfile.ZIP_STORED)) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    code = "import sys, test_film_strip as t; t.measure(*sys.argv[1:])"
    folders = [str(tmp_path / name) for name in ("sound", "other")]
    done = subprocess.run(
        [sys.executable, "-c", code, *folders],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parent,
        timeout=120,
    )
    taken, *widths = map(float, done.stdout.split())
    assert taken < 30
    assert widths[0] - widths[1] == 3 * (96 + 2)  # the strip that can't be read starts anew
