//! The counts that "through the gate" is compared with are those of the reference server itself.
#![cfg(test)]

use lockgate_sim::conformance::{REVISIONS, ReferenceServer, Suite, Tally};

#[test]
fn the_reference_server_passes_every_check() {
    let suite = Suite::install().unwrap();
    let server = ReferenceServer::start().unwrap();
    for (revision, passed) in REVISIONS {
        let (tally, log) = suite.run(&server.url, revision).unwrap();
        assert_eq!(tally, Tally { passed, failed: 0 }, "{revision}\n{log}");
    }
}
