//! Faults that are put in on purpose, to see that the crash explorer finds them.
//!
//! Without the feature `faults`, which nothing that is released switches on (`cargo xtask tidy`
//! looks), no store has one and every question here is answered with no by the compiler. The
//! places that ask are those that keep the promise which the fault breaks.

/// What a store, or the kernel on it, does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// An outcome is acknowledged before the disk has it.
    AnswersEarly,
    /// A permit is given before the disk has the intent.
    PermitsEarly,
    /// A checkpoint is signed before the disk has what it covers.
    SignsEarly,
    /// The key is taken with the outcome, not in the intent's transaction.
    TakesKeyLate,
    /// What a call takes of caps is reserved with the outcome, not in the intent's transaction.
    ReservesLate,
    /// A start leaves what an unclean end left open.
    LeavesOpen,
    /// A start gives what was open its outcome, and forgets that it is in doubt.
    ForgetsDoubt,
    /// A start gives what was open its outcome, and keeps its places among the calls under way.
    KeepsPlaces,
    /// That an attempt failed is taken to say that the effect did not happen.
    BelievesFailure,
    /// What is opaque is sent again.
    ResendsOpaque,
    /// Another key goes with another attempt at the same effect.
    KeysAfresh,
    /// What a lookup does not find is taken for what will not come.
    BelievesAbsence,
}

impl Fault {
    /// Every one.
    pub const ALL: [Self; 12] = [
        Self::AnswersEarly,
        Self::PermitsEarly,
        Self::SignsEarly,
        Self::TakesKeyLate,
        Self::ReservesLate,
        Self::LeavesOpen,
        Self::ForgetsDoubt,
        Self::KeepsPlaces,
        Self::BelievesFailure,
        Self::ResendsOpaque,
        Self::KeysAfresh,
        Self::BelievesAbsence,
    ];
}

/// The fault that a store has, if it has one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    #[cfg(feature = "faults")]
    seeded: Option<Fault>,
}

impl Faults {
    /// As it should be.
    #[cfg(not(feature = "faults"))]
    pub const NONE: Self = Self {};
    /// As it should be.
    #[cfg(feature = "faults")]
    pub const NONE: Self = Self { seeded: None };

    /// With this fault.
    #[cfg(feature = "faults")]
    pub const fn seeded(fault: Fault) -> Self {
        Self { seeded: Some(fault) }
    }

    /// Whether it is this one.
    #[cfg(feature = "faults")]
    pub fn is(self, fault: Fault) -> bool {
        self.seeded == Some(fault)
    }

    /// Whether it is this one.
    #[cfg(not(feature = "faults"))]
    pub const fn is(self, _: Fault) -> bool {
        false
    }
}
