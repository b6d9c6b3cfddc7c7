//! Several tenants at one gate: each has a log of its own, whole, verifiable, and without a leaf of
//! anybody else's.
#![cfg(test)]

mod support;

use serde_json::Value;
use std::fs;
use std::path::Path;
use support::http::exchange;
use support::tenants::{Tenants, echo_in};
use support::{ended, read_entries};

const CALLS: usize = 5;

fn parsed(log: &Path) -> Vec<Value> {
    read_entries(log).iter().map(|entry| serde_json::from_slice(entry).unwrap()).collect()
}

#[test]
fn every_tenants_log_is_exported_and_verified_by_itself() {
    let tenants = Tenants::started();
    let gate = &tenants.world.gate;
    for _ in 0..CALLS {
        for tenant in ["acme", "globex"] {
            assert_eq!(tenants.call(tenant).code(), "");
        }
        assert_eq!(tenants.world.alice().call("echo", echo_in("default")).code(), "");
    }
    // One line for each log.
    let said = gate.command(&["verify"]).unwrap();
    let logs: Vec<&str> = said.lines().map(|line| line.split('`').nth(1).unwrap()).collect();
    let origin = "lockgate.local/default/dev";
    assert_eq!(logs, [origin, &format!("{origin}/acme"), &format!("{origin}/globex")], "{said}");
    assert!(said.lines().all(|line| line.starts_with("verified ")), "{said}");
    let again = gate.command(&["verify"]).unwrap();
    assert!(again.lines().all(|line| line.contains(", continuing the ")), "{again}");

    // Exported, and checked by somebody who has the files and the key.
    let all = gate.directory().join("all");
    gate.command(&["export", all.to_str().unwrap()]).unwrap();
    let key = gate.state().join("log.vkey");
    let verify = |directory: &Path, more: &[&str]| {
        let mut command = gate.lockgate(&["verify", directory.to_str().unwrap(), "--key"]);
        ended(command.arg(&key).args(more))
    };
    let (is_good, said) = verify(&all, &[]);
    assert!(is_good && said.lines().count() == 3, "{said}");
    for tenant in ["acme", "globex"] {
        let entries = parsed(&all.join("tenants").join(tenant));
        assert_eq!(entries.len(), 2 * CALLS);
        let of = |entry: &Value| entry["k"] == "outcome" || entry["tenant"] == tenant;
        assert!(entries.iter().all(of), "{entries:?}");
    }
    let is_others = |entry: &Value| entry["tenant"].is_string() && entry["tenant"] != "default";
    assert!(!parsed(&all).iter().any(is_others));

    // One tenant's alone, under the gate's key and its own; one entry of it.
    let acme = gate.directory().join("acme");
    let said = gate.command(&["export", acme.to_str().unwrap(), "--tenant", "acme"]).unwrap();
    assert!(!acme.join("tenants").exists());
    assert!(verify(&acme, &["--tenant", "acme"]).0);
    let own_key = said.trim_end().rsplit(' ').next().unwrap();
    let mut with_own = gate.lockgate(&["verify", acme.to_str().unwrap(), "--key", own_key]);
    assert!(ended(&mut with_own).0, "{said}");
    let (is_good, said) = verify(&acme, &["--tenant", "globex"]);
    assert!(!is_good && said.contains("rejected"), "another tenant's: {said}");
    let proof = gate.command(&["export", "--proof", "3", "--tenant", "acme"]).unwrap();
    let file = gate.directory().join("proof");
    fs::write(&file, &proof).unwrap();
    let records = gate.directory().join("records");
    let records = records.to_str().unwrap();
    let said = gate.command(&["--json", "export", "--proof", "3", "--records", records]).unwrap();
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["proof"].as_str().unwrap().starts_with(proof.lines().next().unwrap()), "{said}");
    assert_eq!(said["file"], records);
    let lines = fs::read_to_string(records).unwrap();
    let lines = lines.lines().filter(|line| !line.contains("\"files\":")).count();
    assert_eq!(said["records"].as_u64(), u64::try_from(lines).ok());
    let proof = |more: &[&str]| {
        let mut command = gate.lockgate(&["verify", "--proof", file.to_str().unwrap(), "--key"]);
        ended(command.arg(&key).args(more))
    };
    let (is_good, said) = proof(&["--tenant", "acme"]);
    assert!(is_good && said.contains("verified entry 3 "), "{said}");
    assert!(!proof(&[]).0, "not of the gate's own log");

    // Tampering with one is found there, and only there.
    let tile = all.join(format!("tenants/acme/tile/entries/000.p/{}", 2 * CALLS));
    let mut bytes = fs::read(&tile).unwrap();
    bytes[20] ^= 1;
    fs::write(&tile, bytes).unwrap();
    let (is_good, said) = verify(&all, &[]);
    let heads: Vec<&str> = said.lines().map(|line| line.split(' ').next().unwrap()).collect();
    assert!(!is_good);
    assert_eq!(heads, ["verified", "rejected", "what", "verified"], "{said}");
    assert!(said.contains("the log of the tenant `acme`"), "{said}");
}

#[test]
fn a_kill_keeps_every_log_and_one_that_is_gone_is_missed() {
    let mut tenants = Tenants::started();
    for tenant in ["acme", "globex", "acme"] {
        assert_eq!(tenants.call(tenant).code(), "");
    }
    let call = tenants.call("acme").header("lockgate-call").unwrap().to_owned();
    tenants.world.gate.command(&["verify"]).unwrap();
    tenants.world.gate.kill();
    tenants.world.start();
    let gate = &tenants.world.gate;
    let said = gate.command(&["verify"]).unwrap();
    assert_eq!(said.matches(", continuing the ").count(), 3, "{said}");
    let all = gate.directory().join("all");
    gate.command(&["export", all.to_str().unwrap()]).unwrap();
    for log in [all.clone(), all.join("tenants/acme"), all.join("tenants/globex")] {
        let gaps = parsed(&log).iter().filter(|entry| entry["k"] == "gap").count();
        assert_eq!(gaps, 1, "{}", log.display());
    }
    // What goes over all logs.
    let trace = gate.command(&["trace", &call]).unwrap();
    assert!(trace.contains("intent") && trace.contains("outcome"), "{trace}");
    assert!(trace.lines().next().unwrap().ends_with("  acme"), "{trace}");
    assert!(gate.command(&["replay"]).unwrap().contains(": 0 differences"));
    // A log that was there once.
    tenants.world.gate.stop().unwrap();
    let database = tenants.world.gate.state().join("lockgate.db");
    let database = rusqlite::Connection::open(database).unwrap();
    database.execute("DELETE FROM shard WHERE tenant = 'globex'", []).unwrap();
    drop(database);
    tenants.world.start();
    let (is_good, said) = ended(&mut tenants.world.gate.lockgate(&["verify"]));
    assert!(!is_good && said.contains("the log of the tenant `globex`: there is no"), "{said}");
    // Nor is one that was begun anew taken for it.
    assert_eq!(tenants.call("globex").code(), "");
    let (is_good, said) = ended(&mut tenants.world.gate.lockgate(&["verify"]));
    let rejected = said.lines().filter(|line| line.starts_with("rejected ")).count();
    assert!(!is_good && rejected == 1 && said.contains("the tenant `globex`"), "{said}");
}

#[test]
fn who_may_read_one_log_reads_no_other() {
    let tenants = Tenants::started();
    for tenant in ["acme", "globex"] {
        assert_eq!(tenants.call(tenant).code(), "");
    }
    let gate = &tenants.world.gate;
    let token = tenants.token("acme", "auditor", "lockgate-cli");
    let verify = |more: &[&str]| {
        let mut command = gate.lockgate(&["verify", "--token", &token]);
        ended(command.args(more))
    };
    let (is_good, said) = verify(&["--tenant", "acme"]);
    assert!(is_good && said.lines().count() == 1, "{said}");
    for refused in [&["--tenant", "globex"][..], &["--tenant", "default"], &[]] {
        let (is_good, said) = verify(refused);
        assert!(!is_good && said.contains("LG-D"), "{refused:?}: {said}");
    }
    // The leave to read tiles that a checkpoint gives is for that log.
    for (tenant, status) in [("acme", 200), ("globex", 403)] {
        let path = format!("/v1/ledger/tile/0/000.p/1?tenant={tenant}");
        let asked = support::http::Request::new("GET", &path)
            .with("Authorization", &format!("Bearer {token}"));
        assert_eq!(exchange(tenants.world.address, &asked).status, status, "{tenant}");
    }
}
