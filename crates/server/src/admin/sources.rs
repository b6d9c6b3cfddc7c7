//! Sources of documents: how they stand, run, kept, gone back to, shared by people.
//!
//! Every operation is decided with the tenant whose source it is, where the bundle registers it.

mod shape;
pub(super) mod uses;

pub(crate) use shape::{All, Begun, Compared, Done, RolledBack, Said, Shown, Snapshots};
pub(crate) use uses::Uses;

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use axum::body::Body;
use bytes::Bytes;
use lockgate_kernel::{Difference, FollowedSource, Kernel, Refusal, Sharing, SourceStanding};
use lockgate_types::document::Reader;
use lockgate_types::{CallId, Code, GroupName, Micros, SubjectId};
use lockgate_wire::sse::{SseEvent, write_event};
use shape::{One, OneSnapshot, Standing};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// What a run may be asked to do.
pub(super) const PARTS: [&str; 2] = ["all", "permissions"];
/// What may be said of a place.
pub(super) const HOW: [&str; 3] = ["share", "withhold", "unshare"];
/// Readers that are named at once.
const READERS_MAX: usize = 64;
/// Between two events of one run.
const EVENTS_EVERY: Duration = Duration::from_millis(100);
/// Silence after which a comment keeps the connection alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Microseconds for which one run is followed in one request.
const STREAM_US: i64 = 600_000_000;

impl Parts {
    /// The arguments with whose source it is, for policies. Of one that is not there they know
    /// nothing.
    fn about_source(&self, asked: Asked) -> Asked {
        let Some(tenant) = self.kernel.tenant_of_source(asked.text("source")) else {
            return asked;
        };
        let mut arguments = asked.arguments.clone();
        arguments.set("tenant", tenant.as_str());
        asked.with(arguments)
    }
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let tenant = Some(asked.text("tenant")).filter(|tenant| !tenant.is_empty());
        let sources = parts.kernel.sources(tenant).await?;
        Reading::typed(&All { sources: sources.into_iter().map(One::of).collect() })
    };
    parts.govern(&asked, "sources_read", perform).await
}

pub(super) async fn show(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let mut view = parts.kernel.source(asked.text("source")).await?;
        let people = std::mem::take(&mut view.people).into_iter().map(Said::of).collect();
        let report = view.newest.as_ref().map(|newest| newest.report.as_str());
        let report = report.and_then(|report| serde_json::from_str(report).ok());
        Reading::typed(&Shown { one: One::of(view), people, report })
    };
    parts.govern(&asked, "sources_read", perform).await
}

pub(super) async fn snapshots(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let all = parts.kernel.source_snapshots(asked.text("source")).await?;
        Reading::typed(&Snapshots { snapshots: all.into_iter().map(OneSnapshot::of).collect() })
    };
    parts.govern(&asked, "sources_read", perform).await
}

pub(super) async fn compare(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let number = |name: &str| asked.number(name).unwrap_or_default();
        let both = (number("from"), number("to"));
        let difference = parts.kernel.compare_source(asked.text("source"), both).await?;
        let Difference { added, changed, removed, is_whole } = difference;
        Reading::typed(&Compared { added, changed, removed, whole: is_whole })
    };
    parts.govern(&asked, "sources_read", perform).await
}

pub(super) async fn run(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async |by: CallId| {
        let source = asked.text("source").to_owned();
        let run = match asked.text("part") {
            "permissions" => {
                parts.kernel.tell_source(&source).await?;
                None
            }
            _ => Some(parts.kernel.ask_source(&source, &by).await?),
        };
        Reading::typed(&Begun { source, run })
    };
    parts.govern_call(&asked, "source_run", None, perform).await
}

pub(super) async fn pin(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let (source, snapshot) = (asked.text("source"), asked.number("snapshot"));
        let called = Some(asked.text("name").to_owned()).filter(|name| !name.is_empty());
        parts.kernel.pin_source(source, snapshot.unwrap_or_default(), called).await?;
        Reading::typed(&Done { source: source.to_owned(), snapshot })
    };
    parts.govern(&asked, "source_pin", perform).await
}

pub(super) async fn unpin(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let (source, snapshot) = (asked.text("source"), asked.number("snapshot"));
        parts.kernel.unpin_source(source, snapshot.unwrap_or_default()).await?;
        Reading::typed(&Done { source: source.to_owned(), snapshot })
    };
    parts.govern(&asked, "source_pin", perform).await
}

pub(super) async fn roll_back(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async |by: CallId| {
        let source = asked.text("source");
        let to = asked.number("snapshot").unwrap_or_default();
        let made = parts.kernel.roll_back_source(source, to, &by).await?;
        let due = parts.kernel.source(source).await?.standing.due.map(|due| due.0);
        Reading::typed(&RolledBack { source: source.to_owned(), snapshot: made.number, due })
    };
    parts.govern_call(&asked, "source_roll_back", None, perform).await
}

pub(super) async fn share(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let readers = readers(asked.text("readers"))?;
        let sharing = match asked.text("how") {
            "withhold" => Sharing::Withhold,
            "unshare" => Sharing::Unshare,
            _ => Sharing::Share,
        };
        let (source, place) = (asked.text("source"), asked.text("place"));
        let said = parts.kernel.share_source(source, place, (sharing, readers)).await?;
        Reading::typed(&Said::of(said))
    };
    parts.govern(&asked, "source_share", perform).await
}

pub(super) async fn forget(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let source = asked.text("source");
        parts.kernel.forget_source(source).await?;
        Reading::typed(&Done { source: source.to_owned(), snapshot: None })
    };
    parts.govern(&asked, "source_forget", perform).await
}

/// Readers with commas between.
fn readers(text: &str) -> Result<BTreeSet<Reader>, Problem> {
    let mut all = BTreeSet::new();
    for text in text.split(',').map(str::trim) {
        let is_well = |reader: &Reader| match reader {
            Reader::Everyone => true,
            Reader::User(name) => SubjectId::new(name).is_ok(),
            Reader::Group(name) => GroupName::new(name).is_ok(),
        };
        let reader = Reader::from_text(text).filter(is_well);
        all.insert(reader.ok_or_else(|| {
            Problem::request("`readers` are `everyone`, `user:<subject>` or `group:<group>`")
        })?);
    }
    if all.len() > READERS_MAX {
        return Err(Problem::request(format!("there are more than {READERS_MAX} readers")));
    }
    Ok(all)
}

pub(super) async fn events(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let place = Arc::clone(&parts.streams).try_acquire_owned();
        let place = place.map_err(|_| Refusal::of(Code::Overloaded))?;
        let source = parts.kernel.follow_source(asked.text("source"))?;
        let until = Micros(parts.kernel.clock().now().0.saturating_add(STREAM_US));
        let (kernel, run) = (parts.kernel.clone(), asked.number("run"));
        let following = Following { kernel, source, run, until, _place: place };
        let stream = futures_util::stream::unfold(Some(following), Following::next);
        Ok(Reading::events(Body::from_stream(stream)))
    };
    parts.govern(&asked, "sources_read", perform).await
}

/// Runs of a source that somebody follows.
struct Following {
    kernel: Kernel,
    source: FollowedSource,
    /// Until this one is over. `None`: until whichever is under way is.
    run: Option<u64>,
    until: Micros,
    _place: OwnedSemaphorePermit,
}

impl Following {
    async fn next(following: Option<Self>) -> Option<(Result<Bytes, Infallible>, Option<Self>)> {
        let mut following = following?;
        let standing = tokio::select! {
            standing = following.source.next() => Some(standing?),
            () = following.kernel.clock().wait(KEEP_ALIVE) => None,
        };
        let Some(standing) = standing else {
            let is_over = following.kernel.clock().now() >= following.until;
            let still = Bytes::from_static(b": still there\n\n");
            return Some((Ok(still), (!is_over).then_some(following)));
        };
        let is_over = following.is_over(&standing);
        let data = serde_json::to_string(&Standing::of(&standing)).ok()?;
        let kind = if is_over { "ended" } else { "progress" };
        let event =
            SseEvent { event: Some(kind.to_owned()), data: Some(data), ..SseEvent::default() };
        let mut out = Vec::new();
        write_event(&event, &mut out);
        if !is_over {
            // What changes meanwhile is said together.
            following.kernel.clock().wait(EVENTS_EVERY).await;
        }
        let is_over = is_over || following.kernel.clock().now() >= following.until;
        Some((Ok(Bytes::from(out)), (!is_over).then_some(following)))
    }

    fn is_over(&self, standing: &SourceStanding) -> bool {
        let run = self.run.unwrap_or(standing.run);
        run == 0 || standing.last.as_ref().is_some_and(|last| last.number >= run)
    }
}
