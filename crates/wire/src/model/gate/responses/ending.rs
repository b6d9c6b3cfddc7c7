//! The last event of a stream of the Responses API, which has the whole answer in it.

use super::super::super::items;
use super::super::super::scan::{Scan, odd};
use super::super::Core;
use super::Responses;
use crate::refusal::Refusal;
use crate::sse::SseEvent;
use lockgate_types::{Json, Object};

impl Responses {
    /// Holds the answer against what went out. Calls that nobody has decided about are proposed,
    /// and the event is looked at again.
    pub(super) fn ending(
        &mut self,
        core: &mut Core,
        scan: &mut dyn Scan,
        event: &SseEvent,
        mut object: Object,
    ) -> Result<(), Box<Refusal>> {
        let Some(Json::Object(response)) = object.get_mut("response") else {
            return Err(odd("the end of a stream has no response"));
        };
        core.usage.read(response.get("usage"));
        core.ending.response(response);
        // Some providers say all of the text once more, beside the items.
        let mut is_masked = response.remove("output_text").is_some();
        let output = response.get_mut("output").and_then(Json::as_array_mut);
        for (index, item) in output.into_iter().flatten().enumerate() {
            let Json::Object(item) = item else { return Err(odd("an item is not an object")) };
            let index = u64::try_from(index).unwrap_or(u64::MAX);
            if !items::is_call(item) {
                is_masked |= self.settle(item, index, scan)?;
                continue;
            }
            let call = items::call_of(item, index);
            match self.outcomes.get(&index).filter(|outcome| outcome.call == call) {
                None => {
                    let key = core.propose(call)?;
                    self.asked.push((index, item.clone(), key));
                }
                Some(outcome) => {
                    if let Some(reason) = &outcome.refused {
                        *item = items::refused(item, reason);
                        is_masked = true;
                    }
                }
            }
        }
        if !self.asked.is_empty() {
            core.again.push(event.clone());
            return Ok(());
        }
        self.write(core, event, object, is_masked);
        core.is_complete = true;
        Ok(())
    }
}
