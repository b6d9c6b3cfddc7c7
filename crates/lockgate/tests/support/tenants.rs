//! A gate before several tenants, whom an issuer tells apart.

use super::http::{Answer, exchange};
use super::issuer::{AUDIENCE, ISSUER, Key, claims, key_set};
use super::{World, call};
use serde_json::{Value, json};

/// Who may read a log: an auditor of its tenant.
const POLICIES: &str = r#"
@id("auditors")
permit (principal == User::"auditor", action == Action::"lockgate/checkpoint_read", resource)
when { context.input has tenant && context.input.tenant == "acme" };
"#;

pub(crate) struct Tenants {
    pub(crate) world: World,
    key: Key,
}

/// The arguments of a call in a tenant.
pub(crate) fn echo_in(tenant: &str) -> Value {
    json!({"text": tenant})
}

impl Tenants {
    pub(crate) fn started() -> Self {
        let (mut world, key) = (World::new(), Key::new("one"));
        let file = world.gate.bundle().join("issuers/login.json");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, key_set(&[&key])).unwrap();
        world.configure(&format!(
            "[[issuer]]\nname = \"login\"\nurl = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
             algorithms = [\"ES256\"]\nsubject_prefix = \"\"\n\
             claims = {{ tenant = \"org.id\" }}\njwks_file = \"issuers/login.json\""
        ));
        let edit = |path: &str, more: &str| {
            world.gate.edit(path, |text| format!("{text}\n{more}\n")).unwrap();
        };
        edit("policies/test.cedar", POLICIES);
        edit("principals.toml", "[user.auditor]\n");
        world.start();
        Self { world, key }
    }

    pub(crate) fn token(&self, tenant: &str, subject: &str, agent: &str) -> String {
        let mut claims = claims();
        claims["org"] = json!({"id": tenant});
        claims["sub"] = json!(subject);
        claims["act"] = json!({"sub": agent});
        self.key.sign(&claims)
    }

    /// A call of alice's, who has calls in every tenant.
    pub(crate) fn call(&self, tenant: &str) -> Answer {
        let token = self.token(tenant, "alice", "bot");
        let call = call("echo", echo_in(tenant));
        exchange(self.world.address, &call.with("Authorization", &format!("Bearer {token}")))
    }
}
