//! What webhooks are told of requests for approval and of budgets, and what they have answered.
//!
//! Each request, and each budget that nears its end, has one piece of news: how it stands, by the
//! entry that says so. Each webhook has a notice for it: which entry it was told of, and how that
//! goes. So a projection is told, and not a queue kept: a webhook that was away is told how things
//! stand, not everything that has been. A notice is claimed before it is sent, so that of a fleet's
//! nodes one sends it; whoever claims and is gone leaves it to be claimed again.

use crate::db::{DbError, Touched, values};
use crate::effect_key::Name;
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::store::{self, Store};
use crate::writer::Writer;
use crate::{ApprovalState, call_id};
use lockgate_types::{CallId, Digest, Micros};

/// Microseconds for which who has claimed a notice has it: sending takes less.
const CLAIM_US: i64 = 20_000_000;
/// Microseconds for which it is kept what was told of a request that has ended: a day.
const KEPT_US: i64 = 24 * 3600 * 1_000_000;
/// Requests that are forgotten in one go.
const SWEEP_MAX: u32 = 64;
/// Messages of channels that are remembered at once.
const HEARD_MAX: u32 = 10_000;
/// The entry of what nobody was told yet.
const NOTHING: i64 = -1;

/// Something that one webhook has to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The request: the refused call that asks. Of a budget, a name for its counter that says
    /// nothing.
    pub call: CallId,
    /// Where the entry is that says so. It names the notice: told again, it is the same.
    pub entry: u64,
    /// What there is to tell.
    pub news: News,
    /// Since when.
    pub since: Micros,
    /// How often it was tried to be told, this time included.
    pub attempts: u32,
}

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// How a request for approval stands.
    Approval(ApprovalState),
    /// That a counter of a cap has come as far as somebody wants to be told of.
    Budget,
}

impl News {
    /// The word of a budget's, among those of how requests stand.
    const BUDGET: &str = "budget";

    fn from_word(word: &str) -> Option<Self> {
        match word {
            Self::BUDGET => Some(Self::Budget),
            word => ApprovalState::from_word(word).map(Self::Approval),
        }
    }
}

/// What came of telling it.
#[derive(Clone, Debug)]
pub enum Told {
    /// It was taken.
    Taken,
    /// It was not for this webhook.
    NotForIt,
    /// It was not taken, and is tried again.
    Later {
        /// When.
        due: Micros,
        /// Why.
        why: String,
    },
    /// It was not taken, and is not tried again.
    GivenUp {
        /// Why.
        why: String,
    },
}

/// How far a webhook is with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Its name.
    pub webhook: String,
    /// Whether it knows how the request stands, or nobody tries to tell it any more.
    pub is_over: bool,
    /// How often it was tried.
    pub attempts: u32,
    /// Why it was not taken the last time; empty if it was.
    pub why: String,
}

/// What is known of a message of a channel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing: it is the first of that id.
    New,
    /// The very same, with what was answered to it, if that is known.
    Again(Option<String>),
    /// Another message had its id.
    Other,
}

impl Store {
    /// Waits until there is news, if there was none since this was last waited for.
    pub async fn news(&self) {
        self.queue().news().notified().await;
    }

    /// Claims up to `max` notices that are due for a webhook. The second: when the next one is.
    pub async fn claim_notices(
        &self,
        webhook: &str,
        max: u32,
    ) -> Result<(Vec<Notice>, Option<Micros>), StoreError> {
        let name = webhook.to_owned();
        let due = self.read(move |writer| writer.due_notices(&name, max)).await?;
        if due.is_empty() {
            let name = webhook.to_owned();
            return Ok((due, self.read(move |writer| writer.next_notice(&name)).await?));
        }
        match self.write(Change::ClaimNotices { webhook: webhook.to_owned(), max }).await {
            Ok(Written::Claimed(claimed)) => Ok((claimed, None)),
            Ok(_) => Err(store::unexpected()),
            Err(rejected) => Err(store::failed(rejected)),
        }
    }

    /// Keeps what came of telling a notice.
    pub async fn told(&self, webhook: &str, notice: Notice, told: Told) -> Result<(), StoreError> {
        let change = Change::Told { webhook: webhook.to_owned(), notice, told };
        self.write(change).await.map(drop).map_err(store::failed)
    }

    /// How far each webhook is with a request, and the entry that says how the request stands.
    pub async fn deliveries(
        &self,
        call: &CallId,
    ) -> Result<(Option<u64>, Vec<Delivery>), StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.deliveries(&call)).await
    }

    /// Remembers a message of a channel's by its id, durably, and says what was known of it.
    pub async fn hear(&self, webhook: &str, id: &str, body: Digest) -> Result<Heard, StoreError> {
        let change = Change::Hear { webhook: webhook.to_owned(), id: id.to_owned(), body };
        match self.write(change).await {
            Ok(Written::Heard(heard)) => Ok(heard),
            Ok(_) => Err(store::unexpected()),
            Err(rejected) => Err(store::failed(rejected)),
        }
    }

    /// Keeps what was answered to a message, for when it comes again.
    pub async fn answer_heard(
        &self,
        webhook: &str,
        id: &str,
        answer: String,
    ) -> Result<(), StoreError> {
        let (webhook, id) = (webhook.to_owned(), id.to_owned());
        let change = Change::AnswerHeard { webhook, id, answer };
        self.write(change).await.map(drop).map_err(store::failed)
    }
}

impl Writer {
    /// Says how a request stands, within the transaction that has it stand so.
    pub(crate) fn set_news(
        &self,
        call: &CallId,
        place: u64,
        state: ApprovalState,
        now: Micros,
    ) -> Result<(), StoreError> {
        let set = "INSERT INTO news (call, entry, state, since) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (call) DO UPDATE SET entry = excluded.entry,
                   state = excluded.state, since = excluded.since";
        let given = values![call.as_str(), place, state.as_str(), now.0];
        self.db.execute(set, given).map_err(failed())?;
        // Who is told looks for it behind this transaction.
        self.gauge.news.notify_one();
        Ok(())
    }

    /// Says that a counter has come far, within the transaction in which it does.
    pub(crate) fn set_budget_news(
        &self,
        counter: &Name,
        place: u64,
        now: Micros,
    ) -> Result<(), StoreError> {
        let name: String = counter.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("b{name}");
        let set = "INSERT INTO news (call, entry, state, since) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (call) DO NOTHING";
        let given = values![&name, place, News::BUDGET, now.0];
        self.db.execute(set, given).map_err(failed())?;
        self.gauge.news.notify_one();
        Ok(())
    }

    /// What a webhook was not told: what is open and new to it, and what has changed since.
    fn due_notices(&self, webhook: &str, max: u32) -> Result<Vec<Notice>, StoreError> {
        let select = "SELECT n.call, n.entry, n.state, n.since,
                CASE WHEN t.tried = n.entry THEN t.attempts ELSE 0 END
            FROM news n LEFT JOIN notice t ON t.call = n.call AND t.webhook = ?1
            WHERE (t.call IS NULL AND n.state IN ('pending', 'given', 'budget'))
               OR (t.told <> n.entry AND (t.due <= ?2 OR t.tried <> n.entry))
            ORDER BY n.since LIMIT ?3";
        type Found = (String, u64, String, i64, u32);
        let read = |row: &crate::db::Row<'_>| -> Result<Found, DbError> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?))
        };
        let found = self.db.rows(select, values![webhook, self.now().0, max], read);
        found
            .map_err(failed())?
            .into_iter()
            .map(|(call, entry, state, since, before)| {
                let news = News::from_word(&state);
                let news = news.ok_or_else(|| StoreError::corrupt(None, "news has no state"))?;
                let (call, attempts) = (call_id(&call)?, before.saturating_add(1));
                Ok(Notice { call, entry, news, since: Micros(since), attempts })
            })
            .collect()
    }

    fn next_notice(&self, webhook: &str) -> Result<Option<Micros>, StoreError> {
        let select = "SELECT t.due FROM notice t JOIN news n ON n.call = t.call
            WHERE t.webhook = ?1 AND t.told <> n.entry ORDER BY t.due LIMIT 1";
        let found: Option<i64> =
            self.db.row(select, values![webhook], |row| row.get(0)).map_err(failed())?;
        Ok(found.map(Micros))
    }

    /// Takes what is due for a webhook, for a while.
    pub(crate) fn claim_notices(
        &self,
        webhook: &str,
        max: u32,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let due = self.due_notices(webhook, max)?;
        let until = self.now().0.saturating_add(CLAIM_US);
        let claim = "INSERT INTO notice (call, webhook, told, tried, attempts, due, why)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, '')
            ON CONFLICT (call, webhook) DO UPDATE SET tried = excluded.tried,
            attempts = excluded.attempts, due = excluded.due";
        for notice in &due {
            let given = values![
                notice.call.as_str(),
                webhook,
                NOTHING,
                notice.entry,
                notice.attempts,
                until
            ];
            self.db.execute(claim, given).map_err(failed())?;
        }
        Ok(Ok(Written::Claimed(due)))
    }

    /// Keeps what came of telling. Of what has changed meanwhile, the new is told next.
    pub(crate) fn set_told(
        &self,
        webhook: &str,
        notice: &Notice,
        told: &Told,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let entry = i64::try_from(notice.entry).unwrap_or(i64::MAX);
        let (told, due, why, attempts) = match told {
            Told::Taken => (entry, 0, "", notice.attempts),
            Told::NotForIt => (entry, 0, "", 0),
            Told::Later { due, why } => (NOTHING, due.0, why.as_str(), notice.attempts),
            Told::GivenUp { why } => (entry, 0, why.as_str(), notice.attempts),
        };
        let update = "UPDATE notice SET told = ?3, due = ?4, why = ?5, attempts = ?6
            WHERE call = ?1 AND webhook = ?2 AND tried = ?7";
        let given = values![notice.call.as_str(), webhook, told, due, why, attempts, notice.entry];
        self.db.execute(update, given).map_err(failed())?;
        self.gauge.news.notify_one();
        Ok(Ok(Written::Nothing))
    }

    fn deliveries(&self, call: &CallId) -> Result<(Option<u64>, Vec<Delivery>), StoreError> {
        let select = "SELECT entry FROM news WHERE call = ?1";
        let entry: Option<u64> =
            self.db.row(select, values![call.as_str()], |row| row.get(0)).map_err(failed())?;
        let select = "SELECT t.webhook, CASE WHEN t.told = n.entry THEN 1 ELSE 0 END, t.attempts,
            t.why FROM notice t JOIN news n ON n.call = t.call
            WHERE t.call = ?1 AND t.attempts > 0 ORDER BY t.webhook";
        let read = |row: &crate::db::Row<'_>| -> Result<Delivery, DbError> {
            let is_over = row.get::<i64>(1)? == 1;
            let (webhook, attempts, why) = (row.get(0)?, row.get(2)?, row.get(3)?);
            Ok(Delivery { webhook, is_over, attempts, why })
        };
        let found = self.db.rows(select, values![call.as_str()], read);
        Ok((entry, found.map_err(failed())?))
    }

    /// Remembers a message, unless one of its id is known.
    pub(crate) fn hear(
        &self,
        webhook: &str,
        id: &str,
        body: &Digest,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let select = "SELECT digest, answer FROM heard WHERE webhook = ?1 AND id = ?2";
        let read = |row: &crate::db::Row<'_>| -> Result<(Vec<u8>, String), DbError> {
            Ok((row.get(0)?, row.get(1)?))
        };
        let known = self.db.row(select, values![webhook, id], read).map_err(failed())?;
        if let Some((digest, answer)) = known {
            let heard = match digest.as_slice() == body.as_bytes().as_slice() {
                true => Heard::Again(Some(answer).filter(|answer| !answer.is_empty())),
                false => Heard::Other,
            };
            return Ok(Ok(Written::Heard(heard)));
        }
        let count = self.db.row("SELECT count(*) FROM heard", &[], |row| row.get::<u32>(0));
        if count.map_err(failed())?.unwrap_or_default() >= HEARD_MAX {
            let max = usize::try_from(HEARD_MAX).unwrap_or(usize::MAX);
            return Ok(Err(Rejected::Failed(StoreError::Overloaded { max })));
        }
        let insert = "INSERT INTO heard (webhook, id, digest, answer, until)
                      VALUES (?1, ?2, ?3, '', ?4)";
        let until = self.now().0.saturating_add(KEPT_US);
        let given = values![webhook, id, body.as_bytes(), until];
        self.db.execute(insert, given).map_err(failed())?;
        Ok(Ok(Written::Heard(Heard::New)))
    }

    pub(crate) fn set_heard(
        &self,
        webhook: &str,
        id: &str,
        answer: &str,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let update = "UPDATE heard SET answer = ?3 WHERE webhook = ?1 AND id = ?2";
        self.db.execute(update, values![webhook, id, answer]).map_err(failed())?;
        Ok(Ok(Written::Nothing))
    }

    /// Forgets what was told of requests that ended a day ago, and messages that old. A transaction
    /// of its own.
    pub(crate) fn forget_news(&mut self, now: Micros) -> Result<(), StoreError> {
        let before = now.0.saturating_sub(KEPT_US);
        let select = "SELECT call FROM news WHERE since <= ?1
            AND state NOT IN ('pending', 'given') ORDER BY since LIMIT ?2";
        let over = self.db.rows(select, values![before, SWEEP_MAX], |row| row.get::<String>(0));
        let over = over.map_err(failed())?;
        let is_heard = self.db.exists("SELECT 1 FROM heard WHERE until <= ?1", values![now.0]);
        if over.is_empty() && !is_heard.map_err(failed())? {
            return Ok(());
        }
        self.begin(&Touched::default())?;
        let forget = |writer: &mut Self| {
            for call in &over {
                for delete in
                    ["DELETE FROM notice WHERE call = ?1", "DELETE FROM news WHERE call = ?1"]
                {
                    writer.db.execute(delete, values![call]).map_err(failed())?;
                }
            }
            let delete = "DELETE FROM heard WHERE until <= ?1";
            writer.db.execute(delete, values![now.0]).map_err(failed())?;
            writer.commit()
        };
        let forgotten = forget(self);
        if forgotten.is_err() {
            self.roll_back();
        }
        forgotten
    }
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing a notice")
}
