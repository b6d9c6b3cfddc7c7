//! The words for flow: what an argument is for, whose words a result holds, where a value came from.

macro_rules! words {
    ($(#[$about:meta])* $name:ident { $($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
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
    }
}
