"""Has the PyPI package aics-tlog (see requirements.txt) verify an exported log.

    aics.py LOG_DIR VKEY_FILE INDEX [OLD_CHECKPOINT]

Signature, inclusion of one entry and growth since an old checkpoint through its command line; every tile and every
entry through its audit. Prints `ok …` and exits 0, or prints `rejected …` and exits 1.
"""

import json
import subprocess
import sys
from pathlib import Path

from aics_tlog import FileSystemTileReader, audit_tiles, parse_checkpoint, parse_note


def run(command, log, vkey, *arguments):
    line = [sys.executable, "-m", "aics_tlog", command, "--tiles", log, "--vkey-file", vkey, *arguments]
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode != 0:
        answer = json.loads(done.stdout) if done.stdout else {"error": done.stderr.strip()}
        raise ValueError(f"{command}: {answer['error']}")


def verify(log, vkey, index, old_checkpoint=None):
    run("verify-checkpoint", log, vkey)
    run("verify-inclusion", log, vkey, "--index", index)
    if old_checkpoint:
        run("verify-consistency", log, vkey, "--old-checkpoint", old_checkpoint)
    # The signature has been verified above; this reads size and root.
    head = parse_checkpoint(parse_note((Path(log) / "checkpoint").read_bytes()).text)
    return audit_tiles(FileSystemTileReader(log), head.size, head.root)


try:
    print("ok", verify(*sys.argv[1:]))
except Exception as error:
    print("rejected", error)
    sys.exit(1)
