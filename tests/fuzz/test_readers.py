"""What reads others' files, on all that was once found and on changes of what is sound."""

import random
from pathlib import Path

import pytest

import readers

CASES = Path(__file__).parent / "cases"


@pytest.mark.parametrize("reader", readers.READERS, ids=lambda reader: reader.__name__)
def test_changed_files_do_no_harm(reader):
    seeds, chance = readers.READERS[reader](), random.Random(0)
    for seed in seeds:
        reader(seed)
    for _ in range(60):
        reader(readers.mutated(chance.choice(seeds), chance))


@pytest.mark.parametrize("path", sorted(CASES.glob("*/*")), ids=lambda path: path.name)
def test_what_was_once_found_stays_mended(path):
    readers.named(path.parent.name)(path.read_bytes())
