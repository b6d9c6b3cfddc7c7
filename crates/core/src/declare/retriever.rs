//! `[tool.<name>.documents]` of `operations/*.toml`: an operation that finds documents in an index
//! of somebody else's, as read.

use schemars::JsonSchema;
use serde::Deserialize;

/// Where the documents are in what an operation finds. Each is decided by itself, by what is said
/// here, by what its source declares, and by what it says of itself; what may not be shown is taken
/// out. Members are named with `.` between them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Documents {
    /// Where the hits are in its structured result: an array. Of an answer that is an array itself:
    /// `value`.
    pub hits: String,
    /// The member of a hit that names its document: a text or an integer.
    pub id: String,
    /// The member with its text.
    pub text: String,
    /// The member with what people call it.
    pub title: Option<String>,
    /// The registered source that everything it finds is of. This, or `source_member`.
    pub source: Option<String>,
    /// The member that names the registered source.
    pub source_member: Option<String>,
    /// The member with the path of the document, by which folders have permissions and kinds.
    /// Unset: its id.
    pub path: Option<String>,
    /// The member with what kind of text it is. Unset, or not there: as its source declares.
    pub kind: Option<String>,
    /// The member with who answers for it. Unset, or not there: as its source declares.
    pub owner: Option<String>,
    /// The member with its classification, which counts where it is higher than the source's. A
    /// word that is none is the highest.
    pub classification: Option<String>,
    /// The member with its tags: texts.
    pub tags: Option<String>,
    /// The member with those to whom it is shown: `everyone`, `user:<subject>`, `group:<group>`.
    /// Where it is not there or cannot be read, the document is shown to nobody by it.
    pub readers: Option<String>,
    /// The member with those from whom it is kept. Where it cannot be read, the document is not
    /// shown.
    pub denied: Option<String>,
    /// The member with when it was changed: a time (RFC 3339), or seconds since 1970.
    pub changed: Option<String>,
    /// The member with when it was last seen to be so, such as when it was indexed.
    pub confirmed: Option<String>,
    /// Whether the retriever itself finds only what the person may see who the call is for: then
    /// that person is who it is shown to.
    #[serde(default)]
    pub filters_by_subject: bool,
    /// The argument with what is looked for, by which questions are watched.
    pub query: Option<String>,
}
