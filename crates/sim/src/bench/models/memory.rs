//! How much memory the gate holds with very many streams open, and after very many requests.
//!
//! Streams are opened so many a second, as people come, and who is turned away asks again: what is
//! looked at is what open streams hold, and not what becomes of hundreds that ask in one moment.

use super::load::{self, Asking, Gauge};
use super::{CONNECTIONS, Extent, Kind, Way};
use crate::bench::machine::{Held, forget_highest, held};
use crate::bench::run::progress;
use anyhow::Result;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;

/// Streams at once for which memory is looked at.
const STREAMS: usize = 512;
/// How many of them are opened in a second: they last for longer than it takes to open them all.
const STREAMS_PER_SECOND: f64 = 128.0;
/// How often memory is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What it holds before, with all streams open, after them, and after each round of a soak.
pub(super) fn memory(runtime: &Runtime, way: &Way, extent: &Extent) -> Result<Value> {
    let before = held(way.pid)?;
    forget_highest(way.pid)?;
    let slow = Asking::new(way.target, &way.token, &Kind::SlowStream.body());
    let gauge = Arc::<Gauge>::default();
    let ramp = load::ramp(&slow, STREAMS, STREAMS_PER_SECOND, Arc::clone(&gauge));
    let (again, at_most) = runtime.block_on(async {
        let mut ramp = std::pin::pin!(ramp);
        let mut at_most: Option<(usize, Held)> = None;
        loop {
            let looked = tokio::time::timeout(LOOK_EVERY, ramp.as_mut()).await;
            if let Ok(again) = looked {
                return anyhow::Ok((again?, at_most));
            }
            let now = (gauge.open(), held(way.pid)?);
            let is_more = |most: (usize, Held)| (now.0, now.1.mib) > (most.0, most.1.mib);
            if at_most.is_none_or(is_more) {
                at_most = Some(now);
            }
        }
    })?;
    let (open, at_streams) = at_most.unwrap_or((0, before));
    let after = held(way.pid)?;
    progress(&format!(
        "{:.0} MiB, {:.0} with {open} streams open ({again} asked again), {:.0} after them",
        before.mib, at_streams.mib, after.mib
    ));
    let soaked = soak(runtime, way, extent)?;
    Ok(json!({
        "before_mib": before.mib, "most_before_mib": before.most_mib,
        "streams": open, "streams_asked_again": again,
        "at_streams_mib": at_streams.mib, "at_streams_anonymous_mib": at_streams.anonymous_mib,
        "after_streams_mib": after.mib,
        "most_at_streams_mib": after.most_mib, "most_mib": held(way.pid)?.most_mib,
        "soaked": soaked,
    }))
}

/// So many requests of all kinds, in turn.
fn soak(runtime: &Runtime, way: &Way, extent: &Extent) -> Result<Vec<Value>> {
    let kinds = [Kind::Small, Kind::Stream, Kind::Large];
    let kinds = kinds.map(|kind| Asking::new(way.target, &way.token, &kind.body()));
    let (mut soaked, mut asked) = (Vec::new(), 0);
    while asked < extent.soak {
        for asking in &kinds {
            let run = load::closed(asking, CONNECTIONS, extent.seconds, Duration::ZERO);
            asked += runtime.block_on(run)?.unrefused()?.count() * 12 / 10;
        }
        let now = held(way.pid)?;
        progress(&format!(
            "{asked} requests: {:.0} MiB, {:.0} of them anonymous",
            now.mib, now.anonymous_mib
        ));
        soaked.push(json!({
            "requests": asked, "mib": now.mib, "anonymous_mib": now.anonymous_mib,
        }));
    }
    Ok(soaked)
}
