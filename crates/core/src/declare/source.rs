//! `sources/<name>.toml`: a registered source of documents, as read.

use super::credential::Secret;
use super::flow::ConfidentialityWord;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `sources/<name>.toml`: where documents come from, who answers for them, and who may see them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// What it is, for people.
    pub description: Option<String>,
    /// Who answers for it: a person or team. Owner of its documents where the source itself names
    /// none.
    pub owner: String,
    /// The tenant whose source it is. Unset: the gate's.
    pub tenant: Option<String>,
    /// What its documents may be used for, in the words of its contract.
    pub terms: Option<String>,
    /// The licence of its documents.
    pub licence: Option<String>,
    /// How confidential its documents are at least. Detectors and people can only raise it.
    pub classification: ConfidentialityWord,
    /// How its documents come to be. Unset: collected, anybody may have written them.
    #[serde(default)]
    pub curation: CurationWord,
    /// What kind of text its documents are: `runbook`, `template`, `ticket`.
    #[serde(default = "default_kind")]
    pub kind: String,
    /// Other kinds, by path: the first pattern that matches counts.
    #[serde(default)]
    pub kinds: Vec<KindByPath>,
    /// The tasks that it may be used for. Unset: any, and none.
    pub tasks: Option<Vec<String>>,
    /// Seconds between two runs of its connector. Unset: it is run by hand.
    #[schemars(range(min = 1, max = 31622400))]
    pub refresh_s: Option<u32>,
    /// Days for which snapshots are kept that serve no more.
    #[serde(default = "default_retention_days")]
    #[schemars(range(min = 1, max = 3660))]
    pub retention_days: u32,
    /// Documents that a group has at least of which a count tells how many there are. Unset: 5.
    #[schemars(range(min = 1, max = 10000))]
    pub group_min: Option<u32>,
    /// Who has agreed that it is used.
    pub signed_off_by: Option<String>,
    /// Where its documents are: one way.
    pub connector: Connector,
    /// To whom its documents are shown, and from whom they are kept.
    #[serde(default)]
    pub permissions: Permissions,
    /// Fields of rows and of structured documents, by name: what of them differs.
    #[serde(default)]
    pub fields: BTreeMap<String, Field>,
    /// What a run has to be like for its snapshot to serve.
    #[serde(default)]
    pub quality: Quality,
    /// How old its documents may be.
    pub freshness: Option<Freshness>,
}

/// How documents come to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CurationWord {
    /// A person writes them, in a source that its owner answers for.
    Curated,
    /// Anybody may: mail, tickets, pages from outside.
    #[default]
    Collected,
    /// A model or a program does.
    Generated,
}

/// A kind of text, by path.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KindByPath {
    /// A pattern: `*` for anything within a segment, `**` for any segments.
    pub path: String,
    /// What kind of text lies there.
    pub kind: String,
}

/// Where documents are: one of these.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Connector {
    /// A directory of this machine. Relative paths begin at the bundle's directory, here and in
    /// `git` and `query`.
    pub directory: Option<DirectoryConnector>,
    /// A Git repository that is checked out on this machine.
    pub git: Option<GitConnector>,
    /// Pages.
    pub http: Option<HttpConnector>,
    /// An S3-compatible bucket.
    pub s3: Option<S3Connector>,
    /// The rows of a query.
    pub query: Option<QueryConnector>,
    /// The resources of an upstream.
    pub mcp: Option<McpConnector>,
    /// Nothing is read: a retriever of others finds its documents where they are.
    pub retriever: Option<RetrieverConnector>,
}

/// Documents that a retriever of others finds.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RetrieverConnector {
    /// The operation that finds them, with `documents`: `vectors/search`.
    pub operation: String,
}

/// A directory.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConnector {
    /// Its path. Links that lead out of it are not followed.
    pub path: String,
    /// Patterns of the files that are read. Empty: every one whose format is known.
    #[serde(default)]
    pub include: Vec<String>,
    /// Patterns of files that are not.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// A Git checkout.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitConnector {
    /// The path of the checkout.
    pub path: String,
    /// What of it is read: a branch, a tag, a commit. Unset: what is checked out.
    pub reference: Option<String>,
    /// Patterns of the files that are read. Empty: every one whose format is known.
    #[serde(default)]
    pub include: Vec<String>,
    /// Patterns of files that are not.
    #[serde(default)]
    pub exclude: Vec<String>,
}

/// Pages.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpConnector {
    /// The pages: `https` addresses, or `http` ones on loopback, all of one server.
    pub urls: Vec<String>,
    /// The address of a list of more: in plain text, one address of the same server a line.
    pub site_map: Option<String>,
    /// What the addresses begin with to which links are followed: of the same server, and ending
    /// with `/`. Empty: to none. `robots.txt` is obeyed then, also for pages that are named.
    #[serde(default)]
    pub follow: Vec<String>,
    /// How many links in a row. Unset: 8, where links are followed.
    #[schemars(range(min = 1, max = 16))]
    pub depth_max: Option<u32>,
    /// How many pages, where links are followed: beyond, it is not followed further. Unset: 1000.
    #[schemars(range(min = 1, max = 20000))]
    pub pages_max: Option<u32>,
    /// Headers: texts, or where a secret is.
    #[serde(default)]
    pub headers: BTreeMap<String, Secret>,
    /// Networks it may be in although they are not public, such as `10.0.0.0/8`.
    #[serde(default)]
    pub allow_networks: Vec<String>,
}

/// A bucket.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Connector {
    /// The address of the service.
    pub endpoint: String,
    /// The bucket.
    pub bucket: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// What begins the keys that are read.
    #[serde(default)]
    pub prefix: String,
    /// The id of the access key. Unset: nothing is signed.
    pub access_key_id: Option<Secret>,
    /// The access key.
    pub secret_access_key: Option<Secret>,
    /// Networks it may be in although they are not public.
    #[serde(default)]
    pub allow_networks: Vec<String>,
}

/// The rows of a query.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QueryConnector {
    /// Where the database is: `postgres://role@host/database`, `sqlite:PATH`, or where that stands:
    /// `env:NAME`, `file:PATH`, a command. In PostgreSQL the role may read and nothing more.
    pub address: Secret,
    /// The query: one row is one document. In PostgreSQL it is held to what statements of tools are
    /// held to.
    pub statement: String,
    /// Functions that it may call besides the usual ones; `schema.name` for the operator's own. Of
    /// PostgreSQL.
    #[serde(default)]
    pub functions: Vec<String>,
    /// The column that identifies a row.
    pub id: String,
    /// The column with its title.
    pub title: Option<String>,
    /// The columns with its text, in order. Empty: every one that has no other meaning.
    #[serde(default)]
    pub text: Vec<String>,
    /// The column that says when it was changed.
    pub changed: Option<String>,
    /// The column that says who wrote it.
    pub author: Option<String>,
    /// The column with readers, where `permissions.synced` is set: `group:hr`, `user:ann`,
    /// `everyone`, with commas between.
    pub readers: Option<String>,
    /// Networks it may be in although they are not public.
    #[serde(default)]
    pub allow_networks: Vec<String>,
}

/// The resources of an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct McpConnector {
    /// The upstream, a tool server of `lockgate.toml`.
    pub upstream: String,
    /// Patterns of the addresses that are read, such as `file:///docs/**`. Empty: every resource it
    /// lists.
    #[serde(default)]
    pub include: Vec<String>,
}

/// To whom documents are shown, and from whom they are kept. Readers are `everyone`, which is
/// everybody in the source's tenant, `user:<subject>` and `group:<group>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Permissions {
    /// Whether the source itself says who may see what. A document of which it does not say so is
    /// shown to nobody.
    pub synced: bool,
    /// To whom all of it is shown.
    pub readers: Vec<String>,
    /// From whom all of it is kept, whatever is shared.
    pub denied: Vec<String>,
    /// Folders that are shared or kept beyond that.
    pub folder: Vec<FolderPermissions>,
}

/// To whom a folder is shown, and from whom it is kept, with all that lies in it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FolderPermissions {
    /// A pattern of folders.
    pub path: String,
    /// To whom they are shown.
    #[serde(default)]
    pub readers: Vec<String>,
    /// From whom they are kept.
    #[serde(default)]
    pub denied: Vec<String>,
}

/// What of a field differs from the document that it is of. Such a field is a document of its own,
/// beneath that one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Field {
    /// To whom it is shown. Unset: to whoever is shown the document.
    pub readers: Option<Vec<String>>,
    /// From whom it is kept.
    pub denied: Vec<String>,
    /// How confidential it is at least.
    pub classification: Option<ConfidentialityWord>,
    /// What it is tagged with.
    pub tags: Vec<String>,
}

/// What a run has to be like. What is not, quarantines its snapshot: the last good one goes on
/// serving.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Quality {
    /// Documents at least. Unset: 1.
    pub documents_min: Option<u32>,
    /// Documents at most.
    pub documents_max: Option<u32>,
    /// By how much of a hundred the number of documents may change from one run to the next. Half
    /// of them may be gone, or more if this says so.
    #[schemars(range(max = 10000))]
    pub volume_change_percent_max: Option<u32>,
    /// Fields that every row or structured document has.
    pub required_fields: Vec<String>,
    /// What becomes of fields that the run before did not have.
    pub new_fields: QualityWord,
    /// Exact and near duplicates, of a hundred documents.
    #[schemars(range(max = 100))]
    pub duplicates_percent_max: Option<u32>,
    /// Documents with broken text, of a hundred. Unset: 20.
    #[schemars(range(max = 100))]
    pub broken_percent_max: Option<u32>,
    /// Documents that could not be read, of a hundred. Unset: 20.
    #[schemars(range(max = 100))]
    pub unreadable_percent_max: Option<u32>,
    /// Documents with hidden text, or left out since they give orders, at most. Unset: it is not
    /// asked for.
    pub injected_max: Option<u32>,
    /// Documents that are left out since they give orders, of a hundred. Unset: 10, of at least
    /// three; where `injected_max` is set, it is not asked for.
    #[schemars(range(max = 100))]
    pub injected_percent_max: Option<u32>,
    /// Documents that serve although they may give orders, of a hundred. Unset: it is not asked
    /// for.
    #[schemars(range(max = 100))]
    pub suspected_percent_max: Option<u32>,
    /// How far the share of documents with a tag or a classification may move from one run to the
    /// next, of a hundred.
    #[schemars(range(max = 100))]
    pub labels_changed_percent_max: Option<u32>,
}

/// What becomes of something that is noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum QualityWord {
    /// It stands in the report.
    #[default]
    Report,
    /// The snapshot is quarantined.
    Quarantine,
}

/// How old documents may be, in seconds, and what happens beyond each bound. The last one that is
/// passed counts; of a source's and a task's, the one with more restraint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Freshness {
    /// Since when a document is that old.
    pub since: SinceWord,
    /// Beyond it, answers say that it is old.
    pub say_after_s: Option<u64>,
    /// Beyond it, a person has to confirm first.
    pub confirm_after_s: Option<u64>,
    /// Beyond it, the session may only read from then on.
    pub read_only_after_s: Option<u64>,
    /// Beyond it, the document is not used.
    pub refuse_after_s: Option<u64>,
}

/// Since when a document is that old.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SinceWord {
    /// Since the gate has last seen that it is still so.
    #[default]
    Confirmed,
    /// Since it was changed at its source.
    Changed,
}

/// `[retrieval]`: how what registered sources have is made comparable. What is said here counts
/// from the next start of the gate on.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Retrieval {
    /// What makes vectors of texts.
    pub vectors: VectorsWord,
    /// With `vectors = "table"`: a file of words and their numbers, a word on each line, as GloVe
    /// and fastText are given away. Relative to the bundle.
    pub table: Option<String>,
    /// With `vectors = "endpoint"`: who makes them.
    pub endpoint: Option<Embeddings>,
    /// The language whose endings are taken off words.
    pub endings: EndingsWord,
}

/// What makes vectors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum VectorsWord {
    /// Pieces of words, hashed: finds spellings and endings, and needs nothing.
    #[default]
    Hashed,
    /// A table of words that the operator gives: finds what words mean, without their order.
    Table,
    /// An endpoint that speaks as OpenAI's `embeddings` does.
    Endpoint,
    /// Nothing does: search is by words alone.
    None,
}

/// An endpoint that makes vectors. Texts are sent there: those of documents, and what is asked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Embeddings {
    /// Its address, without `/embeddings`: `https`, or `http` on loopback.
    pub base_url: String,
    /// The model it is asked for.
    pub model: String,
    /// How many numbers a vector has.
    #[schemars(range(min = 1, max = 4096))]
    pub dimensions: u32,
    /// The highest classification whose texts are sent there. What is above is found by its words
    /// alone.
    pub ceiling: ConfidentialityWord,
    /// What is shown to it, as a bearer token: where that is.
    pub credential: Option<Secret>,
    /// Networks it may be in although they are not public, such as `10.0.0.0/8`.
    #[serde(default)]
    pub allow_networks: Vec<String>,
}

/// Whose endings are taken off words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EndingsWord {
    /// English ones.
    #[default]
    English,
    /// German ones.
    German,
    /// None are.
    None,
}

/// Whether an address is that of a PostgreSQL database.
pub fn is_postgres(address: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| address.starts_with(scheme))
}

fn default_kind() -> String {
    "document".to_owned()
}
fn default_retention_days() -> u32 {
    30
}
fn default_region() -> String {
    "us-east-1".to_owned()
}
