//! Which logs a gate has: its own, and one for each tenant but its own. All are signed with one
//! key, under a name for each.

use crate::client::GateClient;
use anyhow::{Context, Result, bail};
use lockgate_ledger::{VerifierKey, tenant_origin};
use lockgate_types::{Json, Tenant};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where an export has the logs of tenants.
pub(crate) const TENANTS: &str = "tenants";

/// The query that asks for a log; that of the gate if no tenant is named.
pub(crate) fn query(tenant: Option<&Tenant>) -> String {
    tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default()
}

/// The verifier key of a log, as the gate says it.
pub(crate) async fn key(client: &GateClient, tenant: Option<&Tenant>) -> Result<VerifierKey> {
    let text = client.get_bytes(&format!("/v1/ledger/key{}", query(tenant))).await?;
    let text = std::str::from_utf8(&text).context("the gate's verifier key is not text")?;
    text.trim().parse().context("reading the gate's verifier key")
}

/// The verifier key of a tenant's log, from that of the gate.
pub(crate) fn key_of_tenant(gate: &VerifierKey, tenant: &Tenant) -> Result<VerifierKey> {
    let origin = tenant_origin(gate.name(), tenant.as_str());
    gate.of_log(&origin).context("the gate's key has too long a name")
}

/// The verifier key of a log.
pub(crate) fn key_of(gate: &VerifierKey, tenant: Option<&Tenant>) -> Result<VerifierKey> {
    tenant.map_or_else(|| Ok(gate.clone()), |tenant| key_of_tenant(gate, tenant))
}

/// The tenants whose logs a running gate has, and those that it had: `None` stands for its own.
pub(crate) async fn of_gate(client: &GateClient, seen: Vec<Tenant>) -> Result<Vec<Option<Tenant>>> {
    let mut tenants: BTreeSet<Tenant> = seen.into_iter().collect();
    let mut path = "/v1/ledger/logs".to_owned();
    let mut is_first = true;
    loop {
        let page = client.get(&path).await.context(
            "asking which logs there are (hint: who may read one alone names it: `--tenant`)",
        )?;
        let logs = page.get("logs").and_then(Json::as_array).unwrap_or_default();
        for log in logs {
            let name = log.get("tenant").and_then(Json::as_str).unwrap_or_default();
            let tenant = Tenant::new(name).context("reading which logs there are")?;
            // The first is the gate's own, which is also that of its tenant.
            match std::mem::take(&mut is_first) {
                true => tenants.remove(&tenant),
                false => tenants.insert(tenant),
            };
        }
        match page.get("next").and_then(Json::as_str) {
            Some(next) => path = format!("/v1/ledger/logs?after={next}"),
            None => break,
        }
    }
    Ok(std::iter::once(None).chain(tenants.into_iter().map(Some)).collect())
}

/// The logs of tenants in an export.
pub(crate) fn exported(directory: &Path) -> Result<Vec<(Tenant, PathBuf)>> {
    let below = directory.join(TENANTS);
    let entries = match std::fs::read_dir(&below) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(|| format!("reading `{}`", below.display())),
    };
    let mut logs = Vec::new();
    for entry in entries {
        let path = entry.with_context(|| format!("reading `{}`", below.display()))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(tenant) = Tenant::new(name) else {
            bail!("`{}` is no log of a tenant", path.display());
        };
        logs.push((tenant, path));
    }
    logs.sort();
    Ok(logs)
}
