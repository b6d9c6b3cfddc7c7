//! Secrets, and what the gate shows to an upstream, as read.

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::Deserialize;
use serde_json::{Value, json};
use std::borrow::Cow;

/// Where a secret is. The bundle is recorded and copied around, so it names secrets and holds none.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Secret {
    /// `env:NAME`, `file:PATH`, or a text as it is.
    Text(String),
    /// What a program prints.
    Command(SecretCommand),
}

/// A program that prints a secret.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretCommand {
    /// The path of the program, and its arguments. No shell; `PATH` and `HOME` are all it gets of
    /// the gate's environment.
    pub command: Vec<String>,
    /// Seconds for which what it printed is used.
    #[serde(default = "default_lifetime_s")]
    #[schemars(range(min = 1, max = 86400))]
    pub lifetime_s: u32,
}

/// Where a secret is, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPlace<'a> {
    /// In the bundle itself.
    Here(&'a str),
    /// In a variable of the gate's environment.
    Environment(&'a str),
    /// In a file.
    File(&'a str),
    /// In what a program prints.
    Command(&'a SecretCommand),
}

impl Secret {
    /// Where it is.
    pub fn place(&self) -> SecretPlace<'_> {
        match self {
            Self::Command(command) => SecretPlace::Command(command),
            Self::Text(text) => match (text.strip_prefix("env:"), text.strip_prefix("file:")) {
                (Some(name), _) => SecretPlace::Environment(name),
                (None, Some(path)) => SecretPlace::File(path),
                (None, None) => SecretPlace::Here(text),
            },
        }
    }
}

/// One schema for both forms, so that a mistake is named where it is.
impl JsonSchema for Secret {
    fn schema_name() -> Cow<'static, str> {
        "Secret".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = SecretCommand::json_schema(generator);
        schema.insert("type".to_owned(), json!(["string", "object"]));
        let about = "Where a secret is: `env:NAME`, `file:PATH`, or `{ command = [\"/path\", …] }` \
                     for what a program prints.";
        schema.insert("description".to_owned(), json!(about));
        schema
    }
}

fn default_lifetime_s() -> u32 {
    300
}

/// What the gate shows to an upstream: for everything, or one thing for what only reads and another
/// for the rest.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Credentials {
    /// For everything that has none of its own.
    #[serde(flatten)]
    pub common: Credential,
    /// For what only reads (`read`, `nav`). It never gets the other one.
    pub read: Option<Credential>,
    /// For everything else.
    pub write: Option<Credential>,
    /// The gate's own, where no caller's token is at hand that could be exchanged: for lists, and
    /// for finding out what became of an effect in doubt. It only reads.
    pub lookup: Option<Credential>,
}

/// That of a credential, with the three besides.
impl JsonSchema for Credentials {
    fn schema_name() -> Cow<'static, str> {
        "Credentials".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<Credential>().to_value();
        let mut schema = Credential::json_schema(generator);
        let about = [
            ("read", "For what only reads (`read`, `nav`). It never gets the other one."),
            ("write", "For everything else."),
            (
                "lookup",
                "The gate's own, where no caller's token is at hand that could be exchanged: for \
                 lists, and for finding out what became of an effect in doubt. It only reads.",
            ),
        ];
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, description) in about {
                let mut one = one.clone();
                if let Value::Object(one) = &mut one {
                    one.insert("description".to_owned(), json!(description));
                }
                properties.insert(name.to_owned(), one);
            }
        }
        schema
    }
}

/// One credential of the gate's for an upstream.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct Credential {
    /// How it is had: `static`, `client_credentials` or `token_exchange`.
    pub kind: Option<CredentialKind>,
    /// The header it is sent in. Unset: `Authorization`.
    pub header: Option<String>,
    /// What stands before it in the header. Unset: nothing before a static one, `Bearer` before a
    /// token.
    pub scheme: Option<String>,
    /// Of `static`: the secret.
    pub value: Option<Secret>,
    /// The token endpoint: an `https` address (or `http` on loopback).
    pub token_url: Option<String>,
    /// What the gate is called there.
    pub client_id: Option<String>,
    /// How the gate proves there who it is. Unset: `basic`.
    pub client_auth: Option<ClientAuth>,
    /// The gate's secret there; with `private_key_jwt` its private key in PEM.
    pub secret: Option<Secret>,
    /// Of `private_key_jwt`: what the key signs with. Unset: `ES256`.
    pub algorithm: Option<KeyAlgorithm>,
    /// The scopes asked for, with spaces between.
    pub scope: Option<String>,
    /// The upstream, as the issuer names it: the only audience of the token.
    pub audience: Option<String>,
    /// The same as an address (RFC 8707).
    pub resource: Option<String>,
    /// Of `token_exchange`: a token that says who the gate is, where the issuer wants one besides
    /// what names the agent in the caller's token.
    pub actor_token: Option<Secret>,
    /// Of `token_exchange`: what the caller's token is called. Unset:
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub subject_token_type: Option<String>,
    /// Of `token_exchange`: what is asked for. Unset: it is left to the issuer.
    pub requested_token_type: Option<String>,
    /// Of `token_exchange`: whether issued tokens cannot be read. Unset, one is used only if it
    /// names the caller's subject and agent, and the upstream as its only audience.
    #[serde(default)]
    pub opaque_tokens: bool,
}

/// How a credential is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CredentialKind {
    /// A secret that is sent as it is.
    Static,
    /// A token for the gate itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A token for each subject and agent, for the caller's (RFC 8693).
    TokenExchange,
}

impl CredentialKind {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "static",
            Self::ClientCredentials => "client_credentials",
            Self::TokenExchange => "token_exchange",
        }
    }
}

/// How the gate proves to a token endpoint who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// Its secret, in a header.
    Basic,
    /// Its secret, in the body.
    Post,
    /// An assertion that it signs (RFC 7523).
    PrivateKeyJwt,
}

/// What a private key signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the words are those of RFC 7518 and RFC 8037")]
pub enum KeyAlgorithm {
    ES256,
    ES384,
    RS256,
    PS256,
    EdDSA,
}

impl Credentials {
    /// What is shown with what only reads.
    pub fn for_reads(&self) -> Option<&Credential> {
        self.read.as_ref().or_else(|| self.common()).or(self.write.as_ref())
    }

    /// What is shown with everything else.
    pub fn for_writes(&self) -> Option<&Credential> {
        self.write.as_ref().or_else(|| self.common()).or(self.read.as_ref())
    }

    /// Whether callers' tokens are exchanged.
    pub fn exchanges(&self) -> bool {
        let is_exchange = |one: Option<&Credential>| {
            one.and_then(|one| one.kind) == Some(CredentialKind::TokenExchange)
        };
        is_exchange(self.for_reads()) || is_exchange(self.for_writes())
    }

    fn common(&self) -> Option<&Credential> {
        self.common.kind.is_some().then_some(&self.common)
    }
}
