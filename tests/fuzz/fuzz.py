"""Feed a reader with changed files for hours: `python fuzz.py READER -max_total_time=SECONDS`.

Coverage leads the way (atheris). What it finds is written to the current folder as `crash-*`; put
it into `cases/READER`, where `test_readers.py` tries it from then on.
"""

import sys
import types
from pathlib import Path

import atheris

# TensorBoard's own reader, in Python, and not TensorFlow's: quick to load, and its ways are seen.
sys.modules["tensorboard.compat.notf"] = types.ModuleType("notf")

with atheris.instrument_imports(include=["keras_saliency", "PIL"]):
    import readers


def main() -> None:
    """Begin from the seeds and the kept cases, and go on from what was learnt before."""
    name, *options = sys.argv[1:]
    reader = readers.named(name)
    corpus = Path("corpus") / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(readers.READERS[reader]()):
        (corpus / f"seed-{number:02d}").write_bytes(seed)
    kept = Path(__file__).parent / "cases" / name
    folders = [str(corpus), *([str(kept)] if kept.is_dir() else [])]
    atheris.Setup([sys.argv[0], "-max_len=8192", "-timeout=60", *options, *folders], reader)
    atheris.Fuzz()


main()
