//! A permit for a statement: the decision's obligations are part of what runs, a switch stops it at
//! the door, and a bundle that has been replaced lends it nothing.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::rule::{Allowed, Ruling, rule};
use lockgate_core::world::{Files, World};
use lockgate_effects::{
    Caller, EffectsSettings, End, Event, Finished, Presented, Upstreams, Watch,
};
use lockgate_store::{Options, OutcomeRecord, OutcomeState, SessionKey, Store, Terms};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Switch};
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, Micros, Object};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

fn now() -> Micros {
    Micros(1_800_000_000_000_000)
}

fn files(database: &Path, more: &str) -> Files {
    let path = database.display();
    let gate = format!(
        "environment = \"dev\"\n[upstream.shop.database]\ndialect = \"sqlite\"\n\
         address = \"{path}\"\nwrite_address = \"{path}\"\n\
         [upstream.shop.database.table.notes]\ncolumns = [\"owner\", \"text\"]\n"
    );
    let operations = format!(
        "[tool.look]\neffect = \"read\"\naccepted = true\n\
         statement = \"select owner, text from notes\"\n\
         [tool.save]\neffect = \"write\"\naccepted = true\n\
         statement = \"insert into notes values ('bob', 'new')\"\n{more}"
    );
    let policies = "@id(\"reads\") @obligation_rows(\"notes: owner = :subject\")\n\
         @obligation_mask(\"text\")\n\
         permit (principal, action == Action::\"shop/look\", resource);\n\
         @id(\"writes\") permit (principal, action == Action::\"shop/save\", resource);\n";
    let files = [
        ("lockgate.toml", gate.as_str()),
        ("principals.toml", "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n"),
        ("operations/shop.toml", operations.as_str()),
        ("policies/all.cedar", policies),
    ];
    files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect()
}

fn identity() -> Identity {
    Identity {
        issuer: "dev".to_owned(),
        subject: "alice".parse().unwrap(),
        agent: "bot".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: BTreeSet::new(),
        subject_roles: BTreeSet::new(),
        authentication: Default::default(),
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    }
}

struct Bed {
    directory: tempfile::TempDir,
    world: World,
    store: Store,
    upstreams: Upstreams,
    calls: u32,
}

impl Bed {
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.db");
        let connection = rusqlite::Connection::open(&path).unwrap();
        let text = "CREATE TABLE notes (owner TEXT, text TEXT);
            INSERT INTO notes VALUES ('alice', 'a long enough text'), ('bob', 'his');";
        connection.execute_batch(text).unwrap();
        let files = files(&path, "");
        let world = lockgate_effects::load(&files).unwrap_or_else(|it| panic!("{it:#?}"));
        let state = directory.path().join("state");
        let options = Options::new(state.clone(), "test.example".to_owned(), now);
        let (store, _) = Store::open(options).unwrap();
        store.publish_bundle(world.digest, &files).await.unwrap();
        let upstreams = Upstreams::new(EffectsSettings::new(state));
        upstreams.configure(&world).await;
        Self { directory, world, store, upstreams, calls: 0 }
    }

    async fn allowed(&mut self, tool: &str) -> Allowed {
        self.calls += 1;
        let id = CallId::new(&format!("0000000000000000000000000000{}", self.calls)).unwrap();
        let params = Object::new().with("name", tool);
        let upstream = "shop".parse().unwrap();
        let call = Call::new(id, upstream, Direction::ToUpstream, "tools/call", params);
        let mut call = call.unwrap();
        call.reading = self.upstreams.reading(&self.world.digest, &call).unwrap();
        let identity = identity();
        let key = SessionKey {
            tenant: identity.tenant.clone(),
            environment: identity.environment.clone(),
            issuer: identity.issuer.clone(),
            subject: identity.subject.clone(),
            agent: identity.agent.clone(),
            id: None,
        };
        let facts = Facts {
            identity: Arc::new(identity),
            call,
            session: self.store.session(&key).await.unwrap(),
            now: now(),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference: None,
            earlier: None,
            exhausted: Vec::new(),
            plan: None,
            preview: None,
            broken: None,
            cited: None,
            flow: None,
            history: None,
            risk: None,
        };
        match rule(&self.world, Box::new(facts)) {
            Ruling::Allowed(allowed) => allowed,
            Ruling::Refused(refused) => panic!("{:?}", refused.decision()),
        }
    }

    /// Performs what a permit allows, after something has happened.
    async fn perform(&mut self, tool: &str, meanwhile: impl AsyncFnOnce(&Self)) -> End {
        let allowed = self.allowed(tool).await;
        let permit = self.store.commit(allowed, Terms::default()).await.unwrap();
        meanwhile(self).await;
        let caller = Arc::new(Caller::default());
        let mut exchange = self.upstreams.perform(permit, caller, Presented::Nothing, Watch::NONE);
        assert!(exchange.is_with_database());
        let Event::Finished(Finished { spent, end }) = exchange.next().await else { panic!() };
        let outcome = OutcomeRecord {
            state: OutcomeState::Succeeded,
            at: now(),
            code: None,
            keep_all: false,
            result: None,
            label: Label::default(),
            duration_us: 1,
            redactions: 0,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        self.store.conclude(spent, outcome).await.unwrap();
        end
    }

    fn notes(&self) -> i64 {
        let path = self.directory.path().join("shop.db");
        let connection = rusqlite::Connection::open(path).unwrap();
        connection.query_row("SELECT count(*) FROM notes", [], |row| row.get(0)).unwrap()
    }
}

fn code(end: &End) -> Option<Code> {
    match end {
        End::Failed { code, dispatched: false, .. } => Some(*code),
        _ => None,
    }
}

#[tokio::test]
async fn the_obligations_of_the_decision_are_part_of_the_statement() {
    let mut bed = Bed::new().await;
    let end = bed.perform("look", async |_| {}).await;
    let End::Result(result) = end else { panic!("{end:?}") };
    let rows = result.at(&["structuredContent", "rows"]).map(Json::to_string);
    assert_eq!(rows.as_deref(), Some(r#"[["alice","****text"]]"#));
    let end = bed.perform("save", async |_| {}).await;
    let End::Result(result) = end else { panic!("{end:?}") };
    assert_eq!(result.at(&["structuredContent", "changed"]).and_then(Json::as_i64), Some(1));
    assert_eq!(bed.notes(), 3);
}

#[tokio::test]
async fn a_switch_that_was_thrown_meanwhile_stops_it_at_the_door() {
    let mut bed = Bed::new().await;
    let throw = async |bed: &Bed| {
        let switch = Switch { scope: "tool".to_owned(), name: "shop".to_owned() };
        bed.store.throw(&switch).await.unwrap();
    };
    let end = bed.perform("save", throw).await;
    assert_eq!(code(&end), Some(Code::SwitchEngaged), "{end:?}");
    assert_eq!(bed.notes(), 2);
}

/// Another bundle takes over, in which the same tool does something else.
async fn replace(bed: &Bed, number: u32) {
    let path = bed.directory.path().join("shop.db");
    let mut files = files(&path, "");
    let operations = String::from_utf8(files.get("operations/shop.toml").unwrap().clone()).unwrap();
    let other = operations.replace("'new'", &format!("'of bundle {number}'"));
    files.insert("operations/shop.toml".to_owned(), other.into_bytes());
    let other = lockgate_effects::load(&files).unwrap_or_else(|it| panic!("{it:#?}"));
    bed.upstreams.configure(&other).await;
}

#[tokio::test]
async fn a_statement_is_that_of_the_bundle_it_was_decided_under_or_is_not_run() {
    let mut bed = Bed::new().await;
    let end = bed.perform("save", async |bed: &Bed| replace(bed, 1).await).await;
    assert!(matches!(end, End::Result(_)), "{end:?}");
    let path = bed.directory.path().join("shop.db");
    let last = "SELECT text FROM notes ORDER BY rowid DESC LIMIT 1";
    let connection = rusqlite::Connection::open(path).unwrap();
    let last: String = connection.query_row(last, [], |row| row.get(0)).unwrap();
    assert_eq!(last, "new");

    let mut bed = Bed::new().await;
    let twice = async |bed: &Bed| {
        replace(bed, 1).await;
        replace(bed, 2).await;
    };
    let end = bed.perform("save", twice).await;
    assert_eq!(code(&end), Some(Code::FactsMoved), "{end:?}");
    assert_eq!(bed.notes(), 2);
}

#[tokio::test]
async fn columns_are_named_as_the_bundle_names_them() {
    let mut files =
        files(Path::new("shop.db"), "[tool.any]\neffect = \"read\"\nfree_statement = true");
    let gate = String::from_utf8(files.get("lockgate.toml").unwrap().clone()).unwrap();
    let gate = gate.replace("\"owner\"", "\"Owner\"").into_bytes();
    files.insert("lockgate.toml".to_owned(), gate);
    let world = lockgate_effects::load(&files).unwrap_or_else(|it| panic!("{it:#?}"));
    let upstreams = Upstreams::new(EffectsSettings::new(Path::new("state").to_owned()));
    upstreams.configure(&world).await;
    let arguments = Object::new().with("sql", "select OWNER from NOTES where text > 'a'");
    let params = Object::new().with("name", "any").with("arguments", arguments);
    let id = CallId::new("00000000000000000000000000000001").unwrap();
    let upstream = "shop".parse().unwrap();
    let call = Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap();
    let reading = upstreams.reading(&world.digest, &call).unwrap().unwrap();
    assert_eq!(reading.tables, ["notes"]);
    assert_eq!(reading.columns, ["notes.Owner", "notes.text"]);
    assert_eq!(reading.refusal, None);
    let other = lockgate_types::Digest::of(b"another bundle");
    assert_eq!(upstreams.reading(&other, &call), Err(lockgate_effects::AnotherBundle));
}

/// The mistakes of a bundle whose operations, tables or policies have more in them.
fn mistakes(operations: &str, table: &str, filter: &str) -> Vec<String> {
    let mut files = files(Path::new("shop.db"), operations);
    let mut edit = |path: &str, from: &str, to: &str| {
        let text = String::from_utf8(files.get(path).unwrap().clone()).unwrap();
        files.insert(path.to_owned(), text.replace(from, to).into_bytes());
    };
    edit("lockgate.toml", "[upstream.shop.database.table.notes]", table);
    edit("policies/all.cedar", "owner = :subject", filter);
    let found = lockgate_effects::load(&files).err().unwrap_or_default();
    found.iter().map(ToString::to_string).collect()
}

#[test]
fn statements_filters_and_grants_that_cannot_be_are_mistakes_with_lines() {
    let (table, filter) = ("[upstream.shop.database.table.notes]", "owner = :subject");
    assert_eq!(mistakes("", table, filter), Vec::<String>::new());
    for (statement, refused) in [
        ("select mood from notes", "a column that is not granted: `mood`, at line 1, column 8"),
        ("select * from secrets", "a table that is not granted: `secrets`, at line 1, column 15"),
        ("delete from notes", "only a query is accepted: `delete`, at line 1, column 1"),
        ("select load_extension('x')", "a function that is not granted: `load_extension`"),
    ] {
        let operation =
            format!("[tool.more]\neffect = \"read\"\naccepted = true\nstatement = \"{statement}\"");
        let found = mistakes(&operation, table, filter);
        let expected = "operations/shop.toml:9: the statement of `shop/more` is refused: ";
        let [only] = found.as_slice() else { panic!("{found:?}") };
        assert!(only.starts_with(&format!("{expected}{refused}")), "{only}");
    }
    let change = "[tool.more]\neffect = \"write\"\nstatement = \"drop table notes\"";
    let [only] = mistakes(change, table, filter).try_into().unwrap();
    assert!(only.contains("neither `INSERT` nor `UPDATE` nor `DELETE`"), "{only}");

    let [only] = mistakes("", table, "owner in (select 1)").try_into().unwrap();
    assert!(only.starts_with("policies/all.cedar:1: an obligation cannot be met: "), "{only}");
    assert!(only.contains("owner in (select 1)"), "{only}");

    let schema = "functions = [\"load_extension\"]\n[upstream.shop.database.table.notes]";
    let [only] = mistakes("", schema, filter).try_into().unwrap();
    let expected = "lockgate.toml:2: the database `shop`: function `load_extension` is never";
    assert!(only.starts_with(expected), "{only}");
    let system =
        format!("[upstream.shop.database.table.sqlite_schema]\ncolumns = [\"sql\"]\n{table}");
    let [only] = mistakes("", &system, filter).try_into().unwrap();
    assert!(
        only.starts_with("lockgate.toml:6: the database `shop`: `main.sqlite_schema`"),
        "{only}"
    );
}
