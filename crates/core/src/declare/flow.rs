//! `operations/*.toml`: what arguments are for, and whose words results hold, as read.

use schemars::JsonSchema;
use serde::Deserialize;

/// What an argument is for: what somebody could do with it who chose its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RoleWord {
    /// Receives data or rights: an address, an account, a user.
    Principal,
    /// Receives money.
    Payee,
    /// Names the object that is acted on.
    Resource,
    /// A group inside the tenant that gets to see something.
    Audience,
    /// A secret that opens something.
    Credential,
    /// The caller's own master data.
    Profile,
    /// An address that data are sent to.
    EgressUrl,
    /// An address that is fetched.
    NavUrl,
    /// How much.
    Amount,
    /// A short title by which people find something.
    Label,
    /// Text that people or systems will read.
    Content,
    /// When.
    Time,
    /// Of no importance by itself.
    Low,
}

/// What an operation returns: whose words, and which fields can be relied upon.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Returns {
    /// Whose words the result holds. Unset: anybody's; of what a model answers, its own and those
    /// that it was made of.
    pub origin: Option<OriginWord>,
    /// Who may see it.
    #[serde(default)]
    pub confidentiality: ConfidentialityWord,
    /// Who may read it: names that policies know, of groups or people. Empty: whoever may see what
    /// is of its confidentiality.
    #[serde(default)]
    pub readers: Vec<String>,
    /// Names of fields, at any depth, whose values the backing system guarantees although the rest
    /// is free text: ids, senders, owners, verified counterparties.
    #[serde(default)]
    pub guaranteed: Vec<String>,
    /// The objects that the result is a list of, or is.
    pub object: Option<ObjectShape>,
    /// Whether what comes back was made by this call, and so is the caller's own.
    #[serde(default)]
    pub owned: bool,
}

/// How objects in a result are told apart.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ObjectShape {
    /// The field that identifies one to its system.
    pub id: String,
    /// The fields by which a person names one.
    pub named_by: Vec<String>,
}

/// Whose words a result holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OriginWord {
    /// The backing system's alone.
    System,
    /// The tenant's own list of members.
    Directory,
    /// Those of people of the tenant.
    Tenant,
    /// Anybody's.
    #[default]
    Anyone,
}

/// Who may see a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ConfidentialityWord {
    /// Everybody.
    #[default]
    Public,
    /// The organisation.
    Internal,
    /// Those who need it.
    Confidential,
    /// Those who are named.
    Restricted,
}
