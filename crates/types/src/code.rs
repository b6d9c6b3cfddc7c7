//! The stable codes of everything Lockgate refuses or fails at.
//!
//! One table: a code, who is to blame, whether to try again, what happened, what would help. Each code has a page
//! `docs/errors/<code>.md`. Codes are never reused and never change their meaning.

use std::fmt;

/// Who has to act for it to go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The client, or the agent behind it.
    Caller,
    /// The bundle says so.
    Policy,
    /// The tool server.
    Upstream,
    /// Whoever issues tokens for upstreams.
    Issuer,
    /// This gate, or the machine it runs on.
    Lockgate,
}

impl Blame {
    /// The word on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Issuer => "issuer",
            Self::Lockgate => "lockgate",
        }
    }
}

/// Whether the same request may succeed later, unchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// It will be refused again.
    No,
    /// It may succeed, now or later.
    Yes,
    /// It may succeed after this many milliseconds.
    AfterMs(u32),
}

impl fmt::Display for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::No => f.write_str("no"),
            Self::Yes => f.write_str("yes"),
            Self::AfterMs(ms) => write!(f, "after_{ms}_ms"),
        }
    }
}

macro_rules! codes {
    ($($variant:ident = $code:literal, $blame:ident, $retry:expr, $title:literal, $remedy:literal;)*) => {
        /// A stable code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $(#[doc = $title] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The code as it is printed: `LG-D004`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Who has to act.
            pub const fn blame(self) -> Blame {
                match self { $(Self::$variant => Blame::$blame,)* }
            }

            /// Whether to try again.
            pub const fn retry(self) -> Retry {
                match self { $(Self::$variant => $retry,)* }
            }

            /// What happened, for the caller.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// What would help, where nothing more specific is known.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }

            /// Reads a printed code.
            pub fn from_code(text: &str) -> Option<Self> {
                match text { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

// tidy: allow line-length: a table reads better with one row per code
codes! {
    // The wire.
    NotJson = "LG-W001", Caller, Retry::No, "the message is not acceptable JSON", "send one JSON value in UTF-8 that follows RFC 8259";
    DuplicateMember = "LG-W002", Caller, Retry::No, "a member name occurs twice in one object", "send each member once";
    TooDeep = "LG-W003", Caller, Retry::No, "the message is nested too deeply", "send fewer levels";
    TooLarge = "LG-W004", Caller, Retry::No, "the message is too large", "send less, or raise the bound in `lockgate.toml`";
    NotAMessage = "LG-W005", Caller, Retry::No, "the value is not a JSON-RPC 2.0 message", "send an object with `jsonrpc`, `method` or `result` or `error`";
    BadId = "LG-W006", Caller, Retry::No, "the request id is neither a string nor an integer", "use a string or an integer as `id`";
    ParamsNotObject = "LG-W007", Caller, Retry::No, "`params` or `arguments` is not an object", "send an object";
    UnknownMethod = "LG-W008", Caller, Retry::No, "the method is not one that this gate decides", "name the method in `forward_methods` of the upstream, if it must pass";
    HeaderMismatch = "LG-W009", Caller, Retry::No, "a header is missing or says something else than the body", "send the header that the body implies";
    UnsupportedVersion = "LG-W010", Caller, Retry::No, "the protocol version is not supported here", "use one of the versions in the answer";
    MissingMeta = "LG-W011", Caller, Retry::No, "`_meta` lacks what this protocol version requires", "send protocol version and client capabilities in `_meta`";
    SessionUnknown = "LG-W012", Caller, Retry::No, "the session does not exist any more", "open a new session";
    SessionNotYours = "LG-W013", Caller, Retry::No, "the session belongs to another identity", "open a session of your own";
    HostNotAllowed = "LG-W014", Caller, Retry::No, "the Host header is not one of this listener's", "use the address the gate prints, or add the name to `hosts`";
    OriginNotAllowed = "LG-W015", Caller, Retry::No, "the Origin header is not allowed", "add the origin to `origins` if the page is yours";
    BadHttp = "LG-W016", Caller, Retry::No, "the HTTP request is not one this address answers", "see the page of the code for what is accepted";
    CannotCrossEras = "LG-W017", Caller, Retry::No, "the feature cannot be carried between these two protocol versions", "use a client of the upstream's version for it";
    TooManySessions = "LG-W018", Caller, Retry::AfterMs(1000), "too many sessions are open", "close sessions, or raise the bound in `lockgate.toml`";
    BatchRefused = "LG-W019", Caller, Retry::No, "batches are not part of this protocol version", "send one message per request";
    MissingCapability = "LG-W020", Caller, Retry::No, "the client did not declare the capability that this needs", "declare the capability";
    UnknownName = "LG-W021", Caller, Retry::No, "there is no such tool, resource or prompt here", "list what is there, and use a name from the list";
    StateRejected = "LG-W022", Caller, Retry::No, "the request state was changed, has expired, or is not yours", "start the call again";
    CallCancelled = "LG-W023", Caller, Retry::Yes, "the caller gave the call up before its answer", "wait for the answer, or look at `lockgate trace`";
    BadModelRequest = "LG-W024", Caller, Retry::No, "the request does not have the shape of this model API", "send the member that the answer names as the API describes it";
    CannotConvert = "LG-W025", Caller, Retry::No, "a part of the request does not exist in the API of the model's provider", "leave the part out that the answer names, or ask for a model whose provider speaks this API";
    // Who.
    NoToken = "LG-I001", Caller, Retry::No, "no bearer token was sent", "send `Authorization: Bearer` with a token for this gate";
    TokenMalformed = "LG-I002", Caller, Retry::No, "the bearer token is not a JWT this gate can read", "send a signed JWT";
    AlgorithmRefused = "LG-I003", Caller, Retry::No, "the token's algorithm is not one the issuer is configured for", "sign with an algorithm from the issuer's `algorithms`";
    SignatureInvalid = "LG-I004", Caller, Retry::No, "the token's signature does not verify", "get a new token from the issuer";
    TokenExpired = "LG-I005", Caller, Retry::No, "the token has expired", "get a new token from the issuer";
    TokenNotYetValid = "LG-I006", Caller, Retry::Yes, "the token is not valid yet", "check the clocks of issuer and gate";
    WrongAudience = "LG-I007", Caller, Retry::No, "the token was issued for another audience", "ask the issuer for a token whose `aud` is this gate";
    UnknownIssuer = "LG-I008", Caller, Retry::No, "the token's issuer is not configured here", "add the issuer to `lockgate.toml`, or use a token of a configured one";
    NoAgent = "LG-I009", Caller, Retry::No, "the token names no agent", "use a token with an `act` claim, or map its `client_id` in `principals.toml`";
    UnknownAgent = "LG-I010", Policy, Retry::No, "the agent is not known in this environment", "declare the agent in `principals.toml`";
    UnknownKey = "LG-I011", Caller, Retry::AfterMs(5000), "no key of the issuer has the token's key id", "check that the token comes from this issuer; keys are fetched again after a while";
    IssuerUnreachable = "LG-I012", Lockgate, Retry::AfterMs(5000), "the issuer's keys could not be fetched", "check `jwks` of the issuer and the network between";
    TokenNotWanted = "LG-I013", Caller, Retry::No, "a bearer token arrived at a listener with a fixed identity", "use the listener that reads tokens";
    UnknownSubject = "LG-I014", Policy, Retry::No, "the subject is not known here", "declare the subject in `principals.toml`, or map its claims";
    SessionTokenRefused = "LG-I015", Caller, Retry::No, "the session token is of no session that is open to this identity", "get a new one from the application that opens the session, or call without one";
    SessionTokenNotYours = "LG-I016", Caller, Retry::No, "the session token is another identity's", "use the token with the identity that the session was opened for";
    WordsNotBelieved = "LG-I017", Policy, Retry::No, "the bundle does not name this application as one that tells people's words", "set `relays_user_words = true` for its agent in `principals.toml`";
    // The decision.
    NoBundle = "LG-D001", Policy, Retry::No, "no policy is loaded, so nothing is allowed", "run `lockgate check` and load a bundle";
    AgentNotPermitted = "LG-D002", Policy, Retry::No, "no policy permits this agent to do this", "permit the agent this operation, or use an agent that is permitted";
    SubjectNotPermitted = "LG-D003", Policy, Retry::No, "no policy permits this subject to do this", "permit the subject this operation, or ask somebody who is permitted";
    Forbidden = "LG-D004", Policy, Retry::No, "a policy forbids this", "see the remedy of the deciding policy";
    PolicyFailed = "LG-D005", Policy, Retry::No, "a policy that forbids could not be evaluated, so it holds", "correct the policy: `lockgate explain` shows the error";
    ArgumentsRefused = "LG-D006", Caller, Retry::No, "the arguments do not follow the operation's accepted schema", "send the arguments that the schema describes";
    OperationUndeclared = "LG-D007", Policy, Retry::No, "the operation is not declared in the bundle", "declare and accept the operation in `operations/`";
    ApprovalRequired = "LG-D008", Policy, Retry::No, "a person has to agree first", "wait until somebody agrees, then send exactly this call again";
    SwitchEngaged = "LG-D009", Policy, Retry::No, "a switch stops this", "wait until the switch is lifted";
    ModeForbids = "LG-D010", Policy, Retry::No, "the session's mode does not allow this", "wait until a person loosens the mode";
    FactsIncomplete = "LG-D011", Lockgate, Retry::Yes, "what the decision needs could not be gathered", "try again; if it persists see the gate's log";
    ArgumentUnusable = "LG-D012", Caller, Retry::No, "a policy needs an argument whose value it cannot represent", "send an integer within 64 bits, or a number with at most four decimals";
    ObligationUnknown = "LG-D013", Policy, Retry::No, "an obligation cannot be fulfilled", "see the page of the code for the obligations there are";
    UpstreamChanged = "LG-D014", Upstream, Retry::No, "the upstream describes this operation differently from what was accepted", "have whoever runs the gate look at the difference with `lockgate tools diff`, and accept it with `lockgate tools approve`";
    NotAccepted = "LG-D015", Policy, Retry::No, "nobody has accepted this operation's declaration, and it may be destructive", "review the declaration in `operations/` and set `accepted = true`";
    FactsMoved = "LG-D016", Lockgate, Retry::Yes, "the facts kept changing while this was decided", "try again";
    ResultWithheld = "LG-D017", Policy, Retry::No, "the result could not be made to meet an obligation, so it is withheld", "ask for less, or for a structured result";
    KeyReused = "LG-D018", Caller, Retry::No, "the idempotency key was used before, with other arguments", "send a new key for a new effect, or the same arguments to learn what came of the first";
    EffectUnderWay = "LG-D019", Caller, Retry::AfterMs(1000), "the same effect is under way", "ask again later, with the same arguments and key: it will not happen twice";
    KeyMalformed = "LG-D020", Caller, Retry::No, "the idempotency key is not 1 to 255 visible ASCII characters", "send a key such as a UUID, in the `Idempotency-Key` header or in `_meta`";
    ApprovalClosed = "LG-D021", Caller, Retry::No, "the request for approval does not wait for an answer", "look at `lockgate approvals`: it was answered, used, or has ended";
    SelfApproval = "LG-D022", Policy, Retry::No, "nobody approves what they asked for themselves", "have somebody else look at it";
    ApproverNotEligible = "LG-D023", Policy, Retry::No, "the approval is for others to give", "ask somebody whom the requirement names";
    CapReached = "LG-D024", Policy, Retry::No, "a cap is used up", "wait until it resets, or have somebody raise it";
    StatementRefused = "LG-D025", Caller, Retry::No, "the statement is not one that this database tool runs", "send one query of the tables, columns and functions that the tool's description names";
    RequestRefused = "LG-D030", Caller, Retry::No, "the arguments make no request that this tool sends", "send the arguments that the tool's schema names, each as plain text, number or truth where it goes into the address";
    PlanRefused = "LG-D026", Caller, Retry::No, "the plan is not what would be done now", "send the call without a plan to get a new one, and look at it before you give it back";
    StepUpRequired = "LG-D032", Caller, Retry::No, "the sign-in is not strong or fresh enough for this", "sign in again as the answer says, and send it again with the new token";
    PlanRequired = "LG-D027", Caller, Retry::No, "this is done in two phases: a plan comes first", "look at the plan, then send exactly this call again with the plan";
    RateReached = "LG-D031", Policy, Retry::AfterMs(1000), "more is asked for than a rate lets through", "wait as long as the answer says, and ask less often";
    Quarantined = "LG-D040", Upstream, Retry::No, "the operation is not what somebody accepted, or pretends to be another", "have whoever runs the gate look at it with `lockgate tools diff`, and accept it with `lockgate tools approve`";
    ModelUnknown = "LG-D050", Caller, Retry::No, "there is no model of that name", "ask for a model that the list of models names";
    ModelNotForTask = "LG-D051", Policy, Retry::No, "the model may not be used for this task", "ask for a model that may, or have the task added to `tasks` of the entry in `models/`";
    ModelCeiling = "LG-D052", Policy, Retry::No, "what the prompt carries is more confidential than the model may be told", "ask for a model with a higher `ceiling`, or leave it out in a new session";
    ContextTooLarge = "LG-D053", Caller, Retry::No, "prompt and reply are larger than the model has room for", "send less, ask for fewer tokens, or ask for a model with more room";
    PromptWithheld = "LG-D054", Policy, Retry::No, "the prompt carries a secret, which may not leave", "take the secret out of the prompt; tools of the gate get theirs from the gate";
    AnswerRefused = "LG-D055", Policy, Retry::No, "the answer is not as it has to be", "ask again, or for another form; `[checks]` of the task or the model says what has to be true of an answer";
    ModelUnproven = "LG-D056", Policy, Retry::No, "the model has not passed the behaviour tests that it has to have passed", "have whoever runs the gate evaluate it: `lockgate eval` records the result";
    DocumentNotPermitted = "LG-D057", Policy, Retry::No, "no policy shows this document to whoever asks", "have the document shared, or ask somebody to whom it is";
    SourceNotForTask = "LG-D058", Policy, Retry::No, "the source may not be used for this", "ask for sources that the task names, or have the task added to `tasks` of the source";
    DocumentStale = "LG-D059", Policy, Retry::No, "the document is too old for this", "have the source refreshed, or the document looked over by its owner";
    CitationsMissing = "LG-D060", Caller, Retry::No, "what this rests on is not cited as it has to be", "retrieve what it rests on in this session, and cite it word by word in the argument that the answer names";
    RecordedAnswerStale = "LG-D061", Policy, Retry::No, "the recorded answer may not be given to this caller, or not any more", "ask again once a model answers, or have somebody approve an answer anew: `lockgate answers keep`";
    // The record.
    StoreUnavailable = "LG-S001", Lockgate, Retry::AfterMs(1000), "the record could not be written, so nothing was done", "check disk space and the state directory's permissions";
    LedgerCorrupt = "LG-S002", Lockgate, Retry::No, "the ledger does not verify", "stop the gate, keep the state directory for whoever looks into it, and restore the newest sound copy";
    RecordNotFound = "LG-S003", Caller, Retry::No, "there is no such record", "check the id";
    PayloadErased = "LG-S004", Policy, Retry::No, "the payload has been erased", "the proof still holds; the content is gone on purpose";
    AnotherWriter = "LG-S005", Lockgate, Retry::No, "another gate already writes this state directory", "stop the other gate, or use another directory";
    LedgerBehind = "LG-S006", Lockgate, Retry::No, "the ledger is shorter than a checkpoint that was already signed", "restore the newest state, or start a new log: `lockgate verify` explains";
    Overloaded = "LG-S007", Lockgate, Retry::AfterMs(200), "too much is waiting to be recorded", "slow down; the bound is named in `docs/limits.md`";
    LeaseExpired = "LG-S008", Lockgate, Retry::AfterMs(500), "this gate does not know what holds in its fleet now", "check the way to the database; it goes on by itself once it gets an answer";
    GateBusy = "LG-S010", Lockgate, Retry::AfterMs(1000), "the gate has more to do than there is time for", "come back later; more cores or another node carry more";
    BundleBehind = "LG-S009", Lockgate, Retry::AfterMs(500), "another bundle rules the fleet, and this gate has not loaded it yet", "see the gate's log if it does not: a bundle that a newer version wrote needs that version";
    // Runs.
    NoRuns = "LG-R001", Policy, Retry::No, "the bundle has no runs of this task", "ask for a task whose file has a `[run]`, or have one added to it";
    TooManyRuns = "LG-R002", Caller, Retry::AfterMs(5000), "too many runs are under way", "wait until one is over, or cancel one";
    RunNotOpen = "LG-R003", Caller, Retry::No, "the run is over", "start another, or fork this one";
    RunDiffers = "LG-R004", Caller, Retry::No, "the run does not come to the same again", "fork it from an earlier turn, or load the bundle it ran under";
    TaskDiffers = "LG-R005", Caller, Retry::No, "the token is for another task than the run", "ask for a token of the run's task, or of none";
    RunKeyReused = "LG-R006", Caller, Retry::No, "the idempotency key was used before, for a run of something else", "send a new key for a new run, or the same task and input to learn which run the first began";
    // What agents remember.
    MemoryFull = "LG-M001", Caller, Retry::No, "the memory has as many memos as it may", "forget what is not needed any more, or have `entries_max` of the memory raised";
    MemoTooLarge = "LG-M002", Caller, Retry::No, "the memo is longer than a memo may be", "write less, or have `entry_bytes_max` of the memory raised";
    OwnMemo = "LG-M003", Policy, Retry::No, "nobody confirms what they have written themselves", "have the person confirm it with a token of their own tool";
    // Evaluations.
    EvaluationDiffers = "LG-E001", Caller, Retry::No, "the result is not one of this suite and this entry as the bundle has them", "run `lockgate eval` with the bundle that the gate runs";
    EvaluationUntraced = "LG-E002", Caller, Retry::No, "a call that the result names is not on record as one of this evaluation", "run `lockgate eval` again: what it records are the calls that it makes";
    // Retrieval.
    CorpusFailed = "LG-Q001", Lockgate, Retry::No, "the corpus cannot be read or written", "have whoever runs the gate look at its log: it says what failed";
    DocumentRefused = "LG-Q002", Upstream, Retry::No, "the source has a document that is beyond a bound, or not well formed", "shorten or split it at its source, or leave it out";
    DraftInUse = "LG-Q003", Caller, Retry::AfterMs(1000), "a snapshot of this source is being made", "wait until it is published or given up";
    NoSuchSnapshot = "LG-Q004", Caller, Retry::No, "the source has no such snapshot or document", "look at the source's snapshots: old ones are dropped unless they are pinned";
    NotServable = "LG-Q005", Caller, Retry::No, "the snapshot was never published, so nothing serves from it", "use a published one";
    QueryRefused = "LG-Q006", Caller, Retry::No, "the query is beyond a bound", "ask for less, in fewer words";
    CorpusFull = "LG-Q007", Lockgate, Retry::No, "there are as many documents or chunks as one gate holds", "drop sources or pinned snapshots that nobody needs";
    EmbeddingFailed = "LG-Q008", Lockgate, Retry::Yes, "the text could not be turned into a vector", "have whoever runs the gate look at its embeddings";
    TooManyToCount = "LG-Q009", Caller, Retry::No, "there are more documents than are decided one by one for a count", "count fewer: name a source";
    FilterTooLarge = "LG-Q010", Policy, Retry::No, "the policies come to more conditions than one search evaluates", "share to groups rather than to many single documents by policy";
    // Citations.
    CitedNotRetrieved = "LG-Q031", Caller, Retry::No, "the document that is cited was not retrieved in this session", "retrieve it, and cite what was found";
    CitedWithdrawn = "LG-Q032", Policy, Retry::No, "the document that is cited may not be seen any more", "cite something that may be seen";
    CitedChanged = "LG-Q033", Caller, Retry::No, "the document that is cited has changed or gone since it was retrieved", "retrieve it again, and cite it as it is now";
    QuoteNotFound = "LG-Q034", Caller, Retry::No, "the quote does not stand in what was retrieved", "quote word by word";
    QuoteTooShort = "LG-Q035", Caller, Retry::No, "the quote is too short or too long to say anything", "quote a sentence";
    AnswerKind = "LG-Q036", Policy, Retry::No, "the answer rests on text of a kind that this task's answers are not made of", "answer from documents of the kinds that `answers_from` of the task names";
    RetrieverUnreadable = "LG-Q046", Upstream, Retry::No, "what the retriever answered cannot be decided document by document, and is not shown", "an operator has to declare where its documents are: `documents` of its operation";
    // The world.
    UpstreamUnreachable = "LG-U001", Upstream, Retry::AfterMs(1000), "the upstream cannot be reached", "check that it runs: `lockgate status` shows its health";
    UpstreamTimeout = "LG-U002", Upstream, Retry::Yes, "the upstream did not answer in time", "try again, or raise `timeout_ms` of the upstream";
    UpstreamProtocol = "LG-U003", Upstream, Retry::No, "the upstream answered something that is not the protocol", "report it to whoever runs the upstream";
    UpstreamTooLarge = "LG-U004", Upstream, Retry::No, "the upstream answered more than the bound", "ask for less, or raise the bound";
    UpstreamExited = "LG-U005", Upstream, Retry::AfterMs(1000), "the upstream's process ended during the call", "see its last lines with `lockgate status`";
    UpstreamBusy = "LG-U006", Upstream, Retry::AfterMs(500), "too many calls wait for this upstream", "slow down, or raise `in_flight_max` of the upstream";
    OutcomeInDoubt = "LG-U007", Upstream, Retry::No, "the effect may have happened: its outcome is not known", "do not do it again in another way; send exactly this call again to learn what came of it: it will not happen twice";
    UpstreamTruncated = "LG-U008", Upstream, Retry::No, "the upstream's stream ended before its answer", "look at the target system before you repeat it";
    StatementFailed = "LG-U009", Upstream, Retry::No, "the database did not run the statement", "ask for less or otherwise; the gate's log has the database's words";
    UpstreamBroken = "LG-U010", Upstream, Retry::AfterMs(1000), "the upstream has failed repeatedly and is left alone for a while", "try again after the pause; `lockgate status` shows what failed";
    ShareTaken = "LG-U011", Caller, Retry::AfterMs(500), "as much of this upstream as one caller may have is in use by this one", "wait until earlier calls have ended, or have `in_flight_per_identity_max` of the upstream raised";
    PersonAsked = "LG-U012", Upstream, Retry::AfterMs(5000), "no model answers, and a person was asked to", "ask exactly the same again later: what they have written is the answer then";
    AnswerNotCarried = "LG-U013", Upstream, Retry::No, "a part of the answer does not exist in the API by which it was asked for", "ask by the API that the model's provider speaks, or ask for a model whose provider speaks this one";
    AnswerNotKept = "LG-U014", Caller, Retry::No, "this answer cannot be kept for when no model answers", "keep one that is whole, has words, and was given for a task with `recorded_s` in its `[fallback]`";
    AnswerMissing = "LG-U015", Caller, Retry::No, "who agrees to answer in place of a model has to write what the answer is", "write it: `lockgate approvals give <call> --answer <text>`";
    AddressRefused = "LG-U020", Upstream, Retry::No, "the upstream is at an address where the bundle does not allow it", "name the network in `allow_networks` of the upstream, if that is where it should be";
    RedirectRefused = "LG-U021", Upstream, Retry::No, "the upstream sends elsewhere, and the gate does not go there", "give the upstream the address to which it sends";
    // Credentials for upstreams.
    CredentialRefused = "LG-K001", Lockgate, Retry::No, "the upstream does not accept the gate's credential", "have whoever runs the gate look at the credential of this upstream: it is wrong, withdrawn, or missing";
    CredentialInsufficient = "LG-K002", Upstream, Retry::No, "the upstream knows the gate's credential, and does not let it do this", "have whoever runs the upstream allow it, or give the upstream a credential that may do this";
    TokenEndpointAway = "LG-K003", Issuer, Retry::AfterMs(1000), "no token for the upstream is to be had now: its issuer cannot be reached", "try again; if it persists, check the issuer and `token_url`";
    TokenRefused = "LG-K004", Policy, Retry::No, "the issuer refuses a token for the upstream", "have whoever runs the gate look at `credential` of this upstream, and at what the issuer grants it";
    SecretUnreadable = "LG-K005", Lockgate, Retry::AfterMs(5000), "a secret that this needs cannot be read", "`lockgate check` says which, and why";
    NothingToExchange = "LG-K006", Policy, Retry::No, "no caller's token is at hand that could be exchanged for one of the upstream's", "call with a token, at a listener that reads tokens; what the gate asks by itself needs `lookup`";
    // Configuration and administration.
    BundleRefused = "LG-C001", Policy, Retry::No, "the bundle has mistakes and was not loaded", "run `lockgate check`";
    AdminBadRequest = "LG-A001", Caller, Retry::No, "the request to the admin API is not well formed", "see the OpenAPI description at `/v1/openapi.json`";
    AdminNotFound = "LG-A002", Caller, Retry::No, "the admin API has nothing at this address", "see the OpenAPI description at `/v1/openapi.json`";
    // The console.
    ConsoleNotHere = "LG-A003", Caller, Retry::No, "the console is not at this address", "use a listener that reads tokens, over TLS or on the machine itself";
    NotAPersonsToken = "LG-A004", Caller, Retry::No, "the token is an agent's, not that of a person's own tool", "sign in with a token for the agent `lockgate-console`, or with `lockgate console`";
    FormRefused = "LG-A005", Caller, Retry::No, "the form was not sent by a page of this console", "open the page again, and send its form from there";
    ConsoleLinkOver = "LG-A006", Caller, Retry::No, "the link was used, or the session is over", "sign in again, or get another link with `lockgate console`";
    // Webhooks.
    WebhookSignature = "LG-A007", Caller, Retry::No, "the message is not signed by this webhook", "sign id, time and body with the webhook's secret, as Standard Webhooks say";
    WebhookStale = "LG-A008", Caller, Retry::No, "the message was signed too long ago, or in the future", "sign it anew, and check the clocks of sender and gate";
    WebhookReplayed = "LG-A009", Caller, Retry::No, "another message had this id", "give each message an id of its own";
    // Documents: how they come in.
    DocumentUnknown = "LG-Q011", Upstream, Retry::No, "the document is of no format that is read here", "keep it out of the source, or have it in one of the formats that `docs/ingest.md` names";
    DocumentMalformed = "LG-Q012", Upstream, Retry::No, "the document is not what its format asks for", "open it in the program it was made with, and save it again";
    DocumentTooLarge = "LG-Q013", Upstream, Retry::No, "the document, or what it comes to when it is unpacked, is larger than the bound", "split it, or keep it out of the source";
    DocumentEncrypted = "LG-Q014", Upstream, Retry::No, "the document can be read with a password only", "put it into the source without the password, or keep it out";
    ParserDied = "LG-Q015", Upstream, Retry::Yes, "the process that read the document ended over it, or said what cannot be", "keep the document out of the source; if it is an ordinary one, report it";
    ParserSlow = "LG-Q016", Upstream, Retry::Yes, "the document was not read in the time it may take", "keep it out of the source, or split it";
    ParserNotConfined = "LG-Q017", Lockgate, Retry::No, "documents cannot be read, since the process that would do it is not confined", "run the gate on a kernel with seccomp, and let it set limits; the log says what is missing";
    SourceAway = "LG-Q018", Upstream, Retry::AfterMs(60_000), "the source cannot be read now", "check that it is there, and that the gate may read it";
    SourceElsewhere = "LG-Q019", Policy, Retry::No, "the source leads to where the bundle does not let the gate go", "name the address itself in the source's declaration, if that is where it should be";
    SourceTooLarge = "LG-Q020", Policy, Retry::No, "the source has more than one source may have", "split it into several sources";
    SourceMismatch = "LG-Q021", Policy, Retry::No, "the source is not as it is declared", "compare the source's declaration with what is there: keys, columns, permissions";
    IngestStateBroken = "LG-Q022", Lockgate, Retry::Yes, "what earlier runs have seen of the source cannot be read or written", "check the disk; the file may be deleted, then all is read again";
    RunUsedUp = "LG-Q023", Lockgate, Retry::Yes, "the run has used up its time or its bytes", "start it again: it goes on where it stopped";
    SnapshotQuarantined = "LG-Q024", Upstream, Retry::No, "the snapshot breaks the source's contract, and does not serve", "read its quality report; mend the source, or change the contract";
    // Sources in a running gate.
    RunStopped = "LG-Q040", Lockgate, Retry::Yes, "the run was stopped: the gate ends, or a kill switch is on", "nothing is lost: the next run goes on where it stopped; lift the switch if there is one";
    NoSuchSource = "LG-Q041", Caller, Retry::No, "there is no such source here, or it was never run", "`lockgate sources` lists them; run it with `lockgate sources run`";
    NoSuchPlace = "LG-Q042", Caller, Retry::No, "the source has no folder and no document of that name", "name it as the source does: a whole path, with slashes; `.` is all of it";
    SnapshotNamed = "LG-Q043", Policy, Retry::No, "a task of the bundle names this snapshot", "take it out of `snapshots` of the task first";
    FieldsWouldShow = "LG-Q044", Caller, Retry::No, "the source has fields with readers of their own, and the share would reach them", "share such a field by itself, or name readers of folders under `[permissions]` of the source, which does not reach them";
    ToldAnew = "LG-Q047", Lockgate, Retry::Yes, "who may see what of the source was told anew while it was read, so that the run begins anew", "nothing is lost: the run goes on with a new list of what the source has";
    // Our own mistakes.
    InvariantBroken = "LG-X001", Lockgate, Retry::No, "an invariant of the gate did not hold, so the call was refused", "report it with the call's id";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
