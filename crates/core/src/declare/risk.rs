//! `[risk]`: what is held against a session or tenant, and what follows.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is held against sessions, and against the tenant as a whole, and which mode follows. With
/// this section the gate tightens by itself; without it only people do.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Risk {
    /// Seconds after which half of a score is forgotten.
    #[schemars(range(min = 1, max = 2592000))]
    pub half_life_s: u32,
    /// How far a score has to be below the one that tightened before a timer loosens.
    #[schemars(range(min = 0, max = 1000))]
    pub hysteresis: u32,
    /// From which score each mode holds. 0: none does.
    pub enter: Enter,
    /// How many seconds each mode lasts at least before a timer loosens it.
    pub stay_s: Stay,
    /// How many points each class adds.
    pub weights: Weights,
    /// How many points signals of single classes add, where it is not `weights.signal`: by class,
    /// or by what stands before its `:`.
    #[schemars(extend("additionalProperties" = {
        "type": "integer", "minimum": 0, "maximum": 1000
    }))]
    pub signals: BTreeMap<String, u32>,
    /// What is unusual.
    pub baseline: BaselineRules,
    /// The same for the tenant as a whole.
    pub tenant: TenantRisk,
}

/// Points of classes that do not count as others: personal data, secrets and links are often where
/// they belong, and what is found about an answer is as often the model's fault as somebody's.
const SIGNALS: [(&str, u32); 4] = [("pii", 0), ("secret", 0), ("link", 0), ("answer", 60)];

impl Default for Risk {
    fn default() -> Self {
        Self {
            half_life_s: 600,
            hysteresis: 100,
            enter: Enter::default(),
            stay_s: Stay::default(),
            weights: Weights::default(),
            signals: SIGNALS.map(|(class, points)| (class.to_owned(), points)).into(),
            baseline: BaselineRules::default(),
            tenant: TenantRisk::default(),
        }
    }
}

/// From which score each mode holds.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Enter {
    /// Everything but reads needs a person.
    #[schemars(range(min = 0, max = 1000))]
    pub approvals: u32,
    /// Reads only.
    #[schemars(range(min = 0, max = 1000))]
    pub read_only: u32,
    /// Nothing.
    #[schemars(range(min = 0, max = 1000))]
    pub locked: u32,
}

impl Default for Enter {
    fn default() -> Self {
        Self { approvals: 250, read_only: 500, locked: 800 }
    }
}

/// How many seconds each mode lasts at least. 0: until a person loosens it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Stay {
    /// In `approvals`.
    #[schemars(range(min = 0, max = 2592000))]
    pub approvals: u32,
    /// In `read_only`.
    #[schemars(range(min = 0, max = 2592000))]
    pub read_only: u32,
    /// In `locked`.
    #[schemars(range(min = 0, max = 2592000))]
    pub locked: u32,
}

impl Default for Stay {
    fn default() -> Self {
        Self { approvals: 900, read_only: 1800, locked: 0 }
    }
}

/// How many points each class adds to a session's score.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Weights {
    /// A signal in a result, times what the detector is sure of in thousandths.
    #[schemars(range(min = 0, max = 1000))]
    pub signal: u32,
    /// A call that no policy permits, or one forbids.
    #[schemars(range(min = 0, max = 1000))]
    pub refused: u32,
    /// Arguments, a statement or a request that the operation does not take.
    #[schemars(range(min = 0, max = 1000))]
    pub malformed: u32,
    /// An argument that came from where it must not.
    #[schemars(range(min = 0, max = 1000))]
    pub provenance: u32,
    /// A cap that is used up.
    #[schemars(range(min = 0, max = 1000))]
    pub limit: u32,
    /// A call that the mode does not allow.
    #[schemars(range(min = 0, max = 1000))]
    pub pressed: u32,
    /// The same call over and over.
    #[schemars(range(min = 0, max = 1000))]
    pub r#loop: u32,
    /// Far more calls or bytes than usual.
    #[schemars(range(min = 0, max = 1000))]
    pub volume: u32,
    /// A destination that was never sent to.
    #[schemars(range(min = 0, max = 1000))]
    pub destination: u32,
    /// An hour of the day at which there usually is nothing.
    #[schemars(range(min = 0, max = 1000))]
    pub hours: u32,
    /// Far more tokens than usual.
    #[schemars(range(min = 0, max = 1000))]
    pub tokens: u32,
    /// A model that says it is not sure.
    #[schemars(range(min = 0, max = 1000))]
    pub uncertain: u32,
    /// Prompts that are nearly the same, over and over.
    #[schemars(range(min = 0, max = 1000))]
    pub probes: u32,
    /// A prompt that asks for something to be said over again, word for word.
    #[schemars(range(min = 0, max = 1000))]
    pub recall: u32,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            signal: 250,
            refused: 60,
            malformed: 15,
            provenance: 150,
            limit: 30,
            pressed: 10,
            r#loop: 60,
            volume: 120,
            destination: 80,
            hours: 60,
            tokens: 80,
            uncertain: 60,
            probes: 80,
            recall: 30,
        }
    }
}

/// What is unusual: measured in windows, against what windows of the same subject and task were
/// like, or where those are too few, windows of the same task.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BaselineRules {
    /// Seconds of a window.
    #[schemars(range(min = 1, max = 86400))]
    pub window_s: u32,
    /// Windows that have to be known before anything is unusual.
    #[schemars(range(min = 3, max = 32))]
    pub windows_min: u32,
    /// How many times the usual spread above the median is unusual.
    #[schemars(range(min = 2, max = 100))]
    pub spread: u32,
    /// How often in a row the same call is a loop. 0: never.
    #[schemars(range(min = 0, max = 1000))]
    pub loop_calls: u32,
    /// How many prompts of one subject in a window that are nearly the same are probes. 0: never.
    #[schemars(range(min = 0, max = 100000))]
    pub probe_calls: u32,
    /// Days after which what nobody does any more is forgotten.
    #[schemars(range(min = 1, max = 3650))]
    pub keep_days: u32,
}

impl BaselineRules {
    /// What holds where the bundle says nothing.
    pub const DEFAULT: Self = Self {
        window_s: 600,
        windows_min: 12,
        spread: 6,
        loop_calls: 8,
        probe_calls: 30,
        keep_days: 90,
    };
}

impl Default for BaselineRules {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What is held against the tenant as a whole.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantRisk {
    /// Seconds after which half of a score is forgotten.
    #[schemars(range(min = 1, max = 2592000))]
    pub half_life_s: u32,
    /// How far a score has to be below the one that tightened before a timer loosens.
    #[schemars(range(min = 0, max = 1000))]
    pub hysteresis: u32,
    /// From which score each mode holds. 0: none does.
    pub enter: TenantEnter,
    /// How many seconds each mode lasts at least before a timer loosens it.
    pub stay_s: TenantStay,
    /// How many points each class adds.
    pub weights: TenantWeights,
}

impl Default for TenantRisk {
    fn default() -> Self {
        Self {
            half_life_s: 300,
            hysteresis: 150,
            enter: TenantEnter::default(),
            stay_s: TenantStay::default(),
            weights: TenantWeights::default(),
        }
    }
}

/// From which score each mode of a tenant holds. As shipped, no score locks a tenant.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantEnter {
    /// Everything but reads needs a person.
    #[schemars(range(min = 0, max = 1000))]
    pub approvals: u32,
    /// Reads only.
    #[schemars(range(min = 0, max = 1000))]
    pub read_only: u32,
    /// Nothing.
    #[schemars(range(min = 0, max = 1000))]
    pub locked: u32,
}

impl Default for TenantEnter {
    fn default() -> Self {
        Self { approvals: 500, read_only: 800, locked: 0 }
    }
}

impl From<TenantEnter> for Enter {
    fn from(it: TenantEnter) -> Self {
        Self { approvals: it.approvals, read_only: it.read_only, locked: it.locked }
    }
}

/// How many seconds each mode of a tenant lasts at least. 0: until a person loosens it.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantStay {
    /// In `approvals`.
    #[schemars(range(min = 0, max = 2592000))]
    pub approvals: u32,
    /// In `read_only`.
    #[schemars(range(min = 0, max = 2592000))]
    pub read_only: u32,
    /// In `locked`.
    #[schemars(range(min = 0, max = 2592000))]
    pub locked: u32,
}

impl Default for TenantStay {
    fn default() -> Self {
        Self { approvals: 600, read_only: 900, locked: 0 }
    }
}

impl From<TenantStay> for Stay {
    fn from(it: TenantStay) -> Self {
        Self { approvals: it.approvals, read_only: it.read_only, locked: it.locked }
    }
}

/// How many points each class adds to the tenant's score.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TenantWeights {
    /// A signal in any session that is held against that session: many are a spike.
    #[schemars(range(min = 0, max = 1000))]
    pub signal: u32,
    /// A loop in any session: many are a storm.
    #[schemars(range(min = 0, max = 1000))]
    pub r#loop: u32,
    /// A circuit breaker that opens: many are instability.
    #[schemars(range(min = 0, max = 1000))]
    pub upstream: u32,
}

impl Default for TenantWeights {
    fn default() -> Self {
        Self { signal: 60, r#loop: 25, upstream: 60 }
    }
}
