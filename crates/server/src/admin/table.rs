//! Every route of the admin API: where it is, which operation it is decided as, what it takes and
//! answers.
// tidy: allow file-size: a table of uniform items

use super::{
    BODY_BYTES_MAX, Handler, REPORT_BODY_BYTES_MAX, WORDS_BODY_BYTES_MAX, answers, approvals,
    bundles, effects, evaluations, kept, ledger, limits, memory, offers, openapi, opened,
    operations, records, retrieve, risk, runs, sources, status, switches,
};
use crate::joining::SESSION_TOKEN_HEADER;
use lockgate_core::eval::REPORT_BYTES_MAX;
use lockgate_kernel::RUN_INPUT_BYTES_MAX;
use lockgate_store::SWITCH_SCOPES;
use lockgate_types::ID_BYTES_MAX;
use serde_json::Value;

/// A route.
pub(crate) struct Route {
    pub(crate) method: Method,
    /// As the router matches it.
    pub(crate) path: &'static str,
    /// The operation of the upstream `lockgate` that it is decided as. `None`: it is not decided.
    pub(crate) operation: Option<&'static str>,
    pub(crate) summary: &'static str,
    pub(crate) parameters: &'static [Parameter],
    pub(crate) answer: AnswerForm,
    pub(crate) handler: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
    Delete,
}

impl Route {
    /// Bytes of the body of a request to it.
    pub(crate) fn body_bytes_max(&self) -> usize {
        let of = |it: &Parameter| match it.form {
            Form::Words => WORDS_BODY_BYTES_MAX,
            Form::Prose { bytes_max: REPORT_BYTES_MAX } => REPORT_BODY_BYTES_MAX,
            _ => BODY_BYTES_MAX,
        };
        self.parameters.iter().map(of).max().unwrap_or(BODY_BYTES_MAX)
    }
}

/// A parameter. Those in the path and in the body are required, those in the query are not.
pub(crate) struct Parameter {
    pub(crate) name: &'static str,
    pub(crate) place: Place,
    pub(crate) form: Form,
    pub(crate) about: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Path,
    Query,
    /// A header that may be absent.
    Header,
    /// A member of the body, which is an object of texts.
    Body,
    /// A member of the body that may be absent.
    BodyIfAny,
}

/// What a parameter has to look like.
#[derive(Clone, Copy)]
pub(crate) enum Form {
    Agent,
    Call,
    Digest,
    TilePath {
        bytes_max: usize,
    },
    Integer {
        min: i64,
        max: i64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// What a person writes, or a name.
    Text {
        bytes_max: usize,
    },
    /// The same, of several lines.
    Prose {
        bytes_max: usize,
    },
    /// What a person has said: a text, or several, of any characters.
    Words,
    /// Names, in a list.
    Names {
        max: usize,
    },
}

/// What is answered.
pub(crate) enum AnswerForm {
    Json(fn() -> Value),
    Text(&'static str),
    Octets(&'static str),
    /// Server-sent events.
    Events(&'static str),
    /// What there is from now on.
    Created(fn() -> Value),
    /// The same, or what there was before, as a key says.
    CreatedOnce(fn() -> Value),
}

const INDEX: Form = Form::Integer { min: 0, max: i64::MAX };
const NAMES: Form = Form::Names { max: 64 };
const DOCUMENT: Form = Form::Text { bytes_max: 1200 };
const NOTE: Form = Form::Prose { bytes_max: 1024 };
const QUERY: Form = Form::Prose { bytes_max: 4096 };
const TENANT: Form = Form::Text { bytes_max: ID_BYTES_MAX };
const WHOSE: Parameter = query(
    "tenant",
    TENANT,
    "Whose log; the gate's own tenant's, which is the node's, if absent. Policies see it either \
     way.",
);

impl Parameter {
    /// Whether it is a member of the body.
    pub(crate) const fn is_in_body(&self) -> bool {
        matches!(self.place, Place::Body | Place::BodyIfAny)
    }
}

const fn path(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Path, form, about }
}

const fn query(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, form, about }
}

const fn member(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, place: Place::Body, form, about }
}

const fn may(name: &'static str, form: Form, about: &'static str) -> Parameter {
    Parameter { name, place: Place::BodyIfAny, form, about }
}

/// Bytes of what a person answers in place of a model.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

const MEMO_PLACE: Form = Form::Text { bytes_max: 64 };
const MEMO: Parameter =
    path("memo", Form::Text { bytes_max: 64 }, "The memo, as a list of them names it.");
const RUN_KEY: Parameter = Parameter {
    name: "Idempotency-Key",
    place: Place::Header,
    form: Form::Text { bytes_max: ID_BYTES_MAX },
    about: "What names this run for whoever asks: of the same key there is one run.",
};
const SOURCE: Parameter =
    path("source", Form::Text { bytes_max: 64 }, "The source, as the bundle calls it.");
const SNAPSHOT: Parameter = path("snapshot", INDEX, "The number of the snapshot.");
/// Bytes of the path of a folder, or of the id of a document.
const PLACE_BYTES_MAX: usize = 2048;
const RUN: Parameter = path("run", Form::Call, "The run.");
const INPUT: Form = Form::Prose { bytes_max: RUN_INPUT_BYTES_MAX };
const SUITE: Form = Form::Text { bytes_max: 64 };
const REASON: Parameter =
    member("reason", Form::Text { bytes_max: 1024 }, "Why. Kept with the record.");
const SCOPE: Parameter =
    member("scope", Form::Word(&SWITCH_SCOPES), "How much it stops. `tool` is an upstream.");
const NAME: Parameter =
    member("name", Form::Text { bytes_max: 256 }, "Which one; empty for `global`.");

const SESSION: Parameter =
    path("session", Form::Text { bytes_max: 64 }, "The session, as records name it.");
const WORDS: Parameter = member(
    "words",
    Form::Words,
    "What the person has said: a text, or several. Nothing that a model or a tool has.",
);
const THE_TENANT: Parameter = path("tenant", Form::Text { bytes_max: 256 }, "The tenant's name.");
const LOOSEN_TO: Parameter = member("to", Form::Word(&risk::LOOSER), "The mode to hold then.");
const TIGHTEN_TO: Parameter = member("to", Form::Word(&risk::STRICTER), "The mode to hold then.");

/// The whole API.
pub(crate) const ROUTES: &[Route] = &[
    Route {
        method: Method::Get,
        path: "/v1/status",
        operation: Some("status_read"),
        summary: "What this gate is, and how its upstreams are. What upstreams wrote to standard \
                  error is there for who may `upstreams_read`.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<status::Status>),
        handler: |parts, asked| Box::pin(status::read(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/traces/{call}",
        operation: Some("traces_read"),
        summary: "Every entry of a call and of the calls made within it, with what they carried.",
        parameters: &[path("call", Form::Call, "The call: its id is in every answer.")],
        answer: AnswerForm::Json(answers::trace),
        handler: |parts, asked| Box::pin(records::trace(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/records",
        operation: Some("records_read"),
        summary: "Decided calls of all tenants with their facts, in order, for replay and export. \
                  Reading is recorded too, so the log grows meanwhile: give the `size` of the \
                  first page as `until` of the next ones.",
        parameters: &[
            query("from", INDEX, "The first entry to look at; 0 if absent."),
            query("until", INDEX, "The entry before which to end; the end of the log if absent."),
            query(
                "max",
                Form::Integer { min: 1, max: records::ENTRIES_MAX },
                "How many entries to look at; 500 if absent. A page may end sooner: see `next`.",
            ),
        ],
        answer: AnswerForm::Json(answers::records),
        handler: |parts, asked| Box::pin(records::page(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/bundle",
        operation: Some("bundle_read"),
        summary: "The bundle that rules now.",
        parameters: &[],
        answer: AnswerForm::Json(answers::bundle),
        handler: |parts, asked| Box::pin(bundles::read(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/bundles/{digest}",
        operation: Some("bundle_read"),
        summary: "A bundle that rules or ruled, by its digest.",
        parameters: &[path("digest", Form::Digest, "The digest that decisions name.")],
        answer: AnswerForm::Json(answers::bundle),
        handler: |parts, asked| Box::pin(bundles::read(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/bundle/reload",
        operation: Some("bundle_reload"),
        summary: "Reads the bundle anew from where the gate has it. One with mistakes is refused, \
                  each mistake is named, and the last good one stays.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<bundles::Reloaded>),
        handler: |parts, asked| Box::pin(bundles::reload(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/approvals",
        operation: Some("approvals_read"),
        summary: "Requests that wait for somebody, those first that end first.",
        parameters: &[
            query("after", Form::Call, "Where to go on: `next` of the page before."),
            query("max", Form::Integer { min: 1, max: 256 }, "How many."),
        ],
        answer: AnswerForm::Json(answers::approvals),
        handler: |parts, asked| Box::pin(approvals::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/approvals/{call}",
        operation: Some("approvals_read"),
        summary: "One request, however it stands, with the evidence: who asks, for exactly what, \
                  why it was stopped, who has agreed.",
        parameters: &[path("call", Form::Call, "The refused call that asks.")],
        answer: AnswerForm::Json(answers::approval),
        handler: |parts, asked| Box::pin(approvals::show(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/approvals/{call}/state",
        operation: Some("approval_state"),
        summary: "How a request of one's own stands: who asks for it is whoever the call that asks \
                  was made for, and by. Of anybody else's there is nothing here.",
        parameters: &[path("call", Form::Call, "The refused call that asks.")],
        answer: AnswerForm::Json(answers::own_approval),
        handler: |parts, asked| Box::pin(approvals::state(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/approvals/{call}/give",
        operation: Some("approval_give"),
        summary: "Agrees to exactly that, once. Decided with the requirement, and with the \
                  operation, agent, environment and tenant of what waits.",
        parameters: &[
            path("call", Form::Call, "The refused call that asks."),
            member("requirement", Form::Text { bytes_max: 1024 }, "What is given."),
            REASON,
            may(
                "answer",
                Form::Prose { bytes_max: ANSWER_BYTES_MAX },
                "Of a request to answer in place of a model: what the answer is.",
            ),
        ],
        answer: AnswerForm::Json(answers::approval_state),
        handler: |parts, asked| Box::pin(approvals::give(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/approvals/{call}/deny",
        operation: Some("approval_deny"),
        summary: "Does not agree. The request ends.",
        parameters: &[path("call", Form::Call, "The refused call that asks."), REASON],
        answer: AnswerForm::Json(answers::approval_state),
        handler: |parts, asked| Box::pin(approvals::deny(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/effects",
        operation: Some("effects_read"),
        summary: "Effects of which nobody knows whether they happened, oldest first.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<effects::Effects>),
        handler: |parts, asked| Box::pin(effects::list(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/effects/{call}/resolve",
        operation: Some("effect_resolve"),
        summary: "Says what became of an effect in doubt, as a person has found out.",
        parameters: &[
            path("call", Form::Call, "The call that first asked for it."),
            member("outcome", Form::Word(&effects::OUTCOMES), "Whether it happened."),
            REASON,
        ],
        answer: AnswerForm::Json(answers::schema_of::<effects::ResolvedEffect>),
        handler: |parts, asked| Box::pin(effects::resolve(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/limits",
        operation: Some("limits_read"),
        summary: "The caps and rates there are, and how much of the caps is used: by those whom \
                  the query names, else by who asks. Reading is recorded.",
        parameters: &[
            query("agent", Form::Text { bytes_max: 256 }, "Whose counters, of caps for agents."),
            query("session", Form::Text { bytes_max: 256 }, "Of caps for sessions: its key."),
            query("operation", Form::Text { bytes_max: 256 }, "Of caps for operations."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<limits::Limits>),
        handler: |parts, asked| Box::pin(limits::read(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/switches",
        operation: Some("switches_read"),
        summary: "The kill switches that are on.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<switches::On>),
        handler: |parts, asked| Box::pin(switches::list(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/switches/throw",
        operation: Some("switch_throw"),
        summary: "Throws a kill switch. When this is answered, nothing in its scope begins to \
                  leave; what had begun before is listed.",
        parameters: &[SCOPE, NAME, REASON],
        answer: AnswerForm::Json(answers::schema_of::<switches::Thrown>),
        handler: |parts, asked| Box::pin(switches::throw(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/switches/lift",
        operation: Some("switch_lift"),
        summary: "Lifts a kill switch.",
        parameters: &[SCOPE, NAME, REASON],
        answer: AnswerForm::Json(answers::schema_of::<switches::Lifted>),
        handler: |parts, asked| Box::pin(switches::lift(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sessions",
        operation: Some("sessions_read"),
        summary: "The sessions that something is held against, by their ids.",
        parameters: &[
            query(
                "after",
                Form::Text { bytes_max: 64 },
                "Where to go on: `next` of the page before.",
            ),
            query("max", Form::Integer { min: 1, max: 256 }, "How many to look at."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<risk::Sessions>),
        handler: |parts, asked| Box::pin(risk::list(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sessions",
        operation: Some("session_open"),
        summary: "Opens a session for an agent with what the person has said that the token is \
                  about. For applications that the bundle believes (`relays_user_words`). The \
                  answer has the token by which that agent joins it, for 24 hours.",
        parameters: &[
            member("agent", Form::Agent, "The agent that it is for."),
            WORDS,
            Parameter {
                name: "task",
                place: Place::BodyIfAny,
                form: Form::Text { bytes_max: ID_BYTES_MAX },
                about: "The task that it is for alone: that of the agent's own token.",
            },
        ],
        answer: AnswerForm::Json(answers::schema_of::<opened::Opened>),
        handler: |parts, asked| Box::pin(opened::open(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sessions/opened",
        operation: Some("opened_read"),
        summary: "The sessions that this application has open for the person of its token.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<opened::All>),
        handler: |parts, asked| Box::pin(opened::list(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sessions/{session}/words",
        operation: Some("session_words"),
        summary: "Tells a session that this application has opened more of what its person has \
                  said.",
        parameters: &[SESSION, WORDS],
        answer: AnswerForm::Json(answers::schema_of::<opened::Told>),
        handler: |parts, asked| Box::pin(opened::tell(parts, asked)),
    },
    Route {
        method: Method::Delete,
        path: "/v1/sessions/{session}",
        operation: Some("session_end"),
        summary: "Ends a session that this application has opened: its token joins it no more.",
        parameters: &[SESSION],
        answer: AnswerForm::Json(answers::schema_of::<opened::Told>),
        handler: |parts, asked| Box::pin(opened::end(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sessions/{session}",
        operation: Some("sessions_read"),
        summary: "How a session stands, and why.",
        parameters: &[SESSION],
        answer: AnswerForm::Json(answers::schema_of::<risk::Standing>),
        handler: |parts, asked| Box::pin(risk::show(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sessions/{session}/loosen",
        operation: Some("session_loosen"),
        summary: "Gives a session back what it may do. Decided with the agent, environment and \
                  tenant that it belongs to, and whether it is the caller's `own`.",
        parameters: &[SESSION, LOOSEN_TO, REASON],
        answer: AnswerForm::Json(answers::schema_of::<risk::Changed>),
        handler: |parts, asked| Box::pin(risk::loosen(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sessions/{session}/tighten",
        operation: Some("session_tighten"),
        summary: "Takes away what a session may do, until a person gives it back.",
        parameters: &[SESSION, TIGHTEN_TO, REASON],
        answer: AnswerForm::Json(answers::schema_of::<risk::Changed>),
        handler: |parts, asked| Box::pin(risk::tighten(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/postures/{tenant}",
        operation: Some("posture_read"),
        summary: "How a tenant stands, and why.",
        parameters: &[THE_TENANT],
        answer: AnswerForm::Json(answers::schema_of::<risk::Standing>),
        handler: |parts, asked| Box::pin(risk::posture(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/postures/{tenant}/loosen",
        operation: Some("posture_loosen"),
        summary: "Gives all sessions of a tenant back what they may do, as far as each may.",
        parameters: &[THE_TENANT, LOOSEN_TO, REASON],
        answer: AnswerForm::Json(answers::schema_of::<risk::Changed>),
        handler: |parts, asked| Box::pin(risk::posture_loosen(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/postures/{tenant}/tighten",
        operation: Some("posture_tighten"),
        summary: "Takes away what all sessions of a tenant may do, until a person gives it back.",
        parameters: &[THE_TENANT, TIGHTEN_TO, REASON],
        answer: AnswerForm::Json(answers::schema_of::<risk::Changed>),
        handler: |parts, asked| Box::pin(risk::posture_tighten(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/runs",
        operation: Some("run_start"),
        summary: "Starts a run of a task, in the name of who asks, and answers with it. It goes on \
                  by itself. Asked again under the same `Idempotency-Key`, it answers with the run \
                  that there is, for 24 hours.",
        parameters: &[
            member("task", Form::Text { bytes_max: ID_BYTES_MAX }, "The task."),
            member("input", INPUT, "What is asked."),
            RUN_KEY,
        ],
        answer: AnswerForm::CreatedOnce(answers::started_run),
        handler: |parts, asked| Box::pin(runs::start(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/runs",
        operation: Some("runs_read"),
        summary: "The runs of one's own, the newest first.",
        parameters: &[
            query("before", Form::Call, "Where to go on: `next` of the page before."),
            query("max", Form::Integer { min: 1, max: 256 }, "How many."),
        ],
        answer: AnswerForm::Json(answers::runs),
        handler: |parts, asked| Box::pin(runs::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/runs/{run}",
        operation: Some("runs_read"),
        summary: "A run of one's own: where it is, what it waits for, what it has come to.",
        parameters: &[RUN],
        answer: AnswerForm::Json(answers::run),
        handler: |parts, asked| Box::pin(runs::show(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/runs/{run}/events",
        operation: Some("runs_read"),
        summary: "The journal of a run of one's own, as it is written. Each event has its number \
                  as `id`: a client that comes back with `Last-Event-ID` goes on behind it. It \
                  ends with the run, or after ten minutes.",
        parameters: &[
            RUN,
            query("after", INDEX, "The number of the entry behind which to begin; else the first."),
        ],
        answer: AnswerForm::Events("Entries of the journal."),
        handler: |parts, asked| Box::pin(runs::events(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/runs/{run}/cancel",
        operation: Some("run_cancel"),
        summary: "Has a run of one's own end, and those within it, as soon as what is under way is \
                  recorded.",
        parameters: &[RUN, REASON],
        answer: AnswerForm::Json(answers::run),
        handler: |parts, asked| Box::pin(runs::cancel(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/runs/{run}/fork",
        operation: Some("run_fork"),
        summary: "Starts a run with what one's own has come to, with what models and tools said \
                  then: all of it, which has to come to the same bytes, or the turns before one. \
                  From there on it is driven, with other input if there is some.",
        parameters: &[
            RUN,
            may("turn", Form::Integer { min: 0, max: 100_000 }, "The turn, from 0."),
            may("input", INPUT, "What is asked from there on."),
        ],
        answer: AnswerForm::Created(answers::run),
        handler: |parts, asked| Box::pin(runs::fork(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/retrieve",
        // The call that is decided and recorded is the search itself.
        operation: None,
        summary: "Looks in the registered sources of documents for what answers a question, within \
                  what the person may see: the call `retrieval/search`, decided and recorded like \
                  any other. What is found is data, and no instructions.",
        parameters: &[
            member("query", QUERY, "What is looked for."),
            may("sources", NAMES, "The sources that are searched; all if absent."),
            may("kinds", NAMES, "The kinds of text that are wanted; all if absent."),
            may("limit", Form::Integer { min: 1, max: 50 }, "How many pieces; 8 if absent."),
            Parameter {
                name: SESSION_TOKEN_HEADER,
                place: Place::Header,
                form: Form::Text { bytes_max: 128 },
                about: "The token of the session that it belongs to.",
            },
        ],
        answer: AnswerForm::Json(retrieve::retrieved),
        handler: |parts, asked| Box::pin(retrieve::retrieve(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/retrieval",
        operation: Some("retrieval_read"),
        summary: "How registered sources do, as far as this node has seen since it began: searches \
                  and what they found, by task; what was withheld; how questions and answers \
                  drift; what is suspicious, and what people say of documents.",
        parameters: &[query(
            "tenant",
            TENANT,
            "Of one tenant; of all if absent. Policies see it either way.",
        )],
        answer: AnswerForm::Json(answers::schema_of::<retrieve::All>),
        handler: |parts, asked| Box::pin(retrieve::health(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/retrieval/feedback",
        operation: Some("retrieval_feedback"),
        summary: "Says something of a document that a call of one's own has shown. It is recorded, \
                  and shown with its source.",
        parameters: &[
            member("call", Form::Call, "The call that has shown it."),
            member("document", DOCUMENT, "The document, as it was shown: `<source>/<id>`."),
            member("verdict", Form::Word(&retrieve::VERDICTS), "What is said of it."),
            may("note", NOTE, "Why. Kept with the record."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<retrieve::Kept>),
        handler: |parts, asked| Box::pin(retrieve::feedback(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/evaluations",
        operation: Some("evaluation_record"),
        summary: "Hands in what an entry of the registry came to in a suite of behaviour tests. \
                  The result is computed by the gate's own suite; every call that the report names \
                  has to be on record as one of this evaluation.",
        parameters: &[
            member("suite", SUITE, "The suite."),
            member("digest", Form::Digest, "The digest of the suite that was asked."),
            member("entry", SUITE, "The entry of the registry."),
            member(
                "report",
                Form::Prose { bytes_max: REPORT_BYTES_MAX },
                "JSON: for each question and sample `id`, `sample`, `verdict`, `calls` and maybe \
                 `score`, in thousandths.",
            ),
        ],
        answer: AnswerForm::Created(answers::evaluation),
        handler: |parts, asked| Box::pin(evaluations::record(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/evaluations",
        operation: Some("evaluations_read"),
        summary: "Results of behaviour tests, the newest first.",
        parameters: &[
            query("suite", SUITE, "Only of that suite."),
            query("entry", SUITE, "Only of that entry."),
            query("max", Form::Integer { min: 1, max: 256 }, "How many."),
        ],
        answer: AnswerForm::Json(answers::evaluations),
        handler: |parts, asked| Box::pin(evaluations::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/memory",
        operation: Some("memory_read"),
        summary: "What agents have written down for whoever asks, in this tenant and environment, \
                  the newest first.",
        parameters: &[
            query("after", MEMO_PLACE, "Where to go on: `next` of the page before."),
            query("max", Form::Integer { min: 1, max: 64 }, "How many."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<memory::All>),
        handler: |parts, asked| Box::pin(memory::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/memory/{memo}",
        operation: Some("memory_read"),
        summary: "One memo of one's own: what it says, who wrote it and when, and what they had \
                  met.",
        parameters: &[MEMO],
        answer: AnswerForm::Json(answers::schema_of::<memory::One>),
        handler: |parts, asked| Box::pin(memory::show(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/memory/{memo}/confirm",
        operation: Some("memory_confirm"),
        summary: "Says that a memo of one's own is right: whoever reads it then reads a person's \
                  words, as confidential as before. Not for the agent that wrote it.",
        parameters: &[MEMO, REASON],
        answer: AnswerForm::Json(answers::schema_of::<memory::One>),
        handler: |parts, asked| Box::pin(memory::confirm(parts, asked)),
    },
    Route {
        method: Method::Delete,
        path: "/v1/memory/{memo}",
        operation: Some("memory_forget"),
        summary: "Deletes a memo of one's own.",
        parameters: &[MEMO],
        answer: AnswerForm::Json(answers::schema_of::<memory::Forgotten>),
        handler: |parts, asked| Box::pin(memory::forget(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/answers",
        operation: Some("answers_read"),
        summary: "Answers of models that are kept for when none answers, those first that end \
                  first. What they say is in the records of their calls.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<kept::All>),
        handler: |parts, asked| Box::pin(kept::list(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/answers",
        operation: Some("answer_keep"),
        summary: "Approves an answer of a model: it is given again to the same prompt, where no \
                  model answers, to whom may do the same. Not by who has asked for it.",
        parameters: &[member("call", Form::Call, "The call that it was the answer to."), REASON],
        answer: AnswerForm::Json(answers::schema_of::<kept::One>),
        handler: |parts, asked| Box::pin(kept::keep(parts, asked)),
    },
    Route {
        method: Method::Delete,
        path: "/v1/answers/{call}",
        operation: Some("answer_forget"),
        summary: "Forgets an answer that is kept.",
        parameters: &[path("call", Form::Call, "The call that it was the answer to.")],
        answer: AnswerForm::Json(answers::schema_of::<kept::Forgotten>),
        handler: |parts, asked| Box::pin(kept::forget(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/oversight/runs",
        operation: Some("runs_read_all"),
        summary: "The runs of everybody, the newest first: whose they are and how they stand, \
                  without what was asked and said.",
        parameters: &[
            query("tenant", TENANT, "Of one tenant; of all if absent. Policies see it either way."),
            query("before", Form::Call, "Where to go on: `next` of the page before."),
            query("max", Form::Integer { min: 1, max: 256 }, "How many."),
        ],
        answer: AnswerForm::Json(answers::all_runs),
        handler: |parts, asked| Box::pin(runs::list_all(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/oversight/runs/{run}",
        operation: Some("runs_read_all"),
        summary: "A run of anybody's: where it is, what it waits for, what it has used. Decided \
                  with its tenant, environment, subject, agent and task. What was asked and said \
                  is in the traces of its calls.",
        parameters: &[RUN],
        answer: AnswerForm::Json(answers::any_run),
        handler: |parts, asked| Box::pin(runs::show_any(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/oversight/runs/{run}/cancel",
        operation: Some("run_cancel_any"),
        summary: "Has a run of anybody's end, and those within it, as soon as what is under way is \
                  recorded. Decided with the same.",
        parameters: &[RUN, REASON],
        answer: AnswerForm::Json(answers::any_run),
        handler: |parts, asked| Box::pin(runs::cancel_any(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources",
        operation: Some("sources_read"),
        summary: "The sources of documents that the bundle registers, and how they stand.",
        parameters: &[query(
            "tenant",
            TENANT,
            "Of one tenant; of all if absent. Policies see it either way.",
        )],
        answer: AnswerForm::Json(answers::schema_of::<sources::All>),
        handler: |parts, asked| Box::pin(sources::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources/{source}",
        operation: Some("sources_read"),
        summary: "One of them, with the quality report of its newest snapshot and what people have \
                  shared. This and what follows is decided with the source's tenant.",
        parameters: &[SOURCE],
        answer: AnswerForm::Json(answers::schema_of::<sources::Shown>),
        handler: |parts, asked| Box::pin(sources::show(parts, asked)),
    },
    Route {
        method: Method::Delete,
        path: "/v1/sources/{source}",
        operation: Some("source_forget"),
        summary: "Forgets what the gate has of a source: its documents, snapshots and pins, and \
                  what people have shared. If the bundle registers it, it is read anew.",
        parameters: &[SOURCE],
        answer: AnswerForm::Json(answers::schema_of::<sources::Done>),
        handler: |parts, asked| Box::pin(sources::forget(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{source}/run",
        operation: Some("source_run"),
        summary: "Has a source run, and answers with the run: if one waits or is under way, with \
                  that. With `permissions`, who may see what is told anew, and in force when this \
                  is answered.",
        parameters: &[
            SOURCE,
            may("part", Form::Word(&sources::PARTS), "What is read; all of it if absent."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<sources::Begun>),
        handler: |parts, asked| Box::pin(sources::run(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources/{source}/events",
        operation: Some("sources_read"),
        summary: "How a source stands, as it changes, until a run is over (the event `ended`), or \
                  for ten minutes.",
        parameters: &[SOURCE, query("run", INDEX, "The run; the last one if absent.")],
        answer: AnswerForm::Events("How it stands, as in `standing`."),
        handler: |parts, asked| Box::pin(sources::events(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources/{source}/uses",
        operation: Some("source_uses_read"),
        summary: "What a document, or all of a source, has fed, from the record: the calls whose \
                  answers have shown it, by session, newest first, and what these sessions did \
                  in the two days after. It is kept for 90 days. A source that the bundle does \
                  not register is looked for in the tenant of whoever asks.",
        parameters: &[
            SOURCE,
            query("document", DOCUMENT, "The document's id there; all of the source if absent."),
            query("before", Form::Call, "The `next` of the answer before; the newest if absent."),
            query(
                "max",
                Form::Integer { min: 1, max: sources::uses::USES_MAX },
                "How many calls that have shown something; 20 if absent.",
            ),
        ],
        answer: AnswerForm::Json(answers::schema_of::<sources::Uses>),
        handler: |parts, asked| Box::pin(sources::uses::uses(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources/{source}/snapshots",
        operation: Some("sources_read"),
        summary: "The snapshots of a source, the newest first.",
        parameters: &[SOURCE],
        answer: AnswerForm::Json(answers::schema_of::<sources::Snapshots>),
        handler: |parts, asked| Box::pin(sources::snapshots(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/sources/{source}/compare/{from}/{to}",
        operation: Some("sources_read"),
        summary: "In which documents one published snapshot differs from another.",
        parameters: &[
            SOURCE,
            path("from", INDEX, "The earlier one."),
            path("to", INDEX, "The later one."),
        ],
        answer: AnswerForm::Json(answers::schema_of::<sources::Compared>),
        handler: |parts, asked| Box::pin(sources::compare(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{source}/snapshots/{snapshot}/pin",
        operation: Some("source_pin"),
        summary: "Keeps a published snapshot, for tasks that name it and for going back.",
        parameters: &[
            SOURCE,
            SNAPSHOT,
            may("name", Form::Text { bytes_max: ID_BYTES_MAX }, "What it is to be called."),
            REASON,
        ],
        answer: AnswerForm::Json(answers::schema_of::<sources::Done>),
        handler: |parts, asked| Box::pin(sources::pin(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{source}/snapshots/{snapshot}/unpin",
        operation: Some("source_pin"),
        summary: "Keeps a snapshot no longer than others. One that a task names stays.",
        parameters: &[SOURCE, SNAPSHOT, REASON],
        answer: AnswerForm::Json(answers::schema_of::<sources::Done>),
        handler: |parts, asked| Box::pin(sources::unpin(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{source}/snapshots/{snapshot}/roll-back",
        operation: Some("source_roll_back"),
        summary: "Has what a published snapshot had serve again, as a new one. Permissions do not \
                  go back.",
        parameters: &[SOURCE, SNAPSHOT, REASON],
        answer: AnswerForm::Json(answers::schema_of::<sources::RolledBack>),
        handler: |parts, asked| Box::pin(sources::roll_back(parts, asked)),
    },
    Route {
        method: Method::Post,
        path: "/v1/sources/{source}/permissions",
        operation: Some("source_share"),
        summary: "Shares a folder or document with somebody, or keeps it from them, beside what \
                  its source says. In force when this is answered.",
        parameters: &[
            SOURCE,
            member("how", Form::Word(&sources::HOW), "`unshare` takes back either."),
            member(
                "place",
                Form::Text { bytes_max: PLACE_BYTES_MAX },
                "The whole path of a folder, or the id of a document; `.` is all of it.",
            ),
            member(
                "readers",
                Form::Text { bytes_max: 4096 },
                "`everyone`, `user:<subject>`, `group:<group>`, with commas between.",
            ),
            REASON,
        ],
        answer: AnswerForm::Json(answers::schema_of::<sources::Said>),
        handler: |parts, asked| Box::pin(sources::share(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/operations",
        operation: Some("operations_read"),
        summary: "Every operation the bundle knows.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<operations::Operations>),
        handler: |parts, asked| Box::pin(operations::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/operations/differences",
        operation: Some("operations_read"),
        summary: "What upstreams offer now that is not what was accepted: changed, new, gone.",
        parameters: &[],
        answer: AnswerForm::Json(answers::schema_of::<operations::Differences>),
        handler: |parts, asked| Box::pin(operations::differences(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/operations/offered",
        operation: Some("operations_read"),
        summary: "What upstreams offer now: whole definitions, what was found in them, and why \
                  some are quarantined.",
        parameters: &[query("upstream", Form::Text { bytes_max: 256 }, "Of one upstream only.")],
        answer: AnswerForm::Json(offers::schema),
        handler: |parts, asked| Box::pin(offers::list(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/ledger/logs",
        operation: Some("checkpoint_read"),
        summary: "The logs of this node: its own, and those of tenants. Policies see no `tenant`.",
        parameters: &[query("after", TENANT, "Only those of tenants after this one.")],
        answer: AnswerForm::Json(answers::schema_of::<ledger::Logs>),
        handler: |parts, asked| Box::pin(ledger::logs(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/ledger/checkpoint",
        operation: Some("checkpoint_read"),
        summary: "The signed head of a log, over every entry there is. Lets the same identity \
                  read tiles up to it for five minutes without each read being a record.",
        parameters: &[WHOSE],
        answer: AnswerForm::Text("A C2SP checkpoint."),
        handler: |parts, asked| Box::pin(ledger::checkpoint(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/ledger/key",
        operation: Some("checkpoint_read"),
        summary: "The verifier key of a log. Who verifies should have it another way.",
        parameters: &[WHOSE],
        answer: AnswerForm::Text("A C2SP signed-note verifier key."),
        handler: |parts, asked| Box::pin(ledger::key(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/ledger/tile/{*path}",
        operation: Some("checkpoint_read"),
        summary: "A tile or entry bundle of a log. Without a checkpoint read before it, or \
                  beyond that, it is decided and recorded as one.",
        parameters: &[
            path(
                "path",
                Form::TilePath { bytes_max: ledger::TILE_PATH_BYTES_MAX },
                "What follows `tile/` in C2SP tlog-tiles, slashes included: `0/x001/234.p/5`.",
            ),
            WHOSE,
        ],
        answer: AnswerForm::Octets("A tile, or an entry bundle."),
        handler: |parts, asked| Box::pin(ledger::tile(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/ledger/proof/{index}",
        operation: Some("checkpoint_read"),
        summary: "The proof of one entry, with the entry, under a checkpoint of now.",
        parameters: &[path("index", INDEX, "The entry's index in its log."), WHOSE],
        answer: AnswerForm::Text("A C2SP tlog-proof."),
        handler: |parts, asked| Box::pin(ledger::proof(parts, asked)),
    },
    Route {
        method: Method::Get,
        path: "/v1/openapi.json",
        operation: None,
        summary: "This description.",
        parameters: &[],
        answer: AnswerForm::Json(answers::any_object),
        handler: |parts, asked| Box::pin(openapi::describe(parts, asked)),
    },
];
