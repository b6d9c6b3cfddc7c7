//! What several nodes have in common, and what each has to itself.

use crate::cases::{
    an_answer, charged, check_only_of, driver, entry, in_session, look, looked, looking_back, meet,
    moves, new_run, passed, places, risky, secrets, standing, strangers, text,
};
use crate::common::*;
use lockgate_core::canary::{Canary, Guard, Stage};
use lockgate_core::caps::{Charge, Until};
use lockgate_core::evidence::evidence;
use lockgate_core::rate::Toll;
use lockgate_core::world::World;
use lockgate_store::{
    Begun, Blocked, CommitError, Containment, Direction, Ended, Means, Options, OutcomeState,
    Permit, Receipt, RunPhase, Scopes, Stop, Store, StoreError, Terms, Told, tenant_row,
};
use lockgate_types::evidence::Risk;
use lockgate_types::facts::{Facts, Mode, Standing, Switch};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json, Micros, Redacted};
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Nodes of one fleet, each with a state directory of its own and the same data key.
pub(crate) struct Fleet {
    directories: Vec<TempDir>,
    url: Redacted<String>,
    pub(crate) nodes: Vec<Store>,
}

impl Fleet {
    pub(crate) fn start(count: usize) -> Self {
        let directories: Vec<TempDir> = (0..count).map(|_| tempfile::tempdir().unwrap()).collect();
        let url = options(directories[0].path()).shared.unwrap();
        let mut fleet = Self { directories, url, nodes: Vec::new() };
        for at in 0..count {
            if at > 0 {
                let from = fleet.directories[0].path().join("keys/data.key");
                let keys = fleet.directories[at].path().join("keys");
                std::fs::create_dir_all(&keys).unwrap();
                std::fs::copy(from, keys.join("data.key")).unwrap();
            }
            let (node, _) = Store::open(fleet.options(at)).unwrap();
            fleet.nodes.push(node);
        }
        fleet
    }

    fn options(&self, at: usize) -> Options {
        Options {
            shared: Some(self.url.clone()),
            origin: format!("test.example/node-{at}"),
            ..Options::new(self.directories[at].path().to_owned(), String::new(), now)
        }
    }

    /// Runs something on the database, as its administrator.
    async fn run(&self, statement: String) {
        let mut connection = PgConnection::connect(self.url.expose()).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }

    /// Ends every session of the nodes, in the middle of whatever they do.
    async fn cut(&self) {
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE application_name = 'lockgate' AND datname = current_database()";
        self.run(cut.to_owned()).await;
    }
}

/// Tries again while facts move.
async fn commit(
    store: &Store,
    world: &World,
    identity: &Arc<Identity>,
    key: &str,
    terms: &Terms,
) -> Result<Permit, CommitError> {
    loop {
        let session = store.session(&session_key(identity)).await.map_err(CommitError::Failed)?;
        let mut call = call("save");
        call.key = Some(key.to_owned()).filter(|key| !key.is_empty());
        let facts: Facts = facts(identity, session, call);
        match store.commit(allowed(world, facts), terms.clone()).await {
            Err(CommitError::Moved(_)) => {}
            other => return other,
        }
    }
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(since.elapsed() < Duration::from_secs(20), "{what}");
        // tidy: allow sleep: between two looks
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) async fn a_canary_has_one_stage_and_is_taken_back_once() {
    let fleet = Fleet::start(2);
    let [one, two] = [&fleet.nodes[0], &fleet.nodes[1]];
    let running = one.observe_canary(an_answer(&[Guard::Errors])).await.unwrap();
    assert_eq!(running.stage(), Stage::Running);
    // The second error is the other node's: neither has seen two.
    let (good, bad) = (an_answer(&[]), an_answer(&[Guard::Errors]));
    let (first, second) = tokio::join!(one.observe_canary(good), two.observe_canary(bad));
    first.unwrap();
    assert_eq!(second.unwrap().stage(), Stage::RolledBack);
    let key = an_answer(&[]).key;
    for node in [one, two] {
        let known = node.canaries(vec![key]).await.unwrap();
        assert_eq!(known.get(&key).map(Canary::stage), Some(Stage::RolledBack));
        let late = node.observe_canary(an_answer(&[Guard::Errors])).await.unwrap();
        assert_eq!(late.stage(), Stage::RolledBack);
    }
    let moved = moves(&entries(one).await) + moves(&entries(two).await);
    assert_eq!(moved, 1, "in the log of the node by which it was");
}

pub(crate) async fn a_cap_holds_across_nodes() {
    let fleet = Fleet::start(3);
    let (world, charge) = (
        Arc::new(world()),
        Charge {
            cap: "writes".to_owned(),
            scope: "everybody".to_owned(),
            amount: 1,
            max: 100,
            until: Until::Window(Micros(now().0 + 3_600_000_000)),
            settles: None,
            alert_at: None,
        },
    );
    let callers = (0..64).map(|at: usize| {
        let (node, world) = (fleet.nodes[at % 3].clone(), Arc::clone(&world));
        let terms = Terms { charges: vec![charge.clone()], ..Terms::default() };
        tokio::spawn(async move {
            // Each of their own: else they take turns by their sessions.
            let identity = identity(&format!("user-{at}"));
            let mut got = 0;
            for _ in 0..4 {
                match commit(&node, &world, &identity, "", &terms).await {
                    Ok(permit) => {
                        node.conclude(permit.spend().2, outcome("saved")).await.unwrap();
                        got += 1;
                    }
                    Err(CommitError::Exhausted(_)) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            got
        })
    });
    let mut got = 0;
    for caller in callers.collect::<Vec<_>>() {
        got += caller.await.unwrap();
    }
    assert_eq!(got, 100);
    for node in &fleet.nodes {
        verify(node).await.unwrap();
    }
}

pub(crate) async fn one_node_tells_a_webhook_what_another_was_asked() {
    let fleet = Fleet::start(3);
    let (world, alice) = (world(), identity("alice"));
    let session = fleet.nodes[0].session(&session_key(&alice)).await.unwrap();
    let refused = refused(&world, facts(&alice, session, call("wipe")));
    let evidence = evidence(&world, refused.decision(), refused.facts(), None, Risk::default());
    let expires = Micros(now().0 + 3_600_000_000);
    let (request, _) = fleet.nodes[0].ask(refused, &evidence, expires).await.unwrap();
    let claims = fleet.nodes.iter().map(|node| node.claim_notices("chat", 8));
    let mut claimed = Vec::new();
    for (node, claim) in fleet.nodes.iter().zip(futures(claims).await) {
        claimed.extend(claim.unwrap().0.into_iter().map(|notice| (node, notice)));
    }
    let [(node, notice)] = claimed.as_slice() else { panic!("one has it: {}", claimed.len()) };
    assert_eq!(notice.call, request);
    // What one could not tell, any may tell next, as the same message.
    let later = Told::Later { due: now(), why: "away".to_owned() };
    node.told("chat", notice.clone(), later).await.unwrap();
    let again = fleet.nodes[2].claim_notices("chat", 8).await.unwrap().0;
    assert_eq!((again[0].entry, again[0].attempts), (notice.entry, 2));
}

pub(crate) async fn places_are_those_of_the_whole_fleet() {
    let mut fleet = Fleet::start(3);
    let world = Arc::new(world());
    let callers = (0..64).map(|at: usize| {
        let (node, world) = (fleet.nodes[at % 3].clone(), Arc::clone(&world));
        // Each of their own: else they take turns by their sessions.
        let who = format!("user-{at}");
        tokio::spawn(async move { charged(&node, &world, &who, &[places(10)]).await })
    });
    let mut permits = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        permits.extend(caller.await.unwrap().ok());
    }
    assert_eq!(permits.len(), 10);
    drop(permits);
    let one = until("all places to be free", async || {
        charged(&fleet.nodes[0], &world, "alice", &[places(1)]).await.ok()
    })
    .await;
    // Recorded: another node asks next, and would not wait for that.
    fleet.nodes[0].conclude(one.spend().2, outcome("saved")).await.unwrap();
    // A node that is gone with its calls keeps no place: another ends them.
    let gone = fleet.nodes.remove(2);
    for _ in 0..10 {
        let permit = charged(&gone, &world, "alice", &[places(10)]).await;
        permit.map(std::mem::forget).unwrap();
    }
    charged(&fleet.nodes[0], &world, "alice", &[places(10)]).await.map(drop).unwrap_err();
    gone.close().await.unwrap();
    until("the places of the node that is gone", async || {
        charged(&fleet.nodes[0], &world, "alice", &[places(1)]).await.map(drop).ok()
    })
    .await;
}

pub(crate) async fn a_rate_is_taken_in_slices() {
    let fleet = Fleet::start(3);
    let rate = lockgate_core::declare::Rate {
        name: "some".to_owned(),
        per: lockgate_core::declare::CapScope::Global,
        operations: Vec::new(),
        reads: true,
        per_second: None,
        amount: Some(1),
        interval_s: Some(86_400),
        burst: Some(95),
    };
    let pace = lockgate_core::rate::Pace::of(&rate);
    let toll = Toll { rate: rate.name.clone(), scope: String::new(), pace };
    let nodes = (0..12).map(|at: usize| {
        let (node, toll) = (fleet.nodes[at % 3].clone(), toll.clone());
        tokio::spawn(async move {
            let mut taken = Vec::new();
            for _ in 0..20 {
                match node.lease_rate(&toll).await.unwrap() {
                    Ok(tokens) => taken.push(tokens),
                    Err(wait_us) => return (taken, wait_us),
                }
            }
            panic!("there is no end of it: {taken:?}");
        })
    });
    let mut taken = Vec::new();
    for node in nodes.collect::<Vec<_>>() {
        let (some, wait_us) = node.await.unwrap();
        assert!((86_000_000_000..=86_400_000_000).contains(&wait_us), "{wait_us}");
        taken.extend(some);
    }
    taken.sort_unstable();
    assert_eq!(taken, [5, 10, 10, 10, 10, 10, 10, 10, 10, 10]);
}

pub(crate) async fn one_key_is_one_effect_across_nodes() {
    let fleet = Fleet::start(3);
    let (world, alice) = (world(), identity("alice"));
    let terms = Terms { window_us: Some(60_000_000), ..Terms::default() };
    let asked = fleet.nodes.iter().map(|node| commit(node, &world, &alice, "k-1", &terms));
    let answers: Vec<_> = futures(asked).await;
    let mut permits = Vec::new();
    for answer in answers {
        match answer {
            Ok(permit) => permits.push(permit),
            Err(CommitError::UnderWay(_)) => {}
            Err(other) => panic!("{other:?}"),
        }
    }
    let [permit] = <[Permit; 1]>::try_from(permits).map_err(|all| all.len()).unwrap();
    let first = permit.call().id.clone();
    let (_, _, spent) = permit.spend();
    // Its log has the intent; the answer is there on all of them.
    let mut asked = fleet.nodes.iter();
    let of_it = async |node: &Store| node.entries(0, 1000).await.unwrap();
    let node = loop {
        let node = asked.next().unwrap();
        let entries = of_it(node).await;
        let has = |leaf: &[u8]| String::from_utf8_lossy(leaf).contains(first.as_str());
        if entries.iter().any(|entry| has(&entry.leaf)) {
            break node;
        }
    };
    node.conclude(spent, outcome("saved")).await.unwrap();
    for node in &fleet.nodes {
        let Err(CommitError::Repeats(facts)) = commit(node, &world, &alice, "k-1", &terms).await
        else {
            panic!("a second effect");
        };
        let earlier = facts.earlier.unwrap();
        assert_eq!((earlier.call, earlier.standing), (first.clone(), Standing::Ended));
        let Some(Ended::Result(result)) = node.ended(&first).await.unwrap() else { panic!() };
        assert_eq!(result, Json::from("saved"));
        let trace = node.trace(&first).await.unwrap().unwrap();
        assert_eq!(trace.entries.len(), 2);
    }
}

pub(crate) async fn a_session_goes_on_at_another_node() {
    let fleet = Fleet::start(2);
    let (world, alice) = (world(), identity("alice"));
    let [one, two] = [&fleet.nodes[0], &fleet.nodes[1]];
    // It knows the session, from before.
    drop(open_write(two, &world, &alice).await.unwrap());
    let before = two.session(&session_key(&alice)).await.unwrap();
    read(one, &world, &alice).await.unwrap();
    // What was decided on the session as it was before gets no permit at the other node.
    let stale = allowed(&world, facts(&alice, before.clone(), call("save")));
    let Err(CommitError::Moved(_)) = two.commit(stale, Terms::default()).await else {
        panic!("a permit on stale facts");
    };
    let after = two.session(&session_key(&alice)).await.unwrap();
    assert_ne!(after.exposure, before.exposure);
    write(two, &world, &alice).await.unwrap();
}

pub(crate) async fn nodes_join_what_a_group_has_met() {
    let fleet = Fleet::start(3);
    let (world, alice) = (world(), identity("alice"));
    let [one, two, three] = [&fleet.nodes[0], &fleet.nodes[1], &fleet.nodes[2]];
    let stale = looking_back(three, &alice, "s3", "save", &[]).await;
    // At the same time, and many times: nobody waits in a circle, and nothing is lost.
    let met = (0..24).map(|at: usize| {
        let node = [one, two, three][at % 3];
        let label = [strangers(), secrets()][at % 2].clone();
        let (world, alice, id) = (&world, &alice, format!("s{at}"));
        async move { meet(node, world, alice, &id, &label).await.unwrap() }
    });
    futures(met).await;
    for node in &fleet.nodes {
        let (session, history) = looked(node, &in_session(&alice, "new"), look(&[])).await;
        let tags: Vec<&str> = passed(&history).iter().map(|(tag, ..)| *tag).collect();
        assert_eq!(tags, ["confidentiality:restricted", "effect:read", "origin:anyone"]);
        assert!(session.exposure.covers(&strangers().join(&secrets())));
    }
    let Err(CommitError::Moved(_)) = three.commit(allowed(&world, stale), Terms::default()).await
    else {
        panic!("a permit on what was known before");
    };
    // Of writes that were decided on each other's absence one gets a permit.
    let bob = identity("bob");
    let mut decided = Vec::new();
    for (at, node) in fleet.nodes.iter().enumerate() {
        let id = format!("s{at}");
        let facts = looking_back(node, &bob, &id, "save", &["crm/save"]).await;
        decided.push((node, allowed(&world, facts)));
    }
    let asked = decided.into_iter().map(|(node, it)| node.commit(it, Terms::default()));
    let answers = futures(asked).await;
    let is_moved =
        |answer: &&Result<Permit, CommitError>| matches!(answer, Err(CommitError::Moved(_)));
    assert_eq!(answers.iter().filter(is_moved).count(), 2);
    // What is known is not written again.
    let written = async || {
        let mut connection = PgConnection::connect(fleet.url.expose()).await.unwrap();
        let select = "SELECT coalesce(max(xmin::text::bigint), 0) FROM exposure";
        sqlx::query_scalar::<_, i64>(select).fetch_one(&mut connection).await.unwrap()
    };
    let before = written().await;
    for _ in 0..8 {
        meet(one, &world, &alice, "s0", &strangers()).await.unwrap();
    }
    assert_eq!(written().await, before);
}

pub(crate) async fn a_bundle_rules_on_every_node() {
    let fleet = Fleet::start(2);
    let (old, alice) = (world(), identity("alice"));
    let [one, two] = [&fleet.nodes[0], &fleet.nodes[1]];
    one.publish_bundle(old.digest, &files()).await.unwrap();
    let mut ruling = two.ruling().unwrap();
    until("the other node to know", async || {
        (*ruling.borrow_and_update() == Some(old.digest)).then_some(())
    })
    .await;
    assert_eq!(two.bundle(&old.digest).await.unwrap(), Some(files()));
    let mut newer = files();
    newer.insert("policies/more.cedar".to_owned(), b"// Nothing more.\n".to_vec());
    let newer = (World::load(&newer).unwrap_or_else(|_| panic!()), newer);
    let session = two.session(&session_key(&alice)).await.unwrap();
    let decided = allowed(&old, facts(&alice, session, call("save")));
    one.publish_bundle(newer.0.digest, &newer.1).await.unwrap();
    let Err(CommitError::Moved(_)) = two.commit(decided, Terms::default()).await else {
        panic!("a permit under a bundle that does not rule");
    };
    // Throwing a switch is not for the rules of now alone: lifting one is.
    for (operation, has_permit) in [("switch_throw", true), ("switch_lift", false)] {
        let session = two.session(&session_key(&alice)).await.unwrap();
        let decided = allowed(&old, facts(&alice, session, of_the_gate(operation)));
        match two.commit(decided, Terms::default()).await {
            Ok(permit) if has_permit => drop(permit),
            Err(CommitError::Moved(_)) if !has_permit => {}
            other => panic!("{operation}: {}", other.is_ok()),
        }
    }
    // A read neither, once the node knows.
    until("the other node to know", async || (!two.rules(&old.digest)).then_some(())).await;
    let session = two.session(&session_key(&alice)).await.unwrap();
    let decided = allowed(&old, facts(&alice, session, call("look")));
    assert!(matches!(two.admit_read(decided), Err(CommitError::Moved(_))));
}

pub(crate) async fn a_session_and_what_is_behind_it_are_read_at_once() {
    let fleet = Fleet::start(1);
    let (world, alice) = (world(), identity("alice"));
    let node = &fleet.nodes[0];
    write(node, &world, &alice).await.unwrap();
    // Whoever reads sessions is counted.
    let counted = "ALTER TABLE session RENAME TO kept; CREATE SEQUENCE looks;
        CREATE VIEW session AS WITH looked AS MATERIALIZED (SELECT nextval('looks'))
        SELECT kept.* FROM kept, looked";
    fleet.run(counted.to_owned()).await;
    let (session, tenant, past) = node.look(&session_key(&alice), Some(look(&[]))).await.unwrap();
    assert_ne!(session.id, tenant.id);
    assert_eq!(past.unwrap().of(session).0.writes, 1);
    let mut connection = PgConnection::connect(fleet.url.expose()).await.unwrap();
    let looks = sqlx::query_scalar::<_, i64>("SELECT last_value FROM looks WHERE is_called");
    assert_eq!(looks.fetch_one(&mut connection).await.unwrap(), 1);
}

async fn throw(
    store: &Store,
    switch: Switch,
    by: &CallId,
) -> (Result<Containment, StoreError>, Result<Receipt, StoreError>) {
    let thrown = store.throw(&switch).await;
    (thrown, store.record_thrown(switch, by).await)
}

fn all() -> Switch {
    Switch { scope: "global".to_owned(), name: String::new() }
}

pub(crate) async fn a_switch_stops_every_node() {
    let fleet = Fleet::start(3);
    let (world, alice) = (world(), identity("alice"));
    let mut passes = Vec::new();
    let mut permits = Vec::new();
    for node in &fleet.nodes {
        let permit = open_write(node, &world, &alice).await.unwrap();
        permit.pass().ready().await;
        passes.push(permit.pass());
        permits.push(permit);
    }
    // One has begun to leave, at another node than the one that is told to stop.
    passes[2].leave().unwrap();
    let left = permits[2].call().id.clone();
    let by = CallId::new("by").unwrap();
    let (contained, recorded) = throw(&fleet.nodes[0], all(), &by).await;
    assert_eq!(contained.unwrap().under_way, std::slice::from_ref(&left));
    recorded.unwrap();
    // As long as it is under way, whoever asks is told.
    let (again, _) = throw(&fleet.nodes[1], all(), &by).await;
    assert_eq!(again.unwrap().under_way, std::slice::from_ref(&left));
    for pass in &passes {
        assert_eq!(pass.leave(), Err(Stop::Switch(all())));
    }
    for (node, permit) in fleet.nodes.iter().zip(permits) {
        assert_eq!(node.switches_about(&scopes(&alice, node).await), [all()]);
        node.conclude(permit.spend().2, outcome("saved")).await.unwrap();
    }
    // Lifted at a third.
    fleet.nodes[1].lift(all(), &by).await.unwrap().unwrap();
    until("every node to know", async || {
        fleet.nodes.iter().all(|node| node.switches().is_empty()).then_some(())
    })
    .await;
}

async fn scopes(identity: &Arc<Identity>, node: &Store) -> Scopes {
    let session = node.session(&session_key(identity)).await.unwrap();
    Scopes::of(&facts(identity, session, call("save")))
}

pub(crate) async fn a_node_that_is_cut_off_stops_by_itself() {
    let fleet = Fleet::start(2);
    let (world, alice) = (world(), identity("alice"));
    let permit = open_write(&fleet.nodes[1], &world, &alice).await.unwrap();
    let pass = permit.pass();
    pass.ready().await;
    pass.leave().unwrap();
    let database = fleet.url.expose().rsplit('/').next().unwrap().to_owned();
    let admin = Redacted::new(fleet.url.expose().replace(&database, "postgres"));
    let mut connection = PgConnection::connect(admin.expose()).await.unwrap();
    let shut = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS false");
    sqlx::raw_sql(AssertSqlSafe(shut)).execute(&mut connection).await.unwrap();
    let cut = format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
    );
    sqlx::raw_sql(AssertSqlSafe(cut)).execute(&mut connection).await.unwrap();
    let since = Instant::now();
    until("the lease to end", async || pass.leave().err()).await;
    assert_eq!(pass.leave(), Err(Stop::NoLease));
    assert!(since.elapsed() <= Options::LEASE, "{:?}", since.elapsed());
    // A switch holds here at once, and says that the fleet does not know.
    let (contained, _) = throw(&fleet.nodes[0], all(), &CallId::new("by").unwrap()).await;
    assert!(contained.is_err());
    assert_eq!(fleet.nodes[0].switches(), [all()]);
    let open = format!("ALTER DATABASE {database} ALLOW_CONNECTIONS true");
    sqlx::raw_sql(AssertSqlSafe(open)).execute(&mut connection).await.unwrap();
    // Once the way is there again, it does.
    until("the other node to know", async || (fleet.nodes[1].switches() == [all()]).then_some(()))
        .await;
    assert_eq!(pass.leave(), Err(Stop::Switch(all())));
    drop(permit);
}

pub(crate) async fn a_node_taken_for_lost_has_no_permits_any_more() {
    let fleet = Fleet::start(2);
    let (world, alice) = (world(), identity("alice"));
    let old = open_write(&fleet.nodes[1], &world, &alice).await.unwrap();
    old.pass().ready().await;
    old.pass().leave().unwrap();
    // As whoever finishes what a lost node left open does.
    fleet.run("UPDATE node SET term = term + 1 WHERE origin LIKE '%node-1'".to_owned()).await;
    let stop = until("the node to hear of it", async || old.pass().leave().err()).await;
    assert_eq!(stop, Stop::NoLease);
    let new = open_write(&fleet.nodes[1], &world, &alice).await.unwrap();
    new.pass().ready().await;
    new.pass().leave().unwrap();
    drop((old, new));
}

pub(crate) async fn another_process_of_the_name_takes_the_lease() {
    let fleet = Fleet::start(1);
    let (world, alice) = (world(), identity("alice"));
    let permit = open_write(&fleet.nodes[0], &world, &alice).await.unwrap();
    permit.pass().ready().await;
    permit.pass().leave().unwrap();
    // As a second process does, once the number of the first is free.
    fleet.run("UPDATE node SET incarnation = incarnation + 1".to_owned()).await;
    let stop = until("the lease to end", async || permit.pass().leave().err()).await;
    assert_eq!(stop, Stop::NoLease);
    permit.pass().ready().await;
    assert_eq!(permit.pass().leave(), Err(Stop::NoLease));
    drop(permit);
}

pub(crate) async fn a_lock_that_is_waited_for_in_vain_leaves_nothing_behind() {
    let fleet = Fleet::start(1);
    let (world, alice) = (world(), identity("alice"));
    write(&fleet.nodes[0], &world, &alice).await.unwrap();
    let mut other = PgConnection::connect(fleet.url.expose()).await.unwrap();
    // What every write shares, and a publication has to itself.
    let ruling = i64::from_be_bytes(*b"lockgate");
    let take = format!("SELECT pg_advisory_lock({ruling})");
    sqlx::raw_sql(AssertSqlSafe(take)).execute(&mut other).await.unwrap();
    let error = write(&fleet.nodes[0], &world, &alice).await.unwrap_err();
    assert_eq!(error.code(), lockgate_types::Code::StoreUnavailable);
    other.close().await.unwrap();
    // At once, and on the same session.
    write(&fleet.nodes[0], &world, &alice).await.unwrap();
    verify(&fleet.nodes[0]).await.unwrap();
}

pub(crate) async fn sessions_that_cannot_be_read_leave_no_transaction_behind() {
    let fleet = Fleet::start(1);
    let (world, alice) = (world(), identity("alice"));
    let node = &fleet.nodes[0];
    write(node, &world, &alice).await.unwrap();
    let session = node.session(&session_key(&alice)).await.unwrap();
    fleet.run("ALTER TABLE session RENAME TO away".to_owned()).await;
    let facts = facts(&alice, session, call("save"));
    let refused = node.commit(allowed(&world, facts), Terms::default()).await;
    assert!(matches!(refused, Err(CommitError::Failed(_))));
    // Whoever is told so holds up nobody: other nodes wait for what a transaction has touched.
    let mut look = PgConnection::connect(fleet.url.expose()).await.unwrap();
    let held = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'";
    let held: i64 = sqlx::query_scalar(held).fetch_one(&mut look).await.unwrap();
    assert_eq!(held, 0, "a transaction was left open");
    fleet.run("ALTER TABLE away RENAME TO session".to_owned()).await;
    write(node, &world, &alice).await.unwrap();
    verify(node).await.unwrap();
}

pub(crate) async fn sessions_that_end_in_the_middle_lose_nothing() {
    let fleet = Fleet::start(2);
    let world = Arc::new(world());
    let terms = Terms { window_us: Some(60_000_000), ..Terms::default() };
    let callers = (0..6).map(|at: usize| {
        let (node, world, terms) = (fleet.nodes[at % 2].clone(), Arc::clone(&world), terms.clone());
        tokio::spawn(async move {
            let identity = identity(&format!("user-{at}"));
            let mut acknowledged = Vec::new();
            for round in 0..200 {
                let key = format!("k-{round}");
                let Ok(permit) = commit(&node, &world, &identity, &key, &terms).await else {
                    continue;
                };
                let id = permit.call().id.clone();
                if node.conclude(permit.spend().2, outcome("saved")).await.is_ok() {
                    acknowledged.push((id, key));
                }
            }
            (identity, acknowledged)
        })
    });
    let callers: Vec<_> = callers.collect();
    let mut cuts = 0;
    while callers.iter().any(|caller| !caller.is_finished()) {
        // tidy: allow sleep: long enough for something to be in the middle
        tokio::time::sleep(Duration::from_millis(30)).await;
        fleet.cut().await;
        cuts += 1;
    }
    assert!(cuts > 3, "{cuts}");
    // The last cut is noticed by who reads next.
    for node in &fleet.nodes {
        until("the way to the database", async || node.entries(0, 1).await.ok()).await;
    }
    let mut count = 0;
    for caller in callers {
        let (identity, acknowledged) = caller.await.unwrap();
        for (id, key) in acknowledged {
            let trace = fleet.nodes[0].trace(&id).await.unwrap().unwrap();
            assert_eq!(trace.entries[1].leaf.get("state").unwrap().as_str(), Some("succeeded"));
            let session = fleet.nodes[1].session(&session_key(&identity)).await.unwrap();
            let mut call = call("save");
            call.key = Some(key);
            let again = facts(&identity, session, call);
            let Some(Blocked::Stands(earlier)) =
                fleet.nodes[1].standing(&again, 60_000_000).await.unwrap()
            else {
                panic!("the effect could be had again");
            };
            assert_eq!((earlier.call, earlier.standing), (id, Standing::Ended));
            count += 1;
        }
    }
    assert!(count > 0);
    for node in &fleet.nodes {
        verify(node).await.unwrap();
        // Every intent has an outcome: also those of which nobody knew whether they were written.
        until("every intent to have its outcome", async || {
            let all = entries(node).await;
            let of = |kind: &str| kinds(&all).iter().filter(|it| **it == kind).count();
            (of("intent") == of("outcome")).then_some(())
        })
        .await;
    }
}

pub(crate) async fn every_tenant_has_a_log_at_every_node() {
    let mut fleet = Fleet::start(2);
    let world = world();
    let all = ["acme", "default", "globex"].map(|tenant| identity_in(tenant, "alice"));
    let mut calls = Vec::new();
    for round in 0..40 {
        for identity in &all {
            let node = &fleet.nodes[round % 2];
            calls.push(write(node, &world, identity).await.unwrap());
            calls.push(read(node, &world, identity).await.unwrap());
        }
    }
    for (at, node) in fleet.nodes.iter().enumerate() {
        for tenant in ["acme", "globex"] {
            assert_eq!(check_only_of(node, tenant).await, 80);
        }
        verify(node).await.unwrap();
        let vkey = node.vkey_of(&"acme".parse().unwrap()).await.unwrap();
        assert!(vkey.starts_with(&format!("test.example/node-{at}/acme+")), "{vkey}");
    }
    for (call, receipt) in &calls {
        for node in &fleet.nodes {
            let trace = node.trace(call).await.unwrap().unwrap();
            assert_eq!(trace.entries.last().unwrap().hash, receipt.leaf);
        }
    }
    // What a lost node has left open is ended in the log of its tenant at another.
    let gone = fleet.nodes.remove(1);
    let permit = open_write(&gone, &world, &all[0]).await.unwrap();
    let call = permit.call().id.clone();
    std::mem::forget(permit.spend().2);
    gone.close().await.unwrap();
    let node = &fleet.nodes[0];
    until("the outcome of what is gone", async || {
        node.doubts(0, 8).await.unwrap().into_iter().find(|doubt| doubt.call == call)
    })
    .await;
    node.resolve(&call, OutcomeState::Failed, Means::Person).await.unwrap().unwrap();
    let entries = entries_of(node, "acme").await;
    let [outcome, resolution] = &entries[80..] else { panic!("{}", entries.len()) };
    // The intent by its node's number and its index there, the outcome by its index here.
    let parent = |entry: &Json| entry.at(&["parent", "index"]).and_then(Json::as_i64).unwrap();
    assert_eq!(parent(outcome) & ((1 << 40) - 1), 80);
    assert!(parent(outcome) >> 40 > 0);
    assert_eq!((text(resolution, &["k"]), parent(resolution)), ("resolution", 80));
    let kinds: Vec<String> = node
        .trace(&call)
        .await
        .unwrap()
        .unwrap()
        .entries
        .iter()
        .map(|entry| text(&entry.leaf, &["k"]).to_owned())
        .collect();
    assert_eq!(kinds, ["intent", "outcome", "resolution"]);
    assert!(node.concluded_at(&call).await.unwrap().is_some());
    verify_of(node, "acme").await.unwrap();
}

pub(crate) async fn what_tightens_at_one_node_is_tight_at_another() {
    let fleet = Fleet::start(2);
    let [one, other] = fleet.nodes.as_slice() else { panic!() };
    let ((world, _), alice) = (risky(""), identity("alice"));
    let key = session_key(&alice);
    let before = one.session(&key).await.unwrap();
    // Refused here and there, and counted together.
    for node in [one, other, one, other, one] {
        refuse(node, &world, &alice).await.unwrap();
    }
    for node in [one, other] {
        assert_eq!(node.session(&key).await.unwrap().mode, Mode::Approvals);
        let late = facts(&alice, before.clone(), call("save"));
        let late = node.commit(allowed(&world, late), Terms::default()).await;
        assert!(matches!(late, Err(CommitError::Moved(_))));
    }
    // The tenant's posture as well, in one look with the session.
    let row = tenant_row(&alice.tenant).unwrap();
    let by = CallId::new("c_1").unwrap();
    let locked = (Direction::Tighten, Mode::Locked);
    let bob = identity("bob");
    let bobs = other.session(&session_key(&bob)).await.unwrap();
    one.set_mode(row, locked, None, (&by, now())).await.unwrap();
    assert_eq!(other.sessions(&key).await.unwrap().1.mode, Mode::Locked);
    let late = facts(&bob, bobs, call("save"));
    let late = other.commit(allowed(&world, late), Terms::default()).await;
    assert!(matches!(late, Err(CommitError::Moved(_))));
    // Many at once, at both: none is lost.
    let carol = identity("carol");
    let refusing = (0..20).map(|at: usize| {
        let (node, carol, world) = (fleet.nodes[at % 2].clone(), carol.clone(), risky("").0);
        tokio::spawn(async move { refuse(&node, &world, &carol).await.map(drop) })
    });
    for refused in refusing.collect::<Vec<_>>() {
        refused.await.unwrap().unwrap();
    }
    let risk = one.session(&session_key(&carol)).await.unwrap().risk.unwrap();
    assert_eq!(risk.reasons[0].times, 20);
}

pub(crate) async fn one_node_drives_a_run_and_another_takes_it_from_one_that_is_lost() {
    let fleet = Fleet::start(2);
    let [one, two] = [&fleet.nodes[0], &fleet.nodes[1]];
    let (alice, run) = (identity("alice"), call("look").id);
    assert_eq!(one.begin_run(&alice, new_run(&run)).await.unwrap(), Begun::New);
    let long = |name: &str| driver(name, 3600 * 1_000_000);
    // Both look at the same moment: one has it.
    let (here, there) = (long("one"), long("two"));
    let (by_one, by_two) = tokio::join!(one.claim_runs(&here, 10), two.claim_runs(&there, 10));
    let claimed = [by_one.unwrap(), by_two.unwrap()];
    assert_eq!(claimed.iter().map(Vec::len).sum::<usize>(), 1, "{claimed:?}");
    let nodes = [(one, "one"), (two, "two")];
    let (holder, other) = if claimed[0].is_empty() { (1, 0) } else { (0, 1) };
    let add = async |(store, name): (&Store, &str), number: u32, lasts_us: i64| {
        let entry = entry(name);
        let driven = (&run, &driver(name, lasts_us));
        let open = standing(RunPhase::Open);
        store.add_run_entry(&alice, driven, (number, entry), open).await.unwrap()
    };
    assert!(!add(nodes[other], 1, 1_000_000).await, "who does not have it writes nothing");
    assert!(add(nodes[holder], 1, -1).await, "and says nothing of itself any more");
    let (store, name) = nodes[other];
    assert_eq!(store.claim_runs(&long(name), 10).await.unwrap(), std::slice::from_ref(&run));
    assert!(!add(nodes[holder], 2, 1_000_000).await, "who has lost it writes nothing");
    assert!(add(nodes[other], 2, 1_000_000).await);
    let read = one.run_entries(&alice, &run, 1).await.unwrap().unwrap();
    assert_eq!(read, [nodes[holder].1.as_bytes(), nodes[other].1.as_bytes()]);
}
