//! A gate before a database, with a bundle that people could have written.

use super::http::{Answer, Connection, Request};
use super::{PROGRAM, World};
use lockgate_sim::conformance::free_address;
use lockgate_sim::gate::Gate;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const PRINCIPALS: &str = r#"
[user.alice]
groups = ["staff"]
[user.bob]
groups = ["auditors"]
[user.operator]
groups = ["operators"]
[agent.bot]
environments = ["dev"]
groups = ["bots"]
[agent.lockgate-cli]
environments = ["dev"]
groups = ["operators"]
"#;

pub(crate) const POLICIES: &str = r#"
@id("staff")
@obligation_rows("customers: tenant = 'acme'; orders: tenant = 'acme'; notes: owner = :subject")
@obligation_mask("customers.email")
permit (principal in Group::"staff", action in Action::"upstream:shop", resource);

@id("auditors")
permit (principal in Group::"auditors", action in Action::"upstream:shop", resource);

@id("contacts-without-names")
@obligation_redact("pii:email,customers.name")
permit (principal in Group::"auditors", action == Action::"shop/contact", resource);

@id("one-order-at-a-time")
@obligation_cap("1")
permit (principal in Group::"auditors", action == Action::"shop/orders_of", resource);

@id("bots")
permit (principal in Group::"bots", action in Action::"upstream:shop", resource);

@id("nobody-reads-countries")
@remedy("ask for customers without their country")
forbid (principal, action in Action::"read", resource)
when { context.columns.contains("customers.country") && context.tables.contains("customers") };

@id("operators")
permit (principal in Group::"operators", action in Action::"upstream:lockgate", resource);
"#;

pub(crate) const OPERATIONS: &str = r#"
[tool.query]
effect = "read"
accepted = true
free_statement = true
description = "Asks the shop's database."

[tool.orders_of]
effect = "read"
accepted = true
description = "The orders of one customer."
statement = "select id, total from orders where customer_id = :customer order by id"
argument = { customer = { type = "integer", description = "the customer's number" } }

[tool.contact]
effect = "read"
accepted = true
statement = "select id, name, email from customers where id = :id"
argument = { id = { type = "integer" } }

[tool.take_note]
effect = "write"
accepted = true
description = "Keeps a note."
statement = "insert into notes (owner, text) values (:owner, :text)"
argument = { owner = { type = "string" }, text = { type = "string", optional = true } }

[tool.forget_notes]
effect = "destructive"
accepted = true
statement = "delete from notes where owner <> :owner"
argument = { owner = { type = "string" } }
"#;

pub(crate) const TABLES: &str = r#"
[upstream.shop.database.table.customers]
columns = ["id", "name", "email", "country", "vip", "joined"]
description = "Who buys."
[upstream.shop.database.table.orders]
columns = ["id", "customer_id", "total", "status", "placed", "note"]
[upstream.shop.database.table.items]
columns = ["order_id", "product", "quantity"]
[upstream.shop.database.table.notes]
columns = ["owner", "text"]
"#;

/// What escapes would reach.
pub(crate) fn corpus(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/sql").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub(crate) const NOTES: &str = "CREATE TABLE notes (owner TEXT, text TEXT);
    INSERT INTO notes VALUES ('alice', 'mine'), ('bob', 'his');";

/// An SQLite database with its rows.
pub(crate) fn sqlite_database(directory: &Path) -> PathBuf {
    let path = directory.join("shop.db");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let world = [&corpus("world.sqlite.sql"), &corpus("rows.sql"), NOTES].map(str::to_owned);
    connection.execute_batch(&world.concat()).unwrap();
    path
}

/// A gate before an SQLite database, written and not started.
pub(crate) fn sqlite_world() -> World {
    let world = |directory: &Path| {
        let path = sqlite_database(directory);
        let path = path.display();
        format!(
            "dialect = \"sqlite\"\naddress = \"{path}\"\nwrite_address = \"{path}\"\nrows_max = 5"
        )
    };
    self::world(world)
}

/// A gate before a database that is described so, written and not started.
pub(crate) fn world(describe: impl FnOnce(&Path) -> String) -> World {
    let gate = Gate::new(PROGRAM).unwrap();
    let database = describe(gate.directory());
    let address = free_address().unwrap();
    let lockgate = format!(
        "environment = \"dev\"\n\n[[listen]]\naddress = \"{address}\"\n\n\
         [development]\nusers = [\"alice\", \"bob\", \"operator\"]\n\n\
         [upstream.shop]\ntimeout_ms = 1500\n\n[upstream.shop.database]\n{database}\n{TABLES}"
    );
    for (path, text) in [
        ("lockgate.toml", lockgate.as_str()),
        ("principals.toml", PRINCIPALS),
        ("policies/test.cedar", POLICIES),
        ("operations/shop.toml", OPERATIONS),
    ] {
        let path = gate.bundle().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    World { gate, address }
}

/// Somebody who asks the database.
pub(crate) struct Asker {
    connection: Connection,
    token: String,
}

impl Asker {
    pub(crate) fn of(world: &World, user: &str) -> Self {
        Self::with(world, &world.token(user, "bot"))
    }

    pub(crate) fn with(world: &World, token: &str) -> Self {
        Self { connection: Connection::open(world.address), token: token.to_owned() }
    }

    pub(crate) fn request(&mut self, method: &str, params: Value) -> Answer {
        self.connection.exchange(&self.prepared(method, params))
    }

    /// A call whose gate may be gone before it answers.
    pub(crate) fn try_call(&mut self, tool: &str, arguments: Value) -> std::io::Result<Answer> {
        let params = json!({"name": tool, "arguments": arguments});
        let request = self.prepared("tools/call", params);
        self.connection.try_exchange(&request)
    }

    fn prepared(&self, method: &str, mut params: Value) -> Request {
        let name = params["name"].as_str().map(str::to_owned);
        params["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = Request::post("/mcp/shop", message.to_string())
            .with("MCP-Protocol-Version", "2026-07-28")
            .with("Mcp-Method", method)
            .with("Authorization", &format!("Bearer {}", self.token));
        if let Some(name) = name {
            request = request.with("Mcp-Name", &name);
        }
        request
    }

    pub(crate) fn call(&mut self, tool: &str, arguments: Value) -> Answer {
        self.request("tools/call", json!({"name": tool, "arguments": arguments}))
    }

    /// What a free statement gives.
    pub(crate) fn ask(&mut self, sql: &str) -> Answer {
        self.call("query", json!({"sql": sql}))
    }

    /// The rows of a free statement.
    pub(crate) fn rows(&mut self, sql: &str) -> Value {
        rows(&self.ask(sql))
    }
}

/// The rows of an answer; the text says the same.
pub(crate) fn rows(answer: &Answer) -> Value {
    let result = &answer.json()["result"];
    let structured = &result["structuredContent"];
    let text = result["content"][0]["text"].as_str().unwrap_or_default();
    let printed = serde_json::from_str::<Value>(text).ok();
    assert_eq!(printed.as_ref(), Some(structured), "{}", answer.text());
    structured["rows"].clone()
}

/// Every escape of the corpus that a database refuses: its own, and those of others that mean
/// nothing harmless there.
pub(crate) fn escapes(database: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Family {
        database: String,
        case: Vec<Escape>,
    }
    #[derive(serde::Deserialize)]
    struct Escape {
        sql: String,
        elsewhere: Option<String>,
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/sql/escapes");
    let mut escapes = Vec::new();
    for file in fs::read_dir(directory).unwrap() {
        let family: Family =
            toml::from_str(&fs::read_to_string(file.unwrap().path()).unwrap()).unwrap();
        let is_own = family.database == database;
        let refused = family.case.into_iter().filter(|it| is_own || it.elsewhere.is_none());
        escapes.extend(refused.map(|escape| escape.sql));
    }
    escapes
}
