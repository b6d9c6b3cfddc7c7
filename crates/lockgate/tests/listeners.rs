//! Where the gate listens: with TLS it serves, without it only loopback; and nothing made for first
//! use leaves it.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::json;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use support::http::{Answer, Connection, Request, read_answer};
use support::{World, call, ended};

fn exchange_over_tls(
    address: std::net::SocketAddr,
    trusted: CertificateDer<'static>,
    request: &Request,
) -> std::io::Result<Answer> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.unwrap().with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = StreamOwned::new(connection, TcpStream::connect(address)?);
    stream.write_all(&request.to_bytes())?;
    read_answer(&mut BufReader::new(stream))
}

#[test]
fn a_listener_with_tls_serves_who_trusts_its_certificate() {
    let mut world = World::new();
    let address = free_address().unwrap();
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let directory = world.gate.bundle().join("tls");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("certificate.pem"), certified.cert.pem()).unwrap();
    std::fs::write(directory.join("key.pem"), certified.signing_key.serialize_pem()).unwrap();
    world.configure(&format!(
        "[[listen]]\naddress = \"{address}\"\n\
         tls = {{ certificate = \"tls/certificate.pem\", key = \"tls/key.pem\" }}"
    ));
    world.start();
    let bearer = format!("Bearer {}", world.token("alice", "bot"));
    let echo = call("echo", json!({"text": "over TLS"})).with("Authorization", &bearer);
    let answer = exchange_over_tls(address, certified.cert.der().clone(), &echo).unwrap();
    assert_eq!(answer.json()["result"]["content"][0]["text"], "over TLS", "{}", answer.text());
    let away = exchange_over_tls(
        address,
        certified.cert.der().clone(),
        &echo.clone().without("Authorization"),
    );
    assert_eq!(away.unwrap().code(), "LG-I001");
    assert!(exchange_over_tls(address, other.cert.der().clone(), &echo).is_err());
    // Nobody is answered in the clear there, and the connection is not kept.
    let mut plain = Connection::open(address);
    plain.send(&echo.to_bytes()).unwrap();
    assert!(plain.receive().is_err());
    assert_eq!(world.alice().call("echo", json!({"text": ""})).status, 200);
    // The key is not part of what is recorded.
    assert!(
        !world
            .gate
            .command(&["export", "--records", "/dev/stdout"])
            .unwrap()
            .contains("key.pem\":")
    );
}

#[test]
fn what_others_could_reach_does_not_start_unprotected() {
    let open = "[[listen]]\naddress = \"0.0.0.0:0\"\n";
    let tls = "tls = { certificate = \"tls/a\", key = \"tls/b\" }\n";
    let fixed = "identity = { subject = \"alice\", agent = \"bot\" }\n";
    for (name, change, expected) in [
        ("in the clear", open.to_owned(), "is not loopback, and there is no `tls`"),
        (
            "development",
            format!("{open}{tls}"),
            "the development issuer is on while a listener is not loopback",
        ),
        (
            "a fixed identity",
            format!("{open}{tls}{fixed}"),
            "a fixed identity on an address that is not loopback",
        ),
    ] {
        let world = World::new();
        world.configure(&change);
        let (is_good, text) = ended(&mut world.gate.lockgate(&["up"]));
        assert!(!is_good && text.contains(expected), "{name}: {text}");
    }
    let world = World::new();
    world.gate.edit("lockgate.toml", |text| text.replace("\"dev\"", "\"prod\"")).unwrap();
    let (is_good, text) = ended(&mut world.gate.lockgate(&["up"]));
    assert!(!is_good && text.contains("the development issuer is on in `prod`"), "{text}");
}
