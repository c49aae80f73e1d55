"""Starting Keras without what TensorFlow writes about its build and about missing devices."""

import os
import sys
import tempfile


def import_keras() -> None:
    """Import Keras and its backend; what they write meanwhile is kept, and shown if that fails.

    TensorFlow's own code writes to the file descriptor before it knows of TF_CPP_MIN_LOG_LEVEL.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    shown = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            import keras  # noqa: F401
        except BaseException:
            kept.seek(0)
            os.write(shown, kept.read())
            raise
        finally:
            os.dup2(shown, 2)
            os.close(shown)
