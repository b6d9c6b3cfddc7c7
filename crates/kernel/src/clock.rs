//! Where time and identifiers come from. Below the kernel they are facts; a simulation hands in its
//! own.

use futures_util::future::BoxFuture;
use lockgate_types::{CallId, Micros};
use std::sync::Arc;
use std::time::Duration;

/// A source of time and call ids.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Micros + Send + Sync>,
    mint: Arc<dyn Fn(Micros) -> CallId + Send + Sync>,
    wait: Arc<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
}

impl Clock {
    /// The machine's clock and random source.
    pub fn system() -> Self {
        Self::custom(system_now, mint_random)
    }

    /// A clock of somebody else's making.
    pub fn custom(
        now: impl Fn() -> Micros + Send + Sync + 'static,
        mint: impl Fn(Micros) -> CallId + Send + Sync + 'static,
    ) -> Self {
        let wait =
            Arc::new(|pause| -> BoxFuture<'static, ()> { Box::pin(tokio::time::sleep(pause)) });
        Self { now: Arc::new(now), mint: Arc::new(mint), wait }
    }

    /// The same, with waiting of somebody else's making.
    pub fn waiting(
        self,
        wait: impl Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Self {
        Self { wait: Arc::new(wait), ..self }
    }

    /// Lets a moment pass between two attempts.
    pub async fn wait(&self, pause: Duration) {
        (self.wait)(pause).await;
    }

    /// Now.
    pub fn now(&self) -> Micros {
        (self.now)()
    }

    /// A new call id.
    pub fn mint(&self) -> CallId {
        (self.mint)(self.now())
    }
}

/// Microseconds since 1970 by the machine's clock.
pub fn system_now() -> Micros {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    Micros(since.map_or(0, |since| i64::try_from(since.as_micros()).unwrap_or(i64::MAX)))
}

/// 48 bits of milliseconds, 80 random bits: sorted by time, unguessable, unique.
fn mint_random(now: Micros) -> CallId {
    let mut random = [0_u8; 10];
    // A failing random source yields zeros: still unique by time, and ids are not secrets.
    let filled = aws_lc_rs::rand::fill(&mut random);
    let millis = u64::try_from(now.0 / 1000).unwrap_or(0) & 0xffff_ffff_ffff;
    let time = millis.to_be_bytes();
    let mut id = [0_u8; 16];
    let bytes = time.iter().skip(2).chain(&random);
    id.iter_mut().zip(bytes).for_each(|(place, byte)| *place = *byte);
    let mut digits = [0; 32];
    // The buffer has the length of the digits, which are ASCII, so neither can fail.
    let _ = hex::encode_to_slice(id, &mut digits);
    let text = std::str::from_utf8(&digits).unwrap_or_default();
    if filled.is_err() {
        tracing::error!("the random source failed while a call id was minted");
    }
    match CallId::new(text) {
        Ok(id) => id,
        Err(_) => unreachable!("32 hexadecimal digits are a call id"),
    }
}
