//! Leases: a node of a fleet lets things leave only while it knows what holds.
//!
//! A switch is thrown by writing it down and raising the fleet's epoch. Every node asks for the
//! epoch many times within a lease, takes up what is new, and says so. A lease lasts from *before*
//! it was asked for: who has not said that it knows an epoch has no lease that began after the
//! epoch, and lets nothing leave once the last that began before is over, whether it is stopped,
//! cut off, or gone. So there is a moment by which every node is contained, whatever it does.
//!
//! A notification makes nodes ask at once. It is never relied on, and never sent in a transaction
//! of the record, which would make those take turns.

use crate::db::DbError;
use crate::error::StoreError;
use crate::postgres::connect;
use crate::writer::Memory;
use lockgate_types::facts::Switch;
use lockgate_types::{CallId, Digest};
use rustix::time::{ClockId, clock_gettime};
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

/// What nodes are told by.
const CHANNEL: &str = "lockgate";
/// Leases are asked for this many times within one.
const ASKED_PER_LEASE: u32 = 4;
/// Leases after which an answer is not waited for any more, and the connection given up.
const GIVEN_UP_AFTER: u32 = 5;
/// How often a lease is asked for in one go: to be heard, to take up what is new, and once more.
const RENEW_ROUNDS_MAX: u32 = 4;
/// Between two attempts to connect.
const CONNECT_AFTER: Duration = Duration::from_millis(100);
/// Commands that may wait.
const COMMANDS_MAX: usize = 64;
/// Calls under way that a node names. More are not listed; the log has them.
const NAMED_MAX: usize = 1000;
/// How long a node is silent before a kill does not wait for it. Longer than any lease, by far.
const SILENT_FOR: Duration = Duration::from_secs(10);
/// Clocks of two machines that measure the same time differ by less than one part in this.
const DRIFT: u32 = 100;

/// A moment by a clock that runs on while the host sleeps, as the clocks of the other nodes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Moment(Duration);

impl Moment {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(now.tv_sec).unwrap_or(u64::MAX);
        Self(Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0)))
    }

    const fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(time))
    }

    const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The node's side of its leases.
pub(crate) struct Keeper {
    commands: Option<mpsc::Sender<Command>>,
    pub(crate) ruling: watch::Receiver<Option<Digest>>,
    thread: Option<JoinHandle<()>>,
}

/// What is asked of the keeper.
enum Command {
    /// Make the fleet know of a switch, and wait until every node does or has no lease.
    Throw { switch: Switch, contained: oneshot::Sender<Result<Vec<CallId>, StoreError>> },
}

/// What a node needs to keep its leases.
pub(crate) struct Node {
    pub(crate) options: PgConnectOptions,
    pub(crate) number: u64,
    pub(crate) incarnation: i64,
    pub(crate) lease: Duration,
    pub(crate) memory: Arc<Memory>,
}

impl Keeper {
    /// Asks for leases from now on, on a thread of its own: nothing else keeps it from it.
    pub(crate) fn start(node: Node) -> std::io::Result<Self> {
        let (commands, asked) = mpsc::channel(COMMANDS_MAX);
        let (tell_ruling, ruling) = watch::channel(None);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let keeping = Keeping {
            node,
            epoch: 0,
            spoke_at: None,
            erasures: 0,
            under_way: String::new(),
            tell_ruling,
        };
        let thread = std::thread::Builder::new()
            .name("lockgate-lease".to_owned())
            .spawn(move || runtime.block_on(keeping.run(asked)))?;
        Ok(Self { commands: Some(commands), ruling, thread: Some(thread) })
    }

    /// Makes the fleet know of a switch. Gives the calls of other nodes that had begun to leave
    /// before, once no node lets anything leave in its scope.
    pub(crate) async fn throw(&self, switch: Switch) -> Result<Vec<CallId>, StoreError> {
        let (contained, answer) = oneshot::channel();
        let Some(commands) = &self.commands else { return Err(StoreError::Closed) };
        let sent = commands.try_send(Command::Throw { switch, contained });
        sent.map_err(|_| StoreError::Overloaded { max: COMMANDS_MAX })?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.commands = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

struct Keeping {
    node: Node,
    /// The newest that was taken up.
    epoch: i64,
    /// When it last asked for a lease and got an answer, on this connection.
    spoke_at: Option<Moment>,
    /// How many erasures it knows of.
    erasures: i64,
    /// What had begun to leave when it was.
    under_way: String,
    tell_ruling: watch::Sender<Option<Digest>>,
}

/// Asks for a lease: says what is known, and gets what holds.
const RENEW: &str = "UPDATE node SET epoch = $2, under_way = $3, lease = $4,
        renewed = (extract(epoch FROM clock_timestamp()) * 1000000)::bigint
    WHERE number = $1 AND incarnation = $5 RETURNING term, (SELECT epoch FROM fleet)";

impl Keeping {
    async fn run(mut self, mut asked: mpsc::Receiver<Command>) {
        loop {
            match self.keep(&mut asked).await {
                Ok(()) => return,
                // The lease ends by itself if this goes on.
                Err(_) => {
                    let pause = tokio::time::sleep(CONNECT_AFTER);
                    tokio::pin!(pause);
                    loop {
                        tokio::select! {
                            () = &mut pause => break,
                            command = asked.recv() => match command {
                                None => return,
                                Some(Command::Throw { contained, .. }) => {
                                    let error = StoreError::database("telling the fleet")(gone());
                                    let _ = contained.send(Err(error));
                                }
                            },
                        }
                    }
                }
            }
        }
    }

    /// Keeps the lease while the connection holds. `Ok`: nobody needs it any more.
    async fn keep(&mut self, asked: &mut mpsc::Receiver<Command>) -> Result<(), DbError> {
        self.spoke_at = None;
        let mut connection = connect(&self.node.options).await?;
        // A renewal that a crash of the database undoes was of no use to anybody; a statement that
        // takes longer than the lease neither.
        let settings = format!(
            "SET synchronous_commit = off; SET statement_timeout = {}",
            self.node.lease.as_millis().max(1) * u128::from(GIVEN_UP_AFTER)
        );
        sqlx::raw_sql(AssertSqlSafe(settings)).execute(&mut connection).await?;
        let pool = PgPoolOptions::new().max_connections(1);
        let pool = pool.connect_lazy_with(self.node.options.clone());
        let mut told = self.soon(PgListener::connect_with(&pool)).await?;
        self.soon(told.listen(CHANNEL)).await?;
        for switch in self.node.memory.switches.pinned() {
            self.write(&mut connection, &switch).await?;
            self.node.memory.switches.unpin(&switch);
        }
        let mut renewals = tokio::time::interval(self.node.lease / ASKED_PER_LEASE);
        renewals.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                command = asked.recv() => match command {
                    None => return Ok(()),
                    Some(Command::Throw { switch, contained }) => {
                        let thrown = self.throw(&mut connection, &switch).await;
                        let is_lost = thrown.is_err();
                        let thrown = thrown.map_err(StoreError::database("throwing a switch"));
                        let _ = contained.send(thrown);
                        if is_lost {
                            return Err(gone());
                        }
                    }
                },
                notification = told.try_recv() => {
                    notification?;
                    self.renew(&mut connection).await?;
                }
                _ = renewals.tick() => self.renew(&mut connection).await?,
            }
        }
    }

    /// A database that takes longer to answer than a lease lasts gives none, and keeps nobody from
    /// what else is asked.
    async fn renew(&mut self, connection: &mut PgConnection) -> Result<(), DbError> {
        for _ in 0..RENEW_ROUNDS_MAX {
            let asked_at = Moment::now();
            let row = sqlx::query(RENEW)
                .bind(i64::try_from(self.node.number).unwrap_or(i64::MAX))
                .bind(self.epoch)
                .bind(&self.under_way)
                .bind(micros(self.node.lease))
                .bind(self.node.incarnation);
            // No row: another process has this node's name.
            let row = self.soon(row.fetch_one(&mut *connection)).await?;
            let (term, epoch): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
            // Who was silent for longer than a lease may have been passed over by a kill: what it
            // has just said is seen by the next one, and only then does it have a lease.
            let spoke_at = self.spoke_at.replace(asked_at);
            let is_heard = spoke_at.is_some_and(|at| asked_at.since(at) < self.node.lease);
            if epoch == self.epoch && is_heard {
                self.node.memory.switches.renew(asked_at.after(self.node.lease), term);
                return Ok(());
            }
            if epoch != self.epoch {
                self.take_up(connection).await?;
                self.epoch = epoch;
            }
        }
        Ok(())
    }

    /// Takes up what holds in the fleet now.
    async fn take_up(&mut self, connection: &mut PgConnection) -> Result<(), DbError> {
        let rows = sqlx::query("SELECT scope, name FROM switch");
        let rows = self.soon(rows.fetch_all(&mut *connection)).await?;
        let mut on = BTreeSet::new();
        for row in rows {
            on.insert((row.try_get(0)?, row.try_get(1)?));
        }
        let under_way = self.node.memory.switches.take_up(on);
        let named: Vec<&str> = under_way.iter().take(NAMED_MAX).map(CallId::as_str).collect();
        self.under_way = named.join("\n");
        let erasures = sqlx::query("SELECT erasures FROM fleet");
        let erasures = self.soon(erasures.fetch_one(&mut *connection)).await?.try_get(0)?;
        if std::mem::replace(&mut self.erasures, erasures) != erasures {
            self.node.memory.subjects.forget_all();
        }
        let ruling = sqlx::query("SELECT value FROM meta WHERE name = 'ruling'");
        let ruling = self.soon(ruling.fetch_optional(connection)).await?;
        if let Some(row) = ruling {
            let digest: &[u8] = row.try_get(0)?;
            let digest = digest.try_into().map_err(|_| DbError::Column)?;
            self.tell_ruling.send_replace(Some(Digest::from_bytes(digest)));
        }
        Ok(())
    }

    async fn throw(
        &mut self,
        connection: &mut PgConnection,
        switch: &Switch,
    ) -> Result<Vec<CallId>, DbError> {
        let epoch = self.write(connection, switch).await?;
        let written_at = Moment::now();
        self.node.memory.switches.unpin(switch);
        self.renew(connection).await?;
        let mut over = written_at;
        loop {
            let (behind, longest) = self.behind(connection, epoch).await?;
            // A lease that began before the switch was written is over by then.
            over = over.max(written_at.after(longest + longest / DRIFT));
            let now = Moment::now();
            if behind.is_empty() || now >= over {
                return self.left_before(connection, epoch).await;
            }
            let pause = (self.node.lease / 100).min(over.since(now));
            tokio::time::sleep(pause).await;
        }
    }

    /// Nodes that may have a lease from before an epoch, and the longest of their leases.
    async fn behind(
        &self,
        connection: &mut PgConnection,
        epoch: i64,
    ) -> Result<(Vec<i64>, Duration), DbError> {
        // Who has not asked for longer than any lease has none. Far longer, since a clock may be
        // set, and renewals lost with a database that crashed.
        let select = "SELECT number, lease FROM node WHERE epoch < $1 AND renewed >
            (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - $2";
        let rows = sqlx::query(select).bind(epoch).bind(micros(SILENT_FOR));
        let rows = self.soon(rows.fetch_all(connection)).await?;
        let (mut behind, mut longest) = (Vec::new(), Duration::ZERO);
        for row in rows {
            let lease_us: i64 = row.try_get(1)?;
            behind.push(row.try_get(0)?);
            longest = longest.max(Duration::from_micros(lease_us.unsigned_abs()));
        }
        Ok((behind, longest))
    }

    /// Waits for the database, not for long: what comes later than this is worth nothing.
    async fn soon<T>(
        &self,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, DbError> {
        let answer = tokio::time::timeout(self.node.lease * GIVEN_UP_AFTER, answer).await;
        Ok(answer.map_err(|_| gone())??)
    }

    async fn write(&self, connection: &mut PgConnection, switch: &Switch) -> Result<i64, DbError> {
        self.soon(write_switch(connection, switch)).await
    }

    /// Calls of other nodes that had begun to leave: as those have said that know the epoch, and
    /// everything that is open of those that do not.
    async fn left_before(
        &self,
        connection: &mut PgConnection,
        epoch: i64,
    ) -> Result<Vec<CallId>, DbError> {
        let said = "SELECT under_way FROM node WHERE epoch >= $1 AND number <> $2";
        let own = i64::try_from(self.node.number).unwrap_or(i64::MAX);
        let said = sqlx::query(said).bind(epoch).bind(own);
        let said = self.soon(said.fetch_all(&mut *connection)).await?;
        let mut calls = BTreeSet::new();
        for row in said {
            let names: &str = row.try_get(0)?;
            calls.extend(names.lines().filter_map(|name| CallId::new(name).ok()));
        }
        let open = "SELECT call.id FROM node JOIN call ON call.intent >= node.number << 40
                AND call.intent < (node.number + 1) << 40
            WHERE node.epoch < $1 AND call.outcome IS NULL AND call.effect <> 'read' LIMIT $2";
        let open = sqlx::query(open).bind(epoch).bind(NAMED_MAX as i64);
        for row in self.soon(open.fetch_all(&mut *connection)).await? {
            calls.extend(CallId::new(row.try_get(0)?).ok());
        }
        Ok(calls.into_iter().collect())
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

fn gone() -> DbError {
    DbError::Postgres(sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()))
}

/// Writes a switch down, durably, and tells every node. Gives the epoch that it begins.
async fn write_switch(connection: &mut PgConnection, switch: &Switch) -> Result<i64, sqlx::Error> {
    let mut transaction = sqlx::Connection::begin(connection).await?;
    sqlx::raw_sql("SET LOCAL synchronous_commit = on").execute(&mut *transaction).await?;
    // Its entry follows.
    let insert = "INSERT INTO switch (scope, name, entry) VALUES ($1, $2, 0)
                  ON CONFLICT (scope, name) DO NOTHING";
    let insert = sqlx::query(insert).bind(&switch.scope).bind(&switch.name);
    insert.execute(&mut *transaction).await?;
    let raise = sqlx::query("UPDATE fleet SET epoch = epoch + 1 RETURNING epoch");
    let epoch = raise.fetch_one(&mut *transaction).await?.try_get(0)?;
    transaction.commit().await?;
    tell(connection).await?;
    Ok(epoch)
}

/// Has nodes ask at once. What this fails to do, their next renewal does.
async fn tell(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let tell = format!("NOTIFY {CHANNEL}");
    sqlx::raw_sql(AssertSqlSafe(tell)).execute(connection).await?;
    Ok(())
}
