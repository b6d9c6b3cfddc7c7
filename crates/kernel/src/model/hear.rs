//! Hearing a model out: what it says is looked at before it is passed on.

use super::{Noticed, Passing};
use crate::Kernel;
use crate::life::CLIENT_TAKES_MAX;
use crate::port::{ClientPort, ToClient};
use crate::reverse::Origin;
use lockgate_effects::{End, Event, Exchange, Finished};
use lockgate_types::Code;
use lockgate_types::label::Label;

impl Kernel {
    /// The same of a model: what it says is looked at before it is passed on, and what it proposes
    /// decided. Nothing of it is passed on that cannot be looked at: without a `passing` it is
    /// given up.
    pub(crate) async fn hear_model(
        &self,
        mut exchange: Exchange,
        origin: &Origin,
        passing: Option<Box<Passing>>,
        client: ClientPort,
    ) -> (Finished, Aside) {
        let Some(mut passing) = passing else { return unheard(exchange).await };
        let mut ear = Ear::of(client);
        let mut is_given_up = false;
        loop {
            let event = tokio::select! {
                biased;
                () = ear.client.closed(), if !is_given_up => {
                    is_given_up = true;
                    exchange.cancel(Some("the client is gone"));
                    continue;
                }
                event = exchange.next() => event,
            };
            match event {
                Event::Begins(head) => {
                    if let Some(begins) = passing.begin(head) {
                        ear.say(begins).await;
                    }
                }
                Event::Events(events) => {
                    let events = passing.events(self, origin, events).await;
                    if !events.is_empty() {
                        ear.say(ToClient::Events(events)).await;
                    }
                    if passing.is_stopped() && !is_given_up {
                        is_given_up = true;
                        exchange.cancel(Some("nothing more of it will be passed on"));
                    }
                }
                Event::Finished(Finished { spent, end }) => {
                    let (events, end) = passing.end(self, origin, end).await;
                    if !events.is_empty() {
                        ear.say(ToClient::Events(events)).await;
                    }
                    let (redactions, noticed) = (passing.redactions(), passing.noticed());
                    let aside = Aside { redactions, noticed, ..Aside::default() };
                    return (Finished { spent, end }, aside);
                }
                Event::Notification { .. }
                | Event::Request { .. }
                | Event::StreamClosed { .. }
                | Event::Met(_) => {}
            }
        }
    }
}

/// Ends a call of a model whose answer nobody could look at.
async fn unheard(mut exchange: Exchange) -> (Finished, Aside) {
    let detail = "nothing could look at the answer of a model";
    exchange.cancel(Some(detail));
    loop {
        if let Event::Finished(Finished { spent, .. }) = exchange.next().await {
            let (code, detail) = (Code::InvariantBroken, detail.to_owned());
            let end = End::Failed { code, detail, dispatched: true };
            return (Finished { spent, end }, Aside::default());
        }
    }
}

/// The way to a client that may be slow. One that does not read misses what is said, and holds up
/// no record.
pub(crate) struct Ear {
    pub(crate) client: ClientPort,
    is_deaf: bool,
}

impl Ear {
    pub(crate) const fn of(client: ClientPort) -> Self {
        Self { client, is_deaf: false }
    }

    pub(crate) async fn say(&mut self, message: ToClient) {
        if self.is_deaf {
            self.is_deaf = self.client.try_send(message).is_err();
            return;
        }
        let said = tokio::time::timeout(CLIENT_TAKES_MAX, self.client.send(message)).await;
        self.is_deaf = said.is_err();
    }
}

/// What happened while a call ran.
#[derive(Default)]
pub(crate) struct Aside {
    pub(crate) redactions: u32,
    /// Of what was said.
    pub(crate) label: Label,
    /// Whether the upstream asked the client something.
    pub(crate) has_asked: bool,
    /// What was noticed of a model's answer.
    pub(crate) noticed: Noticed,
}
