#!/usr/bin/env bash
# Pillow 13.0.0 on CPython 3.11: a program that Ctrl+C ends, and that encodes its first PNG in an exit
# handler, has the exit status 1; where it has encoded one before, it ends by SIGINT (130 in a shell).
# Pillow loads its plugins with the first image, that for GIFs among them, which defines named tuples.
# These are evaluated as text, and with any text that is evaluated CPython forgets that it was an
# unhandled KeyboardInterrupt that ended it. Schedulers and shell loops that stop on 130 go on then.
# Seen: "first image at exit: 1" and "second image at exit: 130". Exits 1 if that changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install -q pillow==13.0.0
cat >"$folder/stop.py" <<'PY'
import atexit
import io
import sys

from PIL import Image


def encode():
    Image.new("L", (8, 8)).save(io.BytesIO(), "PNG")


if sys.argv[1] == "second":
    encode()
atexit.register(encode)
raise KeyboardInterrupt
PY
for image in first second; do
    status=0
    PYTHONPATH= bash -c '"$@" 2>/dev/null; exit $?' - \
        "$folder/env/bin/python" "$folder/stop.py" "$image" || status=$?
    echo "$image image at exit: $status" | tee -a "$folder/seen"
done
printf '%s\n' "first image at exit: 1" "second image at exit: 130" | diff - "$folder/seen"
