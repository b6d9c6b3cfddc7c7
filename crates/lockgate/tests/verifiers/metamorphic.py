"""Has the PyPI package metamorphic-log (see requirements.txt) verify an exported log.

    metamorphic.py LOG_DIR VKEY_FILE INDEX [OLD_CHECKPOINT]

The package verifies signature, inclusion and consistency but reads no files, so the proofs are made here, from all the
entries (hash tiles are not read): a wrong proof can only be rejected. Prints `ok …` and exits 0, or prints `rejected …` and exits 1.
"""

import hashlib
import sys
from pathlib import Path

from metamorphic_log import checkpoint_verify, checkpoint_verify_consistency, checkpoint_verify_inclusion


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def number_path(number):
    path = f"{number % 1000:03}"
    while number := number // 1000:
        path = f"x{number % 1000:03}/{path}"
    return path


def leaf_hashes(log, size):
    leaves = []
    while len(leaves) < size:
        width = min(256, size - len(leaves))
        path = log / "tile/entries" / number_path(len(leaves) // 256)
        bundle = (path if width == 256 else Path(f"{path}.p/{width}")).read_bytes()
        at = 0
        while at < len(bundle):
            length = int.from_bytes(bundle[at : at + 2], "big")
            leaves.append(sha256(b"\0", bundle[at + 2 : at + 2 + length]))
            at += 2 + length
    return leaves


def split(leaves):
    return 1 << (len(leaves) - 1).bit_length() - 1


def root(leaves):
    if len(leaves) == 1:
        return leaves[0]
    k = split(leaves)
    return sha256(b"\1", root(leaves[:k]), root(leaves[k:]))


def inclusion(index, leaves):
    """PATH of RFC 6962, section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = split(leaves)
    if index < k:
        return inclusion(index, leaves[:k]) + [root(leaves[k:])]
    return inclusion(index - k, leaves[k:]) + [root(leaves[:k])]


def consistency(old, leaves, is_whole=True):
    """SUBPROOF of RFC 6962, section 2.1.2."""
    if old == len(leaves):
        return [] if is_whole else [root(leaves)]
    k = split(leaves)
    if old <= k:
        return consistency(old, leaves[:k], is_whole) + [root(leaves[k:])]
    return consistency(old - k, leaves[k:], False) + [root(leaves[:k])]


def verify(log, vkey, index, old_checkpoint=None):
    log, index = Path(log), int(index)
    vkeys = [Path(vkey).read_text().strip()]
    note = (log / "checkpoint").read_text()
    head = checkpoint_verify(note, vkeys)
    leaves = leaf_hashes(log, head.size)
    checkpoint_verify_inclusion(note, vkeys, index, leaves[index], inclusion(index, leaves))
    if old_checkpoint:
        old_note = Path(old_checkpoint).read_text()
        old = checkpoint_verify(old_note, vkeys)
        if old.size > head.size:
            raise ValueError(f"the log shrank from {old.size} to {head.size} entries")
        proof = consistency(old.size, leaves)
        checkpoint_verify_consistency(old_note, note, vkeys, proof)
    return head


try:
    print("ok", verify(*sys.argv[1:]))
except Exception as error:
    print("rejected", repr(error))
    sys.exit(1)
