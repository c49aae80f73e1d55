"""The record format, against published checksums and TensorBoard's own code."""

import io

import numpy as np
import pytest
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from keras_saliency.recording.tensorboard import tfrecord


@pytest.mark.parametrize(
    ("data", "checksum"),
    [  # RFC 3720, appendix B.4, and the usual check value
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
    ],
)
def test_published_checksums(data, checksum):
    masked = (checksum >> 15 | checksum << 17) + 0xA282EAD8 & 0xFFFFFFFF
    assert tfrecord._masked(data) == masked


def test_records_are_those_of_tensorboard():
    rng = np.random.default_rng(0)
    for length in [*range(4, 70), 255, 256, 257, 1000, 65_537]:
        data = rng.bytes(length)
        file = io.BytesIO()
        RecordWriter(file).write(data)
        assert tfrecord.frame(data) == file.getvalue(), length


def test_one_changed_bit_changes_the_checksum():
    data = bytearray(np.random.default_rng(1).bytes(4096))
    before = tfrecord._masked(bytes(data))
    for place in (0, 3, 4, 2048, 4095):
        data[place] ^= 0x10
        assert tfrecord._masked(bytes(data)) != before
        data[place] ^= 0x10
    assert tfrecord._masked(bytes(data)) == masked_crc32c(bytes(data))
