//! Words that speak to the model instead of describing a tool, as regular expressions over text as
//! it reads: small letters, one blank for many. Parts that belong together stand in one sentence.

use super::Class;
use regex::Regex;
use std::sync::LazyLock;

/// The patterns are constants: a pattern that did not compile would find nothing, which a test
/// would show.
pub(super) static PATTERNS: LazyLock<Vec<(Class, Option<Regex>)>> = LazyLock::new(|| {
    let compiled = |(class, text): &(Class, &str)| (*class, Regex::new(text).ok());
    SPOKEN.iter().map(compiled).collect()
});

// tidy: allow line-length: a table reads better with one row per pattern
const SPOKEN: &[(Class, &str)] = &[
    (Class::Comment, r"<!--|\[//\]:|\[comment\]:"),
    (
        Class::Markup,
        r"</?\s*(important|system|instructions?|secret|hidden|critical|assistant|admin|override)\s*/?>|<\|[a-z_]+\|>|\[/?inst\]|<</?sys>>|\[(system|assistant)\]|#{2,} ?(system|instruction)s? ?:",
    ),
    (
        Class::Override,
        r"\b(ignore|disregard|forget|override|bypass)\b[^.]{0,40}?\b(previous|prior|above|earlier|preceding|all|any|other|existing|your|system)\b[^.]{0,40}?\b(instructions?|rules?|prompts?|guidelines|polic(y|ies)|directives|restrictions|guardrails)\b",
    ),
    (
        Class::Conceal,
        r"\b(do not|don'?t|never|must not|should not|shouldn'?t|without|avoid)\b[^.]{0,30}?\b(tell(ing)?|mention(ing)?|inform(ing)?|reveal(ing)?|disclos(e|ing)|notify(ing)?|alert(ing)?|let(ting)?|show(ing)?)\b[^.]{0,40}?\b(users?|humans?|persons?|people|anyone|anybody|them|him|her)\b",
    ),
    (Class::Conceal, r"\b(keep|hide|conceal)\b[^.]{0,50}?\bfrom the (user|human|person)"),
    (
        Class::Conceal,
        r"\b(users?|humans?) (must|should|may|can|does|do|will|need)( ?not|n'?t) (be told|know|see|notice|be aware|be informed|to know)",
    ),
    (
        Class::CredentialFile,
        r"~?/?\.ssh\b|\bid_(rsa|dsa|ecdsa|ed25519)\b|\.aws/(credentials|config)|\bclaude_desktop_config|\.cursor/|\.codeium/|/etc/(passwd|shadow|sudoers)|\.netrc\b|\.kube/config|\.git-credentials|\.bash_history|\.gnupg\b|\.docker/config|/proc/self/environ",
    ),
    (Class::SecretFile, r"(^|[\s`'/(\x22])\.env\b|\bmcp\.json\b|\.npmrc\b|\.pypirc\b|\bkeychain\b"),
    (
        Class::BeforeOthers,
        r"\bbefore (using|calling|invoking|running|executing|you (use|call|invoke|run))\b[^.]{0,20}?\b(any|other|another|every|all|each)\b[^.]{0,30}?\b(tools?|functions?|calls?|servers?)\b",
    ),
    (
        Class::BeforeOthers,
        r"\bbefore (using|calling|invoking|running|executing|you (use|call|invoke|run)) (this|the|it)\b[^.]{0,60}?\b(read|pass|send|include|open|access|upload|copy|provide)\b[^.]{0,60}?(\bcontents?\b|\bfiles?\b|/|\bconfig|\bkeys?\b|\bcredentials?\b|\bsecrets?\b|\btokens?\b)",
    ),
    (
        Class::CallFirst,
        r"\b(always|must|should|need to|have to)\b[^.]{0,20}?\b(call|use|invoke|run)\b[^.]{0,30}?\b(first|before)\b",
    ),
    (
        Class::CallFirst,
        r"\bbefore (using|calling|invoking|running) (this|the|it)\b[^.]{0,40}?\b(call|use|invoke|run|read)\b",
    ),
    (
        Class::Shadowing,
        r"\bwhen(ever)?\b[^.]{0,20}?\b(tool|function)\b[^.]{0,40}?\b(is|are|gets) (available|called|used|invoked|present|run)\b[^.]{0,120}?\b(must|should|always|has to|have to|need|instead|never|change|replace|set|send|add)\b",
    ),
    (
        Class::Shadowing,
        r"\bwhen(ever)?\b (you )?(call|us|invok|run)(e|ing)?\b[^.]{0,20}?\bother (tools?|functions?|servers?)\b|\bwhen(ever)? [`'\x22]?[a-z0-9]+[_-][a-z0-9_-]+[`'\x22]?( tool)? is (available|called|used|invoked|present)",
    ),
    (
        Class::Shadowing,
        r"\b(all|any|every|each) (e-?mails?|messages?|mails?|payments?|transfers?|transactions?|notifications?|requests?)\b[^.]{0,60}?\b(must|should|has to|have to|need to|shall) (also )?(be sent|be (addressed|forwarded|routed|redirected|copied)|go|include|use)\b",
    ),
    (
        Class::Conversation,
        r"\b(entire|full|complete|whole|all of the|all the|all previous|raw|verbatim|exact|contents? of the|copy of the|details? of the)\b[^.]{0,20}?\b(conversation|chat|dialog(ue)?|message history|system prompt|system message|context window|chain of thought)\b",
    ),
    (
        Class::Conversation,
        r"\b(pass|include|provide|send|insert|put|give|attach|append|repeat|print|output)\b[^.]{0,40}?\b(system prompt|conversation (history|so far)|chat history|previous messages|chain of thought)\b",
    ),
    (Class::SystemPrompt, r"\bsystem (prompt|message)\b"),
    (
        Class::SendsAway,
        r"\b(send|post|forward|upload|transmit|exfiltrate|leak|copy|report|submit|append|bcc|deliver)\b[^.]{0,60}?\b(conversation|credentials?|keys?|tokens?|secrets?|passwords?|history|everything|contents?|results?|data|output|messages?|files?|it|them|this|that|environment variables?)\b[^.]{0,60}?\bto:? [^\s]{0,3}(https?://|[a-z0-9.-]+@)",
    ),
    (
        Class::Threat,
        r"\b(otherwise|or else|if you (do not|don'?t|fail))\b[^.]{0,60}?\b((not|won'?t|never) (work|function|be able)|be (terminated|blocked|suspended|punished|shut down|deleted)|lose|break|crash)\b",
    ),
    (
        Class::AddressesModel,
        r"\b(you are (now )?an? (helpful |ai |an? )?(assistant|ai|model|agent|bot)|as an ai\b|(the |any |every )?(assistant|llm|language model|ai agent|ai model) (must|should always|shall|has to|needs to|is required to))\b",
    ),
];
