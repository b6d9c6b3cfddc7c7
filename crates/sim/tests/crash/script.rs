//! What a client asks for, and what goes wrong at the upstream besides crashes of the gate.

/// An operation of the upstream, each of another class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tool {
    /// Idempotent: the upstream honours the key.
    Pay,
    /// Queryable: the upstream can be asked for the key.
    Order,
    /// Opaque.
    Letter,
}

impl Tool {
    pub(crate) const ALL: [Self; 3] = [Self::Pay, Self::Order, Self::Letter];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pay => "pay",
            Self::Order => "order",
            Self::Letter => "letter",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.name() == name)
    }
}

/// What the upstream does with the first message of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Luck {
    /// It does it, and says so.
    Good,
    /// It does it, and the answer is lost.
    AnswerLost,
    /// The connection breaks, and it does it later.
    Late,
    /// The same, and what comes again before is refused.
    LateAndBusy,
    /// The connection breaks, and it never does it.
    Lost,
    /// It does not do it, and says so.
    Refused,
}

impl Luck {
    pub(crate) const ALL: [Self; 6] =
        [Self::Good, Self::AnswerLost, Self::Late, Self::LateAndBusy, Self::Lost, Self::Refused];
}

/// One call, repeated by its client until it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) tool: Tool,
    /// What it is for: two asks for the same are one effect.
    pub(crate) n: usize,
    /// Whether the client gives a key; else the arguments are the key.
    pub(crate) has_key: bool,
    pub(crate) luck: Luck,
    /// Microseconds that pass after it was answered.
    pub(crate) pause_us: i64,
}

/// What a client asks for, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) asks: Vec<Ask>,
    /// Whether all of it is asked for at once, and not one after the other.
    pub(crate) is_at_once: bool,
    /// Whether the write-ahead log has a size before the first call, as in a gate under load.
    pub(crate) has_grown_wal: bool,
}

/// Less than what makes the committer sign.
const SHORT_US: i64 = 300_000;
/// More.
const LONG_US: i64 = 2_000_000;

const fn ask(tool: Tool, n: usize, has_key: bool, luck: Luck) -> Ask {
    Ask { tool, n, has_key, luck, pause_us: SHORT_US }
}

/// Every script: each call alone with every luck, every two and three of different classes, what
/// is asked for twice, and some at once.
pub(crate) fn scripts() -> Vec<Script> {
    let in_turn = alone().into_iter().chain(pairs()).chain(more());
    let in_turn = in_turn.map(|asks| (asks, false));
    let scripts = in_turn.chain(at_once().into_iter().map(|asks| (asks, true))).enumerate();
    let script = |(at, (asks, is_at_once)): (usize, (Vec<Ask>, bool))| {
        let has_grown_wal = at.is_multiple_of(4);
        Script { asks, is_at_once, has_grown_wal }
    };
    scripts.map(script).collect()
}

fn alone() -> Vec<Vec<Ask>> {
    let mut scripts = Vec::new();
    for tool in Tool::ALL {
        for luck in Luck::ALL {
            scripts.extend([true, false].map(|has_key| vec![ask(tool, 1, has_key, luck)]));
        }
    }
    scripts
}

fn pairs() -> Vec<Vec<Ask>> {
    let mut scripts = Vec::new();
    for first in Tool::ALL {
        for second in Tool::ALL {
            for luck in [Luck::Good, Luck::AnswerLost, Luck::Late] {
                let long = Ask { pause_us: LONG_US, ..ask(first, 1, true, luck) };
                scripts.push(vec![long, ask(second, 2, false, Luck::Good)]);
            }
        }
    }
    scripts
}

fn more() -> Vec<Vec<Ask>> {
    let mut scripts = Vec::new();
    for (tool, second, third) in [
        (Tool::Pay, Tool::Order, Tool::Letter),
        (Tool::Order, Tool::Letter, Tool::Pay),
        (Tool::Letter, Tool::Pay, Tool::Order),
    ] {
        for luck in [Luck::Good, Luck::Lost] {
            let (asked, other) = (ask(tool, 1, true, luck), ask(Tool::Pay, 2, true, Luck::Good));
            scripts.push(vec![asked, other, Ask { pause_us: LONG_US, ..asked }]);
        }
        let first_two = [ask(tool, 1, false, Luck::Good), ask(second, 2, true, Luck::Late)];
        scripts.push(first_two.into_iter().chain([ask(third, 3, true, Luck::Good)]).collect());
    }
    scripts
}

/// These share commits and waits for the disk, so that places may come in another order each time.
fn at_once() -> Vec<Vec<Ask>> {
    let mut scripts = Vec::new();
    for tool in Tool::ALL {
        for luck in [Luck::Good, Luck::AnswerLost] {
            let asked = ask(tool, 1, true, luck);
            scripts.push(vec![asked, asked]);
            scripts.push(vec![asked, ask(Tool::Order, 2, false, Luck::Good)]);
        }
    }
    let all = [(Tool::Pay, 1), (Tool::Order, 2), (Tool::Letter, 3)];
    let all = |luck| all.map(|(tool, n)| ask(tool, n, true, luck)).to_vec();
    scripts.extend([Luck::Good, Luck::Late, Luck::Lost].map(all));
    scripts
}
