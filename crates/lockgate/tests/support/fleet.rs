//! Several nodes before one shop, on a PostgreSQL of their own.

use super::shop::{Shop, write_bundle};
use super::{Client, PROGRAM};
use lockgate_sim::gate::Gate;
use lockgate_sim::postgres::{Cluster, SUPERUSER};
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

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
    /// Of somebody who uses no other node.
    pub(crate) own: String,
    pub(crate) way: Way,
}

const USERS: [&str; 3] = ["alice", "bob", "carol"];

impl Fleet {
    /// Starts so many nodes. `more` is added to `lockgate.toml`.
    pub(crate) fn start(count: usize, shop: &Shop, more: &str) -> Self {
        Self::start_with(count, shop, more, |_| {})
    }

    /// The same, with bundles that are changed before they are read.
    pub(crate) fn start_with(
        count: usize,
        shop: &Shop,
        more: &str,
        change: impl Fn(&Gate),
    ) -> Self {
        Self::start_with_each(count, shop, more, |gate| change(gate))
    }

    /// The same, with gates that are changed too.
    pub(crate) fn start_with_each(
        count: usize,
        shop: &Shop,
        more: &str,
        change: impl Fn(&mut Gate),
    ) -> Self {
        let cluster = Cluster::start().unwrap();
        let socket = cluster.socket().join(".s.PGSQL.5432");
        let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..count {
            let mut gate = Gate::new(PROGRAM).unwrap();
            let way = Way::to(&socket);
            let store = format!("postgres://{SUPERUSER}@{}/postgres?sslmode=disable", way.address);
            gate.set("LOCKGATE_NODE", &format!("node-{number}"));
            gate.set("LOCKGATE_STORE", &store);
            write_bundle(&gate, shop, anywhere, &format!("store = \"env:LOCKGATE_STORE\"\n{more}"));
            change(&mut gate);
            if let Some(first) = nodes.first() {
                // What is sealed is sealed under one key.
                let keys = gate.state().join("keys");
                fs::create_dir_all(&keys).unwrap();
                fs::copy(first.gate.state().join("keys/data.key"), keys.join("data.key")).unwrap();
            }
            let address = gate.start_anywhere().unwrap();
            let token = |user: &str| {
                let token = gate.command(&["token", user, "--agent", "bot"]).unwrap();
                token.trim().to_owned()
            };
            let (token, own) = (token("alice"), token(USERS[number % USERS.len()]));
            nodes.push(Node { gate, address, token, own, way });
        }
        Self { nodes, cluster }
    }

    /// A client of every node.
    pub(crate) fn clients(&self) -> Vec<Client> {
        self.nodes.iter().map(|node| Client::new(node.address, &node.token)).collect()
    }
}

/// A node's way to the database, which can be cut: then nothing arrives, and nobody is told.
pub(crate) struct Way {
    address: SocketAddr,
    state: Arc<WayState>,
}

#[derive(Default)]
struct WayState {
    is_cut: Mutex<bool>,
    mended: Condvar,
    is_over: AtomicBool,
}

impl Way {
    fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(WayState::default());
        let (served, socket): (_, PathBuf) = (Arc::clone(&state), socket.to_owned());
        std::thread::spawn(move || {
            for near in listener.incoming() {
                if served.is_over.load(Ordering::Relaxed) {
                    return;
                }
                let (Ok(near), Ok(far)) = (near, UnixStream::connect(&socket)) else { continue };
                near.set_nodelay(true).unwrap();
                let (back, forth) = (near.try_clone().unwrap(), far.try_clone().unwrap());
                let (one, other) = (Arc::clone(&served), Arc::clone(&served));
                std::thread::spawn(move || {
                    carry(&near, &forth, &one);
                    let _ = forth.shutdown(Shutdown::Both);
                });
                std::thread::spawn(move || {
                    carry(&far, &back, &other);
                    let _ = back.shutdown(Shutdown::Both);
                });
            }
        });
        Self { address, state }
    }

    /// From now on nothing arrives.
    pub(crate) fn cut(&self) {
        *self.state.is_cut.lock().unwrap() = true;
    }

    /// What waited arrives.
    pub(crate) fn mend(&self) {
        *self.state.is_cut.lock().unwrap() = false;
        self.state.mended.notify_all();
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.mend();
        self.state.is_over.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

fn carry(mut from: impl Read, mut to: impl Write, state: &WayState) {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let Ok(count) = from.read(&mut bytes) else { return };
        let mut is_cut = state.is_cut.lock().unwrap();
        while *is_cut {
            is_cut = state.mended.wait(is_cut).unwrap();
        }
        drop(is_cut);
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            return;
        }
    }
}
