//! What is cited is as old as it is when it is cited, not as it was when it was found.

use crate::bed::Bed;
use crate::library::{Page, bed, fill, finds, restarts, who};
use lockgate_kernel::Answer;
use lockgate_types::Code;
use lockgate_types::document::Reader;

const TEXT: &str = "When the database is slow, restart it.";
const CLAIM: &str = r#"{"document":"runbooks/db.md","quote":"database is slow, restart"}"#;

fn runbook(hours: i64) -> [Page; 1] {
    [Page("runbooks", "db.md", TEXT, Reader::Group("staff".to_owned()), hours)]
}

fn asked(bed: &Bed) -> usize {
    bed.fake.of("tools/call").len()
}

#[tokio::test]
async fn what_has_become_old_since_it_was_found_tightens_the_call_that_cites_it() {
    for (hours, code) in [
        (2, None),
        (30, Some(Code::ApprovalRequired)),
        (60, Some(Code::ModeForbids)),
        (300, Some(Code::CitedChanged)),
    ] {
        let bed = bed(&runbook(0)).await;
        let alice = who("alice");
        assert_eq!(finds(&bed, &alice, r#"{"query":"database"}"#).await.0, ["runbooks/db.md"]);
        restarts(&bed, &alice, "s1", CLAIM).await.result();
        fill(&bed, &runbook(hours));
        let done = restarts(&bed, &alice, "s1", CLAIM).await;
        let Some(code) = code else {
            done.result();
            continue;
        };
        assert_eq!(done.code(), code, "{hours}");
        assert_eq!(asked(&bed), 1, "{hours}");
        let Answer::Refused(refusal) = &done.reply.answer else { panic!() };
        let is_tightened = code != Code::CitedChanged;
        let is_said = refusal.reason.contains("stale:runbooks/db.md");
        assert_eq!(is_said, is_tightened, "{}", refusal.reason);
        // It is the session that may do less, until a person says otherwise.
        let after = bed.tool_in(&alice, "s1", "save", "{}").await;
        match is_tightened {
            true => assert_eq!(after.code(), code, "{hours}"),
            false => drop(after.result()),
        }
        bed.audit().await;
    }
}
