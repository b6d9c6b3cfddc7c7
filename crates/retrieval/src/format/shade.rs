//! Whether a style shows anything: what is not displayed, too small, outside of the page, or in the
//! colour of what is behind it.
//!
//! It knows declarations and the simplest of selectors, not the cascade. What a style sheet hides
//! in other ways is shown in the text, where detectors look as well.

use std::collections::BTreeSet;

/// Rules of the style sheets of one document that are looked at.
const RULES_MAX: usize = 10_000;
/// The largest difference of two colours, in each part of them, that nobody sees.
const SAME_MAX: u8 = 24;
/// Pixels that move a text out of the page.
const FAR_PX: i64 = 900;

/// Red, green, blue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Colour(pub(super) [u8; 3]);

impl Colour {
    /// What is behind a text of which nobody says otherwise.
    pub(super) const WHITE: Self = Self([255; 3]);
    /// A text of which nobody says otherwise.
    pub(super) const BLACK: Self = Self([0; 3]);

    /// Whether nobody sees the one on the other.
    pub(super) fn is_like(self, other: Self) -> bool {
        self.0.iter().zip(other.0).all(|(one, two)| one.abs_diff(two) <= SAME_MAX)
    }

    /// Of parts between nought and one.
    pub(super) fn of_parts(parts: [f32; 3]) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
        Self(parts.map(|part| (part.clamp(0.0, 1.0) * 255.0) as u8))
    }

    /// As style sheets write it. `None`: not one that is known here.
    pub(super) fn read(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        if let Some(digits) = text.strip_prefix('#') {
            return Self::of_digits(digits);
        }
        if let Some(parts) = text.strip_prefix("rgb") {
            let parts = parts.trim_start_matches('a').trim_matches(['(', ')', ' ']);
            let mut parts = parts.split([',', ' ', '/']).filter(|part| !part.is_empty());
            let mut next = || parts.next()?.parse::<u8>().ok();
            return Some(Self([next()?, next()?, next()?]));
        }
        Some(Self(match text.as_str() {
            "white" => [255, 255, 255],
            "black" => [0, 0, 0],
            "snow" => [255, 250, 250],
            "ivory" => [255, 255, 240],
            "ghostwhite" => [248, 248, 255],
            "whitesmoke" => [245, 245, 245],
            "red" => [255, 0, 0],
            "green" => [0, 128, 0],
            "blue" => [0, 0, 255],
            "yellow" => [255, 255, 0],
            "gray" | "grey" => [128, 128, 128],
            "lightgray" | "lightgrey" => [211, 211, 211],
            "silver" => [192, 192, 192],
            _ => return None,
        }))
    }

    fn of_digits(digits: &str) -> Option<Self> {
        let digit = |at: usize| {
            let character = digits.get(at..=at)?;
            u8::from_str_radix(character, 16).ok()
        };
        match digits.len() {
            3 | 4 => Some(Self([digit(0)? * 17, digit(1)? * 17, digit(2)? * 17])),
            6 | 8 => {
                let two = |at: usize| Some(digit(at)? * 16 + digit(at + 1)?);
                Some(Self([two(0)?, two(2)?, two(4)?]))
            }
            _ => None,
        }
    }
}

/// What declarations say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    /// It is not displayed.
    pub(super) is_hidden: bool,
    /// It is too small, transparent or outside of the page.
    pub(super) is_unseen: bool,
    /// The colour of its text.
    pub(super) colour: Option<Colour>,
    /// The colour behind it.
    pub(super) background: Option<Colour>,
}

impl Style {
    /// Reads `name: value; …`.
    pub(super) fn read(declarations: &str) -> Self {
        let mut style = Self::default();
        let mut is_nothing_wide = false;
        let mut is_cut = false;
        for declaration in declarations.split(';') {
            let Some((name, value)) = declaration.split_once(':') else { continue };
            let name = name.trim().to_ascii_lowercase();
            let value = value.trim().to_ascii_lowercase();
            let value = value.trim_end_matches("!important").trim();
            match name.as_str() {
                "display" => style.is_hidden |= value == "none",
                "visibility" => style.is_hidden |= matches!(value, "hidden" | "collapse"),
                "content-visibility" => style.is_hidden |= value == "hidden",
                "opacity" => style.is_unseen |= is_tiny(value, 5),
                "font-size" => style.is_unseen |= is_small(value),
                "text-indent" | "left" | "top" | "right" | "margin-left" | "margin-top" => {
                    style.is_unseen |= pixels(value).is_some_and(|it| it <= -FAR_PX);
                }
                "transform" => style.is_unseen |= value.replace(' ', "").contains("scale(0)"),
                "clip" => style.is_unseen |= value.replace([' ', ','], "").contains("rect(0"),
                "clip-path" => style.is_unseen |= value.contains("inset(50%)"),
                "width" | "height" | "max-height" | "max-width" => {
                    is_nothing_wide |= pixels(value).is_some_and(|it| it <= 1);
                }
                "overflow" => is_cut |= value == "hidden",
                "color" if value == "transparent" => style.is_unseen = true,
                "color" => style.colour = Colour::read(value),
                "background" | "background-color" => {
                    style.background = value.split(' ').find_map(Colour::read);
                    style.background = style.background.or_else(|| Colour::read(value));
                }
                _ => {}
            }
        }
        style.is_unseen |= is_nothing_wide && is_cut;
        style
    }

    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self {
            is_hidden: self.is_hidden || other.is_hidden,
            is_unseen: self.is_unseen || other.is_unseen,
            colour: other.colour.or(self.colour),
            background: other.background.or(self.background),
        }
    }

    fn says_anything(self) -> bool {
        self != Self::default()
    }
}

/// Whether a number is smaller than that many hundredths.
fn is_tiny(value: &str, hundredths: u32) -> bool {
    let percent = value.ends_with('%');
    let Ok(number) = value.trim_end_matches('%').trim().parse::<f32>() else { return false };
    let hundred = if percent { number } else { number * 100.0 };
    f64::from(hundred) < f64::from(hundredths)
}

/// Whether a size of letters is too small to be read.
fn is_small(value: &str) -> bool {
    let digits = value.trim_end_matches(|it: char| it.is_ascii_alphabetic() || it == '%');
    let Ok(number) = digits.trim().parse::<f32>() else { return false };
    let unit = value.get(digits.len()..).unwrap_or_default();
    match unit {
        "em" | "rem" => number < 0.2,
        "%" => number < 20.0,
        _ => number < 3.0,
    }
}

fn pixels(value: &str) -> Option<i64> {
    let digits = value.trim_end_matches(|it: char| it.is_ascii_alphabetic() || it == '%');
    let number = digits.trim().parse::<f32>().ok()?;
    let per_unit = match value.get(digits.len()..)? {
        "em" | "rem" => 16.0,
        "vw" | "vh" | "%" => 10.0,
        _ => 1.0,
    };
    #[expect(clippy::cast_possible_truncation, reason = "clamped")]
    Some((number * per_unit).clamp(-1e9, 1e9) as i64)
}

/// What the style sheets of a document say of classes, ids and elements.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    rules: Vec<(String, Style)>,
    known: BTreeSet<String>,
}

impl Sheet {
    /// Reads another one. Rules within rules, as for small screens, are not looked at: what they
    /// say holds sometimes.
    pub(super) fn add(&mut self, text: &str) {
        let mut depth = 0_usize;
        let mut selector = String::new();
        let mut declarations = String::new();
        for character in text.chars() {
            match character {
                '{' => depth += 1,
                '}' => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 {
                        self.rule(&std::mem::take(&mut selector), &declarations);
                        declarations.clear();
                    }
                }
                ';' if depth == 0 => selector.clear(),
                other if depth == 0 => selector.push(other),
                other if depth == 1 => declarations.push(other),
                _ => {}
            }
        }
    }

    fn rule(&mut self, selectors: &str, declarations: &str) {
        let style = Style::read(declarations);
        if !style.says_anything() || selectors.trim_start().starts_with('@') {
            return;
        }
        for selector in selectors.split(',') {
            // What it is about is the last part: `main .note` is about notes.
            let last = selector.split_whitespace().last().unwrap_or_default();
            let is_name = |it: char| it.is_alphanumeric() || matches!(it, '-' | '_');
            let bare = last.trim_start_matches(['.', '#']);
            let is_simple = !bare.is_empty() && bare.chars().all(is_name);
            if is_simple && self.rules.len() < RULES_MAX {
                self.known.insert(last.to_owned());
                self.rules.push((last.to_owned(), style));
            }
        }
    }

    /// What it says of an element.
    pub(super) fn of(&self, element: &str, id: Option<&str>, classes: Option<&str>) -> Style {
        let mut names = vec![element.to_owned()];
        names.extend(classes.unwrap_or_default().split_whitespace().map(|it| format!(".{it}")));
        names.extend(id.map(|id| format!("#{id}")));
        names.retain(|name| self.known.contains(name));
        if names.is_empty() {
            return Style::default();
        }
        let said = self.rules.iter().filter(|(name, _)| names.contains(name));
        said.fold(Style::default(), |all, (_, style)| all.and(*style))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_style_hides_is_hidden() {
        for hidden in [
            "display:none",
            "DISPLAY : None !important",
            "visibility:hidden",
            "opacity:0",
            "opacity: 0.01",
            "font-size:0",
            "font-size: 1px",
            "text-indent:-9999px",
            "position:absolute; left: -10000px",
            "width:1px; height:1px; overflow:hidden",
            "clip: rect(0 0 0 0)",
            "color: transparent",
        ] {
            let style = Style::read(hidden);
            assert!(style.is_hidden || style.is_unseen, "{hidden}");
        }
        for shown in [
            "display:block",
            "opacity:0.5",
            "font-size:12px",
            "font-size: 0.8em",
            "left: -10px",
            "width:1px",
            "overflow:hidden",
            "color: red",
            "",
        ] {
            let style = Style::read(shown);
            assert!(!style.is_hidden && !style.is_unseen, "{shown}");
        }
    }

    #[test]
    fn colours_are_read_and_compared() {
        let colour = |text| Colour::read(text).unwrap();
        assert!(colour("#fff").is_like(colour("rgb(250, 250, 250)")));
        assert!(colour("#FEFEFE").is_like(Colour::WHITE));
        assert!(colour("rgba(255,255,255,1)").is_like(Colour::WHITE));
        assert!(!colour("black").is_like(colour("#eee")));
        assert_eq!(Colour::read("#ф"), None);
        assert_eq!(
            Style::read("background: url(x) white no-repeat").background,
            Some(Colour::WHITE)
        );
    }

    #[test]
    fn sheets_know_classes_ids_and_elements() {
        let mut sheet = Sheet::default();
        sheet.add("a{color:red} main .x, #y {display:none} @media print{.z{display:none}}");
        assert!(sheet.of("p", None, Some("w x")).is_hidden);
        assert!(sheet.of("p", Some("y"), None).is_hidden);
        assert!(!sheet.of("p", None, Some("z")).is_hidden);
        assert_eq!(sheet.of("a", None, None).colour, Colour::read("red"));
    }
}
