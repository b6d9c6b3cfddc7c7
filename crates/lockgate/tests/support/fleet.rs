//! Several nodes before one shop, on a PostgreSQL of their own.

use super::shop::{Shop, write_bundle};
use super::{Client, PROGRAM};
use lockgate_sim::gate::Gate;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use std::fs;
use std::net::SocketAddr;

/// A fleet. Its nodes have the same bundle, and a state directory each.
pub(crate) struct Fleet {
    pub(crate) nodes: Vec<Node>,
    pub(crate) cluster: Cluster,
}

/// A node: a gate, where it answers, and a token that it takes.
pub(crate) struct Node {
    pub(crate) gate: Gate,
    pub(crate) address: SocketAddr,
    pub(crate) token: String,
}

impl Fleet {
    /// Starts so many nodes. `more` is added to `lockgate.toml`.
    pub(crate) fn start(count: usize, shop: &Shop, more: &str) -> Self {
        let cluster = Cluster::start().unwrap();
        let socket = cluster.socket().display().to_string().replace('/', "%2F");
        let store = format!("store = \"postgres://{SUPERUSER}@{socket}/postgres\"\n");
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..count {
            let mut gate = Gate::new(PROGRAM).unwrap();
            gate.set("LOCKGATE_NODE", &format!("node-{number}"));
            write_bundle(&gate, shop, anywhere, &format!("{store}{more}"));
            if let Some(first) = nodes.first() {
                // What is sealed is sealed under one key.
                let keys = gate.state().join("keys");
                fs::create_dir_all(&keys).unwrap();
                fs::copy(first.gate.state().join("keys/data.key"), keys.join("data.key")).unwrap();
            }
            let address = gate.start_anywhere().unwrap();
            let token = gate.command(&["token", "alice", "--agent", "bot"]).unwrap();
            nodes.push(Node { gate, address, token: token.trim().to_owned() });
        }
        Self { nodes, cluster }
    }

    /// A client of every node.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.nodes.iter().map(|node| Client::new(node.address, &node.token)).collect()
    }
}
