//! The words for flow: what an argument is for, whose words a result holds, where a value came
//! from.

use crate::{CallId, Json, Object};

macro_rules! words {
    ($(#[$about:meta])* $name:ident {
        $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$doc])* $variant),+ }

        impl $name {
            /// Every one, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in declarations, policies and records.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Reads the word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

words! {
    /// What an argument of an operation is for: what somebody could do with it who chose its value.
    Role {
        /// Receives data or rights: an address, an account, a user.
        Principal = "principal",
        /// Receives money.
        Payee = "payee",
        /// Names the object that is acted on.
        Resource = "resource",
        /// A group inside the tenant that gets to see something.
        Audience = "audience",
        /// A secret that opens something.
        Credential = "credential",
        /// The caller's own master data.
        Profile = "profile",
        /// An address that data are sent to.
        EgressUrl = "egress_url",
        /// An address that is fetched.
        NavUrl = "nav_url",
        /// How much.
        Amount = "amount",
        /// A short title by which people find something.
        Label = "label",
        /// Text that people or systems will read.
        Content = "content",
        /// When.
        Time = "time",
        /// Of no importance by itself.
        Low = "low",
    }
}

words! {
    /// Whose words a result holds.
    Author {
        /// The backing system's alone.
        System = "system",
        /// The tenant's own list of members.
        Directory = "directory",
        /// Those of people of the tenant.
        Tenant = "tenant",
        /// Anybody's.
        Anyone = "anyone",
        /// A model's. How far they can be relied upon is what they were made of.
        Model = "model",
    }
}

words! {
    /// How it is established where a value came from: the strongest way there is.
    Source {
        /// The person has named it.
        User = "user",
        /// It is the caller's own.
        Caller = "caller",
        /// It identifies, or is a guaranteed field of, an object that the person has named, or
        /// that alone was found by what the person has named.
        Object = "object",
        /// It identifies an object that the caller has made.
        Owned = "owned",
        /// It identifies an object that a message names, which a member of the tenant has written
        /// and the person has referred to.
        Delegated = "delegated",
        /// It is a member of a directory of the tenant.
        Directory = "directory",
        /// A result holds it, of which every word is the backing system's.
        System = "system",
        /// It stands, whole, in what people of the tenant have written.
        Tenant = "tenant",
        /// It is no more than amounts of the same kind were before.
        Bounded = "bounded",
        /// Nothing establishes where it came from.
        Unknown = "unknown",
    }
}

/// One value of one argument, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Which value: `recipients[0]`.
    pub argument: String,
    /// What it is for.
    pub role: Role,
    /// How it is established where it came from.
    pub source: Source,
    /// The call whose result showed it last, where one did.
    pub call: Option<CallId>,
    /// The field of that result.
    pub field: Option<String>,
    /// For what could not be established: the nearest values that could.
    pub near: Vec<String>,
}

/// Where the values of a call came from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Whether anything is known that the person has said, or should be: the application tells it.
    pub has_words: bool,
    /// Whether the person has a word for what the tool does.
    pub is_asked: bool,
    /// What the person has said with this call, in the words of an application that is believed.
    pub heard: Vec<String>,
    /// The values of arguments with a role, in their order. Bounded: see `is_cut`.
    pub values: Vec<Traced>,
    /// Arguments that have no role.
    pub unroled: Vec<String>,
    /// Links in contents that nobody has asked for, by argument.
    pub links: Vec<(String, String)>,
    /// Whether there were more values than are traced.
    pub is_cut: bool,
}

impl Traced {
    /// As recorded, and shown.
    pub fn to_json(&self) -> Json {
        let near: Vec<Json> = self.near.iter().map(|value| value.as_str().into()).collect();
        Object::new()
            .with("argument", self.argument.as_str())
            .with_some("call", self.call.as_ref().map(CallId::as_str))
            .with_some("field", self.field.as_deref())
            .with_some("near", (!near.is_empty()).then_some(near))
            .with("role", self.role.as_str())
            .with("source", self.source.as_str())
            .into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        Some(Self {
            argument: text("argument")?.to_owned(),
            role: Role::from_word(text("role")?)?,
            source: Source::from_word(text("source")?)?,
            call: match json.get("call") {
                Some(call) => Some(CallId::new(call.as_str()?).ok()?),
                None => None,
            },
            field: text("field").map(str::to_owned),
            near: match json.get("near") {
                Some(near) => texts(near)?,
                None => Vec::new(),
            },
        })
    }
}

impl Provenance {
    /// How the values of a role are established, each way once.
    pub fn sources(&self, role: Role) -> std::collections::BTreeSet<Source> {
        let of_role = self.values.iter().filter(|traced| traced.role == role);
        let mut sources: std::collections::BTreeSet<_> = of_role.map(|it| it.source).collect();
        if self.is_cut {
            sources.insert(Source::Unknown);
        }
        sources
    }

    /// Whether anything in the call ties it to what the person has said, or to what is theirs.
    pub fn is_tied(&self) -> bool {
        self.values.iter().any(|traced| {
            let says_nothing = [Role::Amount, Role::Content, Role::Time, Role::Low];
            traced.source != Source::Unknown && !says_nothing.contains(&traced.role)
        })
    }

    /// As recorded among the facts.
    pub fn to_json(&self) -> Json {
        let links: Vec<Json> = self
            .links
            .iter()
            .map(|(argument, link)| {
                Object::new().with("argument", argument.as_str()).with("link", link.as_str()).into()
            })
            .collect();
        let heard: Vec<Json> = self.heard.iter().map(|text| text.as_str().into()).collect();
        let unroled: Vec<Json> = self.unroled.iter().map(|name| name.as_str().into()).collect();
        let values: Vec<Json> = self.values.iter().map(Traced::to_json).collect();
        Object::new()
            .with("has_words", self.has_words)
            .with_some("heard", (!heard.is_empty()).then_some(heard))
            .with("is_asked", self.is_asked)
            .with("is_cut", self.is_cut)
            .with("links", links)
            .with("unroled", unroled)
            .with("values", values)
            .into()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let links = json.get("links")?.as_array()?.iter().map(|link| {
            let text = |name: &str| Some(link.get(name)?.as_str()?.to_owned());
            Some((text("argument")?, text("link")?))
        });
        let values = json.get("values")?.as_array()?.iter().map(Traced::from_json);
        Some(Self {
            has_words: json.get("has_words")?.as_bool()?,
            is_asked: json.get("is_asked")?.as_bool()?,
            heard: match json.get("heard") {
                Some(heard) => texts(heard)?,
                None => Vec::new(),
            },
            values: values.collect::<Option<_>>()?,
            unroled: texts(json.get("unroled")?)?,
            links: links.collect::<Option<_>>()?,
            is_cut: json.get("is_cut")?.as_bool()?,
        })
    }
}

fn texts(json: &Json) -> Option<Vec<String>> {
    json.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect()
}
