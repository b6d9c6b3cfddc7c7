// Has npm's @sigstore/verify (see package.json) verify an exported log.
//
//     node sigstore.mjs LOG_DIR VKEY_FILE INDEX [OLD_CHECKPOINT]
//
// Run it where the package is installed. The package verifies signatures and inclusion but reads no files, so the proof
// is made here, from all the entries (hash tiles are not read): a wrong proof can only be rejected. It has no
// consistency check: of an old checkpoint only the signature is verified, and that the log has not become shorter.
// Prints `ok …` and exits 0, or prints `rejected …` and exits 1.

import { createHash, createPublicKey } from "node:crypto";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

// The two modules are not among the package's exports.
const require = createRequire(join(process.cwd(), "package.json"));
const dist = dirname(require.resolve("@sigstore/verify"));
const { verifyCheckpoint } = require(join(dist, "tlog/checkpoint.js"));
const { verifyMerkleInclusion } = require(join(dist, "tlog/merkle.js"));

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const ED25519_SPKI = Buffer.from("302a300506032b6570032100", "hex");

function trustedLog(vkey) {
  const [name, id, ...key] = vkey.trim().split("+");
  const publicKey = Buffer.from(key.join("+"), "base64").subarray(1);
  return {
    baseURL: name,
    logID: Buffer.from(id, "hex"),
    publicKey: createPublicKey({
      key: Buffer.concat([ED25519_SPKI, publicKey]), format: "der", type: "spki",
    }),
  };
}

function numberPath(number) {
  let path = String(number % 1000).padStart(3, "0");
  while ((number = Math.floor(number / 1000)) > 0) {
    path = `x${String(number % 1000).padStart(3, "0")}/${path}`;
  }
  return path;
}

function readEntries(log, size) {
  const entries = [];
  while (entries.length < size) {
    const width = Math.min(256, size - entries.length);
    const suffix = width === 256 ? "" : `.p/${width}`;
    const path = `tile/entries/${numberPath(Math.floor(entries.length / 256))}${suffix}`;
    const bundle = readFileSync(join(log, path));
    for (let at = 0; at < bundle.length; ) {
      const end = at + 2 + bundle.readUInt16BE(at);
      entries.push(bundle.subarray(at + 2, end));
      at = end;
    }
  }
  return entries;
}

const split = (count) => 2 ** Math.floor(Math.log2(count - 1));

function root(leaves) {
  if (leaves.length === 1) return leaves[0];
  const k = split(leaves.length);
  return sha256(Buffer.from([1]), root(leaves.slice(0, k)), root(leaves.slice(k)));
}

// PATH of RFC 6962, section 2.1.1.
function inclusion(index, leaves) {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  return index < k
    ? [...inclusion(index, leaves.slice(0, k)), root(leaves.slice(k))]
    : [...inclusion(index - k, leaves.slice(k)), root(leaves.slice(0, k))];
}

function verify(logDirectory, vkeyFile, index, oldCheckpoint) {
  const log = trustedLog(readFileSync(vkeyFile, "utf8"));
  const open = (path) => {
    const proof = { checkpoint: { envelope: readFileSync(path, "utf8") } };
    return verifyCheckpoint({ inclusionProof: proof }, [log]);
  };
  const head = open(join(logDirectory, "checkpoint"));
  const entries = readEntries(logDirectory, Number(head.logSize));
  const hashes = inclusion(Number(index), entries.map((entry) => sha256(Buffer.from([0]), entry)));
  const inclusionProof = { logIndex: index, hashes };
  verifyMerkleInclusion({ canonicalizedBody: entries[index], inclusionProof }, head);
  if (oldCheckpoint && open(oldCheckpoint).logSize > head.logSize) {
    throw new Error("the log has become shorter");
  }
  return `${head.origin} ${head.logSize}`;
}

try {
  console.log("ok", verify(...process.argv.slice(2)));
} catch (error) {
  console.log("rejected", error.message);
  process.exit(1);
}
