//! A report as JUnit writes it: a test case for every episode, or for every question.

/// One episode or question.
pub(crate) struct Case {
    /// `benign` or `attack`; `case` or `counterfactual`.
    pub(crate) class: &'static str,
    pub(crate) name: String,
    /// What went wrong.
    pub(crate) failure: Option<String>,
}

/// The whole document.
pub(crate) fn document(suite: &str, cases: &[Case]) -> String {
    let failures = cases.iter().filter(|case| case.failure.is_some()).count();
    let mut out = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuite name=\"{suite}\" tests=\"{}\" failures=\"{failures}\">\n",
        cases.len()
    );
    for case in cases {
        let (class, name) = (case.class, escaped(&case.name));
        out.push_str(&format!("  <testcase classname=\"{class}\" name=\"{name}\""));
        match &case.failure {
            Some(why) => {
                let why = escaped(why);
                out.push_str(&format!("><failure message=\"{why}\"/></testcase>\n"));
            }
            None => out.push_str("/>\n"),
        }
    }
    out.push_str("</testsuite>\n");
    out
}

/// A text within an attribute. What XML 1.0 has no character for is left out.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(' '),
            c if c < ' ' || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}
