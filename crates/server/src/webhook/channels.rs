//! The channels of a gate: each made once for as long as it is declared so, since secrets that
//! programs print are kept with it, and its connections.

use super::sign::{Keys, SecretError};
use lockgate_core::declare::{Gate, Webhook};
use lockgate_effects::webhook::Channel;
use std::sync::{Arc, Mutex, PoisonError};

/// The channels of one gate.
#[derive(Default)]
pub struct Channels {
    known: Mutex<Vec<Arc<Channel>>>,
}

impl Channels {
    /// Whether every webhook of a bundle has its secrets. From here on those of other bundles are
    /// forgotten.
    pub async fn check(&self, gate: &Gate) -> Result<(), SecretError> {
        let is_named = |channel: &Arc<Channel>| gate.webhook(&channel.declared().name).is_some();
        self.known.lock().unwrap_or_else(PoisonError::into_inner).retain(is_named);
        for webhook in &gate.webhook {
            Keys::of(&self.of(webhook)).await?;
        }
        Ok(())
    }

    /// The channel of a webhook as it is declared now.
    pub(super) fn of(&self, webhook: &Webhook) -> Arc<Channel> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(channel) = known.iter().find(|channel| channel.declared() == webhook) {
            return Arc::clone(channel);
        }
        let channel = Arc::new(Channel::new(webhook));
        known.retain(|other| other.declared().name != webhook.name);
        known.push(Arc::clone(&channel));
        channel
    }
}
