//! The tree against published vectors and against another implementation of RFC 6962.
#![allow(clippy::indexing_slicing, reason = "a test that reads beyond its own vectors has failed")]

use ct_merkle::mem_backed_tree::MemoryBackedTree;
use lockgate_ledger::tree::{
    Frontier, HashSource, ProofError, consistency_proof, empty_root, inclusion_proof, leaf_hash,
    node_hash, root_at, verify_consistency, verify_inclusion,
};
use lockgate_types::Digest;
use proptest::prelude::*;
use sha2::Sha256;
use std::convert::Infallible;

struct Leaves(Vec<Digest>);

impl HashSource for Leaves {
    type Error = Infallible;
    fn hash(&mut self, level: u32, index: u64) -> Result<Digest, Infallible> {
        if level == 0 {
            return Ok(self.0[index as usize]);
        }
        let left = self.hash(level - 1, index * 2)?;
        let right = self.hash(level - 1, index * 2 + 1)?;
        Ok(node_hash(&left, &right))
    }
}

fn entries(size: u64) -> Vec<Vec<u8>> {
    (0..size).map(|index| index.to_string().into_bytes()).collect()
}

fn source(size: u64) -> Leaves {
    Leaves(entries(size).iter().map(|entry| leaf_hash(entry)).collect())
}

fn oracle(size: u64) -> MemoryBackedTree<Sha256, Vec<u8>> {
    let mut tree = MemoryBackedTree::new();
    entries(size).into_iter().for_each(|entry| tree.push(entry));
    tree
}

fn bytes(hashes: &[Digest]) -> Vec<u8> {
    hashes.iter().flat_map(|hash| *hash.as_bytes()).collect()
}

/// The leaves and roots that the implementations of Certificate Transparency share.
#[test]
fn roots_of_the_published_leaves() {
    let leaves: [&[u8]; 8] = [
        b"",
        b"\x00",
        b"\x10",
        b"\x20\x21",
        b"\x30\x31",
        b"\x40\x41\x42\x43",
        b"\x50\x51\x52\x53\x54\x55\x56\x57",
        b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let mut frontier = Frontier::new();
    let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(frontier.root().to_string(), empty);
    for (leaf, root) in leaves.iter().zip(roots) {
        frontier.append(leaf_hash(leaf));
        assert_eq!(frontier.root().to_string(), format!("sha256:{root}"));
    }
}

/// Every proof of every small tree holds where it should and nowhere else.
#[test]
fn small_trees_exhaustively() {
    for size in 1..=33 {
        let mut source = source(size);
        let root = root_at(&mut source, size).unwrap();
        for index in 0..size {
            let proof = inclusion_proof(&mut source, index, size).unwrap();
            for at in 0..=size {
                let leaf = source.0[index as usize];
                let holds = verify_inclusion(&leaf, at, size, &proof, &root).is_ok();
                assert_eq!(holds, at == index, "{index} at {at} of {size}");
            }
        }
        for old in 0..=size {
            let proof = consistency_proof(&mut source, old, size).unwrap();
            for claimed in 0..=size {
                let old_root = root_at(&mut source, claimed).unwrap();
                let holds = verify_consistency(claimed, &old_root, size, &root, &proof).is_ok();
                let no_proof_needed = [0, size].contains(&old) && [0, size].contains(&claimed);
                assert_eq!(holds, claimed == old || no_proof_needed, "{old}/{claimed} of {size}");
            }
        }
    }
}

#[test]
fn beyond_the_tree_is_an_error() {
    let mut source = source(5);
    assert!(inclusion_proof(&mut source, 5, 5).is_err());
    assert!(consistency_proof(&mut source, 6, 5).is_err());
    let root = root_at(&mut source, 5).unwrap();
    let hash = Digest::of(b"");
    assert_eq!(verify_inclusion(&hash, 0, 0, &[], &root), Err(ProofError::OutOfRange));
    assert_eq!(verify_consistency(6, &root, 5, &root, &[]), Err(ProofError::OutOfRange));
    assert_eq!(verify_consistency(0, &hash, 0, &root, &[]), Err(ProofError::OtherRoot));
    assert!(verify_consistency(0, &empty_root(), 5, &root, &[]).is_ok());
    assert_eq!(verify_consistency(0, &root, 5, &root, &[]), Err(ProofError::OtherRoot));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn agrees_with_ct_merkle(size in 1_u64..700, a in any::<u64>(), b in any::<u64>()) {
        let (index, old) = (a % size, b % size + 1);
        let (tree, mut source) = (oracle(size), source(size));
        let mut frontier = Frontier::new();
        source.0.iter().for_each(|leaf| frontier.append(*leaf));
        let root = frontier.root();
        let theirs = tree.root();
        prop_assert_eq!(root.as_bytes().as_slice(), theirs.as_bytes().as_slice());
        prop_assert_eq!(root_at(&mut source, size).unwrap(), root);

        let inclusion = inclusion_proof(&mut source, index, size).unwrap();
        let theirs = tree.prove_inclusion(index as usize);
        prop_assert_eq!(bytes(&inclusion), theirs.as_bytes());
        let leaf = source.0[index as usize];
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &inclusion, &root), Ok(()));

        let consistency = consistency_proof(&mut source, old, size).unwrap();
        let theirs = tree.prove_consistency((size - old) as usize);
        prop_assert_eq!(bytes(&consistency), theirs.as_bytes());
        let old_root = root_at(&mut source, old).unwrap();
        prop_assert_eq!(verify_consistency(old, &old_root, size, &root, &consistency), Ok(()));
    }

    #[test]
    fn a_changed_proof_never_holds(
        size in 2_u64..300, a in any::<u64>(), b in any::<usize>(), bit in 0_u8..8,
    ) {
        let mut source = source(size);
        let root = root_at(&mut source, size).unwrap();
        let flip = |proof: &[Digest]| {
            let mut flat = bytes(proof);
            let at = b % flat.len();
            flat[at] ^= 1 << bit;
            let hashes = flat.as_chunks::<32>().0.iter().copied();
            hashes.map(Digest::from_bytes).collect::<Vec<_>>()
        };
        let index = a % size;
        let leaf = source.0[index as usize];
        let proof = inclusion_proof(&mut source, index, size).unwrap();
        prop_assert!(verify_inclusion(&leaf, index, size, &flip(&proof), &root).is_err());
        prop_assert!(verify_inclusion(&leaf, index, size, &proof[1..], &root).is_err());
        let old = a % (size - 1) + 1;
        let old_root = root_at(&mut source, old).unwrap();
        let proof = consistency_proof(&mut source, old, size).unwrap();
        prop_assert!(verify_consistency(old, &old_root, size, &root, &flip(&proof)).is_err());
        prop_assert!(verify_consistency(old, &old_root, size, &root, &proof[1..]).is_err());
    }

    #[test]
    fn verification_is_total(
        index in any::<u64>(), size in any::<u64>(), length in 0_usize..70, same in any::<bool>(),
    ) {
        let hash = Digest::of(b"x");
        let root = if same { hash } else { Digest::of(b"y") };
        let proof = vec![hash; length];
        let _ = verify_inclusion(&hash, index, size, &proof, &root);
        let _ = verify_consistency(index, &hash, size, &root, &proof);
    }

    #[test]
    fn a_frontier_reads_back(size in 0_u64..2000) {
        let mut frontier = Frontier::new();
        (0..size).for_each(|index| frontier.append(leaf_hash(&index.to_be_bytes())));
        let mut bytes = frontier.to_bytes();
        let mut read = Frontier::from_bytes(&bytes).unwrap();
        prop_assert_eq!(&read, &frontier);
        read.append(leaf_hash(b"next"));
        frontier.append(leaf_hash(b"next"));
        prop_assert_eq!(read.root(), frontier.root());
        bytes.push(0);
        prop_assert!(Frontier::from_bytes(&bytes).is_none());
        bytes.truncate(7);
        prop_assert!(Frontier::from_bytes(&bytes).is_none());
    }
}
