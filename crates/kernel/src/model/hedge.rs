//! Two attempts at one request: where an entry is late, the next one is asked as well, and the
//! client gets the first that has an answer.
//!
//! Each is a call of its own, with what it takes of budgets; the second stands beside the first in
//! its trace. Which of the two the client gets is settled once ([`Notes::claim`]): of the other
//! nothing is passed on or performed, and it is given up.

use super::Notes;
use super::attempt::{Attempt, Tried, Turn};
use super::notes::{Lane, Race};
use super::turn::{Seen, is_failure};
use crate::Kernel;
use crate::port::{Answer, ClientPort, Refusal, Reply, ToClient};
use lockgate_core::route::Pick;
use lockgate_types::{CallId, Code, Micros};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Messages of one attempt that wait for whoever passes them on.
const SAID_MAX: usize = 32;

/// What came of one attempt, or of two.
pub(super) struct Hedged {
    pub(super) tried: Result<Tried, Refusal>,
    /// Whether the second entry was asked.
    pub(super) is_used: bool,
}

/// An attempt under way.
struct Runner {
    pick: Pick,
    notes: Arc<Notes>,
    said: mpsc::Receiver<ToClient>,
    task: JoinHandle<Result<Reply, Refusal>>,
    began: Micros,
    number: u8,
}

/// What an attempt does next.
enum Next {
    /// It has begun to answer.
    Says(ToClient),
    /// It is over, and recorded.
    Over(Result<Reply, Refusal>),
}

impl Runner {
    async fn next(&mut self) -> Next {
        match self.said.recv().await {
            Some(message) => Next::Says(message),
            None => Next::Over(self.reply().await),
        }
    }

    async fn reply(&mut self) -> Result<Reply, Refusal> {
        let reply = (&mut self.task).await;
        reply.unwrap_or_else(|_| Err(Refusal::of(Code::InvariantBroken)))
    }

    /// What one of two does next, whether or not there is one.
    async fn next_of(runner: &mut Option<Self>) -> Next {
        match runner {
            Some(runner) => runner.next().await,
            None => std::future::pending().await,
        }
    }
}

impl Kernel {
    pub(super) async fn hedged(
        &self,
        turn: &Arc<Turn>,
        (first, second): (&Pick, &Pick),
        after: Duration,
        client: &ClientPort,
    ) -> Hedged {
        let race = Arc::new(Race::default());
        let id = self.parts.clock.mint();
        let mut one = Some(self.run_in((turn, first), (&race, 1), (Some(&id), None)));
        let (mut two, mut is_used, mut last) = (None, false, None);
        let mut late = std::pin::pin!(self.parts.clock.wait(after));
        loop {
            let (number, next) = tokio::select! {
                biased;
                () = client.closed() => {
                    // Both hear that nobody waits; what they come to is recorded.
                    drop(two.take());
                    let tried = given_up(one.take(), last).await;
                    return Hedged { tried, is_used };
                }
                next = Runner::next_of(&mut one), if one.is_some() => (1, next),
                next = Runner::next_of(&mut two), if two.is_some() => (2, next),
                () = &mut late, if !is_used && one.is_some() => {
                    is_used = true;
                    two = Some(self.run_in((turn, second), (&race, 2), (None, Some(&id))));
                    continue;
                }
            };
            let (this, other) = match number {
                1 => (one.take(), &mut two),
                _ => (two.take(), &mut one),
            };
            let Some(mut this) = this else { continue };
            let reply = match next {
                Next::Says(message) => {
                    self.lose(turn, other.take()).await;
                    self.say_all(&mut this, message, client).await
                }
                Next::Over(reply) => reply,
            };
            let is_answer = self.is_answer(turn, &this, &race, &reply).await;
            if is_answer || other.is_none() {
                self.lose(turn, other.take()).await;
                return Hedged { tried: settled((number, reply), last, is_answer), is_used };
            }
            last = Some((number, reply));
        }
    }

    fn run_in(
        &self,
        (turn, pick): (&Arc<Turn>, &Pick),
        (race, number): (&Arc<Race>, u8),
        (id, beside): (Option<&CallId>, Option<&CallId>),
    ) -> Runner {
        let lane = Lane { race: Arc::clone(race), number };
        let notes = Arc::new(Notes::of_lane(lane));
        let attempt = Attempt {
            pick: pick.clone(),
            notes: Arc::clone(&notes),
            id: id.cloned(),
            beside: beside.cloned(),
        };
        let (port, said) = mpsc::channel(SAID_MAX);
        let (kernel, turn) = (self.clone(), Arc::clone(turn));
        // In a task of its own: who loses is recorded all the same.
        let task = tokio::spawn(async move {
            let attempting = kernel.attempt(&turn, attempt, &port);
            Box::pin(attempting).await
        });
        Runner { pick: pick.clone(), notes, said, task, began: self.parts.clock.now(), number }
    }

    /// Passes on what the winner says, to its end.
    async fn say_all(
        &self,
        runner: &mut Runner,
        first: ToClient,
        client: &ClientPort,
    ) -> Result<Reply, Refusal> {
        let mut next = Some(first);
        while let Some(message) = next {
            // A client that is gone has its call cancelled: the channel closes behind it.
            if client.send(message).await.is_err() {
                runner.said.close();
            }
            next = tokio::select! {
                biased;
                () = client.closed() => {
                    runner.said.close();
                    None
                }
                message = runner.said.recv() => message,
            };
        }
        runner.reply().await
    }

    /// Notes what an attempt was like, and whether it is what the client gets.
    async fn is_answer(
        &self,
        turn: &Turn,
        runner: &Runner,
        race: &Race,
        reply: &Result<Reply, Refusal>,
    ) -> bool {
        let Ok(reply) = reply else { return false };
        if race.is_lost_by(runner.number) {
            return false;
        }
        let took_us = self.parts.clock.now().0.saturating_sub(runner.began.0);
        let seen = Seen { answer: Some(&reply.answer), notes: &runner.notes, took_us };
        self.seen(turn, &runner.pick, seen).await;
        // That a rule forbids the second one says nothing of the first.
        let is_refused = matches!(reply.answer, Answer::Refused(_)) && runner.number == 2;
        runner.notes.has_begun() || !is_failure(&reply.answer) && !is_refused
    }

    /// Gives up an attempt that another was faster than.
    async fn lose(&self, turn: &Turn, runner: Option<Runner>) {
        let Some(runner) = runner else { return };
        let took_us = self.parts.clock.now().0.saturating_sub(runner.began.0);
        let seen = Seen { answer: None, notes: &runner.notes, took_us };
        self.seen(turn, &runner.pick, seen).await;
        // Its client is gone with it, which cancels it.
        drop(runner.said);
    }
}

/// What is answered: the answer, or of two failures the first entry's own.
fn settled(
    (number, reply): (u8, Result<Reply, Refusal>),
    before: Option<(u8, Result<Reply, Refusal>)>,
    is_over: bool,
) -> Result<Tried, Refusal> {
    let reply = match before {
        Some((1, before)) if !is_over && number == 2 => before,
        Some(_) | None => reply,
    };
    reply.map(|reply| Tried { reply, is_over })
}

/// What is answered to nobody.
async fn given_up(
    runner: Option<Runner>,
    last: Option<(u8, Result<Reply, Refusal>)>,
) -> Result<Tried, Refusal> {
    let reply = match runner {
        Some(mut runner) => {
            runner.said.close();
            runner.reply().await
        }
        None => last.map_or_else(|| Err(Refusal::of(Code::CallCancelled)), |(_, reply)| reply),
    };
    reply.map(|reply| Tried { reply, is_over: true })
}
