//! The words that rules are made of, by what they do in a sentence.
//!
//! Many words have several roles. A word that ends in `*` stands for all that begin so; such
//! beginnings have four, five or six letters. Words are as they read after folding: no accents.

use crate::words::{Word, hash_of};
use std::sync::LazyLock;

/// What a word may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[rustfmt::skip]
pub(super) enum Role {
    // Orders to leave something aside.
    Override, Not, Follow, Prior, Every, Before, Said,
    // What orders are about.
    Order, Prompt, Task, New, Real, Limits,
    // Who speaks, who reads.
    Machine, You, User, Me, Authority, Message, From, Signed, Dear, Reads, This,
    // When to do it.
    Ahead, Then, First, Do, Instead, Given,
    // What to do with it.
    Tell, Without, Unseen, Send, Reveal, Secret,
    // Who to be.
    Act, Are, Now, On, Mode, ModeName, PlainMode, Free, Unbound, Any, Bound, Refuse, Character,
    Stay, Break,
    // Marks.
    Tag, Speaker, Important, If, For, Anything,
}

impl Role {
    pub(super) const fn bit(self) -> u64 {
        1 << self as u64
    }
}

use Role as R;

#[rustfmt::skip]
const WORDS: &[(Role, &str)] = &[
    (R::Override, "ignor* disre* forget forgets forgetting override overrides overriding overwrite \
        bypass bypassing neglect abandon discard dismiss skip erase vergiss vergesse vergessen \
        missac* olvid* oublie* diment* esquec* negli* omit supersede supersedes circumvent \
        forgo unlearn игнор* забуд* ignoruj zapomn*"),
    (R::Not, "not dont never no cannot cant doesnt wont nicht kein nunca jamais niemals avoid \
        refrain must"),
    (R::Follow, "follow follows following obey listen adhere comply heed"),
    (R::Prior, "previ* prior above earlier preced* foregoing initial original initially system \
        former past existing vorhe* obigen bisher* obige anter* prece* iniciales prima iniziali \
        предыд* poprze* old developer"),
    (R::Every, "all any every everything your those these other others alle alles allen todas todo \
        todos toutes tout tutte tutto whatever anything deine deinen ihre tus vos sus \
        все jegliche"),
    (R::Before, "before above prior previously previ* earlier far now preceding davor zuvor bisher \
        antes avant prima"),
    (R::Said, "said told given wrote learned learnt received asked gesagt dicho written provided \
        mentioned"),
    (R::Order, "instruction instructions prompt prompts rule rules directive directives guideline \
        guidelines orders order commands command context training programming constraints \
        restrictions safeguards anweis* befehl befehle aufgabe aufgaben auftr* konver* inform* \
        instrucciones instruccion consignes istru* instru* ordenes reglas regeln vorgaben messages \
        statements text tasks assignments task assignment request requests query question policy \
        policies filter filters protocols protocol programmed thoughts data conversation \
        инстр* polec* indicaciones"),
    (R::Prompt, "prompt prompts instruction instructions message messages directives rules \
        prompttext anweisungen configuration guidelines"),
    (R::Task, "task tasks request requests query question job assignment aufgabe aufgaben \
        objective \
        goal tarea work workflow answer action operation"),
    (R::New, "new neue neuen nueva nuevas nouvelle nuovo updated additional real actual true \
        urgent special main only next primary following"),
    (R::Real, "real actual true sole primary main only new next current"),
    (R::Limits, "restri* limit* filter filters censo* guidel* bounda* ethic* moral* rules \
        guardr* safeg* constr* policies policy rules laws inhibi*"),
    (R::Machine, "ai assistant assistants llm llms chatbot chatbots gpt chatgpt bot model models \
        agent agents copilot ki sprachmodell asistente assistente ia gpt3 gpt4 bing bard"),
    (R::You, "you your youre yourself du sie dich dir ihr tu te vous usted thou ты вы youll"),
    (R::User, "user users human humans owner operator customer client anyone anybody person \
        people nobody them benutzer nutzer usuario utilis* someone"),
    (R::Me, "me i im my ich mir we us our"),
    (R::Authority, "user admin administrator developer developers dev system owner operator \
        creator creators management security me us openai anthropic provider boss supervisor root \
        team engineer"),
    (R::Message, "message note notice instruction instructions request communication memo update \
        announcement alert command nachr* mensa*"),
    (R::From, "from by von de"),
    (R::Signed, "signed sincerely"),
    (R::Dear, "dear attention attn note hey hello notice memo listen achtung atencion reminder \
        instruction instructions message important"),
    (R::Reads, "reading reads read processing process processes parsing parse summarizing \
        summarize analyzing analyze handling receiving seeing see viewing"),
    (R::This, "this these diese dieses dies here following email document page text message"),
    (R::Ahead, "before prior first bevor antes avant ahead prerequisite"),
    (R::Then, "after afterwards once then upon when nachdem despues apres"),
    (R::First, "first must need needs required please should necessary immediately following \
        zuerst primero"),
    (R::Do, "solve complete continue answer proceed finish respond resume fulfil fulfill perform \
        execute accomplish do doing completing answering proceeding solving complying help \
        carry address return reply responding"),
    (R::Instead, "instead statt stattdessen rather"),
    (R::Given, "gave give given assigned asked told requested wants wanted"),
    (R::Tell, "tell telling mention mentioning reveal revealing inform informing show notify \
        notifying alert alerting disclose disclosing let letting report reporting ask asking \
        discuss explain confirm confirmation say warn"),
    (R::Without, "without ohne sin sans senza"),
    (R::Unseen, "secretly silently quietly covertly discreetly stealthily heimlich invisibly"),
    (R::Send, "send sending forward forwarding email mail post upload transmit leak exfil* submit \
        share deliver sende schicke envia envoyer include append copy write add encode"),
    (R::Reveal, "reveal revealing print show repeat output display leak expose dump disclose \
        recite write return give tell what spell summarize translate share echo list state \
        provide zeige nenne"),
    (R::Secret, "passw* crede* secret secrets token tokens apikey api keys private ssh \
        conversation history transcript cookies cookie env contents confidential sensitive"),
    (R::Act, "act pretend roleplay impersonate simulate emulate behave play playing imitate \
        acting assume become embody respond agiere tue"),
    (R::Are, "are will are shall bist seid eres es"),
    (R::Now, "now henceforth hereby onwards onward jetzt ahora desormais"),
    (R::On, "on forward onwards onward ab"),
    (R::Mode, "mode modus modo mod"),
    (R::ModeName, "dan god jailbreak jailbroken unrestricted unlocked evil opposite unfiltered \
        uncensored chaos dude"),
    (R::PlainMode, "developer debug admin root maintenance sudo dev"),
    (R::Free, "unfil* uncens* amoral immoral unethical unrestricted jailbroken evil \
        unbound unmoderated lawless nonrestricted"),
    (R::Unbound, "no without any free freed freely zero none bypass lacks break breaking beyond \
        ignores ignoring despite regardless"),
    (R::Any, "any all no longer ai the its of from by typical usual"),
    (R::Bound, "bound restricted limited constrained restrained abide confined subject"),
    (R::Refuse, "refuse refuses refusing decline apologize apologise warn warnings disclaimer \
        disclaimers reject deny"),
    (R::Character, "character persona role"),
    (R::Stay, "stay remain staying break keep leave in"),
    (R::Break, "broken break breaks free"),
    (R::Tag, "important information info instruction instructions system admin urgent attention \
        override secret hidden command commands directive task priority alert inst sys im prompt \
        user assistant note critical start"),
    (R::Speaker, "system assistant human admin developer"),
    (R::Important, "important attention urgent warning critical stop wichtig achtung"),
    (R::If, "if wenn si falls"),
    (R::For, "for to an fur an para pour"),
    (R::Anything, "anything everything whatever"),
];

/// Slots of a table: a power of two, several times the number of words.
const SLOTS: usize = 4096;
/// Bits that tell at a glance that a word is in no table, as words of 64.
const GLANCE: usize = 1024;

/// Roles by hash: open addressing, an empty slot ends a search.
struct Lexicon {
    whole: Vec<(u32, u64)>,
    stems: Vec<(u32, u64)>,
    glance: Vec<u64>,
}

static LEXICON: LazyLock<Lexicon> = LazyLock::new(|| {
    let empty = || vec![(0, 0); SLOTS];
    let mut lexicon = Lexicon { whole: empty(), stems: empty(), glance: vec![0; GLANCE] };
    for (role, words) in WORDS {
        for word in words.split_whitespace() {
            let stem = word.strip_suffix('*');
            let hash = hash_of(stem.unwrap_or(word).as_bytes());
            let table = if stem.is_some() { &mut lexicon.stems } else { &mut lexicon.whole };
            insert(table, hash, role.bit());
            let (at, bit) = glance(hash);
            if let Some(slot) = lexicon.glance.get_mut(at) {
                *slot |= bit;
            }
        }
    }
    lexicon
});

fn index(hash: u32) -> usize {
    usize::try_from(hash).unwrap_or(0)
}

fn glance(hash: u32) -> (usize, u64) {
    (index(hash >> 16 ^ hash) / 64 % GLANCE, 1 << (hash % 64))
}

fn slots(hash: u32) -> impl Iterator<Item = usize> {
    let first = index(hash ^ (hash >> 15));
    (0..SLOTS).map(move |step| (first + step) % SLOTS)
}

fn insert(table: &mut [(u32, u64)], hash: u32, roles: u64) {
    for at in slots(hash) {
        if let Some(slot) = table.get_mut(at)
            && (slot.1 == 0 || slot.0 == hash)
        {
            *slot = (hash, slot.1 | roles);
            return;
        }
    }
}

fn look_up(table: &[(u32, u64)], hash: u32) -> u64 {
    for at in slots(hash) {
        match table.get(at) {
            Some((found, roles)) if *roles != 0 => {
                if *found == hash {
                    return *roles;
                }
            }
            _ => return 0,
        }
    }
    0
}

/// Every role that a word may have.
pub(super) fn roles(word: &Word) -> u64 {
    let lexicon = &*LEXICON;
    let is_there = |hash: u32| {
        let (at, bit) = glance(hash);
        lexicon.glance.get(at).is_some_and(|slot| slot & bit != 0)
    };
    let mut roles = 0;
    if is_there(word.hash) {
        roles |= look_up(&lexicon.whole, word.hash);
    }
    for stem in word.stems {
        if is_there(stem) {
            roles |= look_up(&lexicon.stems, stem);
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Words;

    fn has(word: &str, role: Role) -> bool {
        roles(&Words::of(word).next().unwrap()) & role.bit() != 0
    }

    #[test]
    fn words_have_the_roles_of_the_table() {
        assert!(has("ignore", R::Override) && has("Ignoring", R::Override));
        assert!(has("IGNORIERE", R::Override) && !has("ignition", R::Override));
        assert!(has("instructions", R::Order) && has("instructions", R::Prompt));
        assert!(!has("banana", R::Order) && roles(&Words::of("banana").next().unwrap()) == 0);
    }

    #[test]
    fn beginnings_have_a_length_that_words_carry_and_the_table_has_room() {
        let mut count = 0;
        for word in WORDS.iter().flat_map(|(_, words)| words.split_whitespace()) {
            count += 1;
            if let Some(stem) = word.strip_suffix('*') {
                assert!((4..=6).contains(&stem.chars().count()), "{word}");
            }
        }
        assert!(count * 3 < SLOTS, "{count}");
        assert!((R::Anything as u64) < 64);
    }
}
