//! What a page draws: letters, where they are, how large, in which colour, and on what.

use super::super::page::Page;
use super::super::shade::Colour;
use super::super::{BlockKind, FindingKind, FormatError};
use super::{dictionary, error};
use lopdf::content::{Content, Operation};
use lopdf::{Dictionary, Document, Encoding, Object, ObjectId};
use std::collections::BTreeMap;

/// Operations of one page, with all that it draws by name.
const OPERATIONS_MAX: usize = 2_000_000;
/// Drawings within drawings.
const DRAWINGS_DEPTH_MAX: usize = 8;
/// States that are put aside, one upon the other.
const STATES_MAX: usize = 256;
/// Coloured grounds of one page that are remembered: the last ones.
const GROUNDS_MAX: usize = 1024;
/// Points below which letters are too small to be read.
const POINTS_MIN: f32 = 2.5;
/// Bytes of one table that says which letters a font has.
const TABLE_BYTES_MAX: usize = 4 << 20;

/// Writes what a page draws. `left`: bytes that may still be inflated.
pub(super) fn page(
    document: &Document,
    id: ObjectId,
    left: &mut usize,
    page: &mut Page,
) -> Result<(), FormatError> {
    let bytes = document.get_page_content_with_limit(id, *left).map_err(|e| error(&e))?;
    *left = left.saturating_sub(bytes.len());
    let fonts = document.get_page_fonts(id).map_err(|e| error(&e))?;
    let mut drawing = Drawing {
        document,
        page,
        left,
        fonts: encodings(document, &fonts),
        frame: frame(document, id),
        state: State::default(),
        states: Vec::new(),
        text: Matrix::ONE,
        line: Matrix::ONE,
        path: None,
        grounds: Vec::new(),
        last: None,
        has_moved: true,
        operations: 0,
    };
    let resources = document.get_page_resources(id).ok();
    let mut own = Vec::new();
    if let Some((direct, ids)) = &resources {
        own.extend(direct.iter().copied());
        own.extend(ids.iter().filter_map(|id| document.get_dictionary(*id).ok()));
    }
    drawing.draw(&bytes, &own, 0)?;
    drawing.page.close()
}

type Fonts<'a> = BTreeMap<Vec<u8>, Encoding<'a>>;

fn encodings<'a>(document: &'a Document, fonts: &BTreeMap<Vec<u8>, &'a Dictionary>) -> Fonts<'a> {
    let encoding =
        |font: &'a Dictionary| font.get_font_encoding_with_limit(document, TABLE_BYTES_MAX).ok();
    fonts.iter().filter_map(|(name, font)| Some((name.clone(), encoding(font)?))).collect()
}

/// The corners of the sheet.
fn frame(document: &Document, id: ObjectId) -> Option<[f32; 4]> {
    let mut at = document.get_dictionary(id).ok()?;
    // What a page does not say, those above it do.
    for _ in 0..DRAWINGS_DEPTH_MAX {
        if let Ok(found) = at.get(b"CropBox").or_else(|_| at.get(b"MediaBox")) {
            let found = match found {
                Object::Reference(id) => document.get_object(*id).ok()?,
                other => other,
            };
            let numbers: Vec<f32> =
                found.as_array().ok()?.iter().filter_map(|it| it.as_float().ok()).collect();
            return numbers.first_chunk::<4>().copied();
        }
        at = dictionary(document, at.get(b"Parent").ok()?)?;
    }
    None
}

/// Six numbers that move, turn and stretch.
#[derive(Clone, Copy)]
struct Matrix([f32; 6]);

impl Matrix {
    const ONE: Self = Self([1.0, 0.0, 0.0, 1.0, 0.0, 0.0]);

    const fn moved(x: f32, y: f32) -> Self {
        Self([1.0, 0.0, 0.0, 1.0, x, y])
    }

    /// This one first, then the other.
    fn then(self, other: Self) -> Self {
        let ([a, b, c, d, e, f], [g, h, i, j, k, l]) = (self.0, other.0);
        Self([
            a * g + b * i,
            a * h + b * j,
            c * g + d * i,
            c * h + d * j,
            e * g + f * i + k,
            e * h + f * j + l,
        ])
    }

    fn place(self, x: f32, y: f32) -> (f32, f32) {
        let [a, b, c, d, e, f] = self.0;
        (a * x + c * y + e, b * x + d * y + f)
    }

    /// How tall something of height one becomes.
    fn height(self) -> f32 {
        let [_, _, c, d, _, _] = self.0;
        c.hypot(d)
    }
}

/// What is put aside by `q` and comes back with `Q`.
#[derive(Clone)]
struct State {
    matrix: Matrix,
    colour: Option<Colour>,
    font: Vec<u8>,
    size: f32,
    leading: f32,
    is_invisible: bool,
}

impl Default for State {
    fn default() -> Self {
        Self {
            matrix: Matrix::ONE,
            colour: Some(Colour::BLACK),
            font: Vec::new(),
            size: 12.0,
            leading: 0.0,
            is_invisible: false,
        }
    }
}

/// Where letters began, how tall they are, and how many.
#[derive(Clone, Copy)]
struct Last {
    x: f32,
    y: f32,
    height: f32,
    count: usize,
}

struct Drawing<'a, 'p> {
    document: &'a Document,
    page: &'p mut Page,
    left: &'p mut usize,
    fonts: Fonts<'a>,
    frame: Option<[f32; 4]>,
    state: State,
    states: Vec<State>,
    text: Matrix,
    line: Matrix,
    /// The corners of the rectangle that is filled next.
    path: Option<[f32; 4]>,
    grounds: Vec<([f32; 4], Option<Colour>)>,
    /// The last letters.
    last: Option<Last>,
    /// Whether the next letters stand elsewhere than behind the last ones.
    has_moved: bool,
    operations: usize,
}

impl<'a> Drawing<'a, '_> {
    fn draw(
        &mut self,
        bytes: &[u8],
        resources: &[&'a Dictionary],
        depth: usize,
    ) -> Result<(), FormatError> {
        let content = Content::decode(bytes).map_err(|e| error(&e))?;
        for operation in &content.operations {
            self.operations += 1;
            if self.operations > OPERATIONS_MAX {
                return Err(FormatError::too_much("operations on a page", OPERATIONS_MAX));
            }
            if operation.operator == "Do" {
                self.drawing(operation, resources, depth)?;
            } else if !self.shape(operation) {
                self.letters(operation)?;
            }
        }
        Ok(())
    }

    /// A drawing that has a name.
    fn drawing(
        &mut self,
        operation: &Operation,
        resources: &[&'a Dictionary],
        depth: usize,
    ) -> Result<(), FormatError> {
        let name = operation.operands.first().and_then(|it| it.as_name().ok());
        let (Some(name), true) = (name, depth < DRAWINGS_DEPTH_MAX) else { return Ok(()) };
        let found = resources.iter().find_map(|all| {
            let all = dictionary(self.document, all.get(b"XObject").ok()?)?;
            let id = all.get(name).ok()?.as_reference().ok()?;
            self.document.get_object(id).ok()?.as_stream().ok()
        });
        let Some(found) = found else { return Ok(()) };
        if !found.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|it| it == b"Form") {
            return Ok(());
        }
        let bytes = if found.dict.has(b"Filter") {
            found.decompressed_content_with_limit(*self.left).map_err(|e| error(&e))?
        } else {
            found.content.clone()
        };
        *self.left = self
            .left
            .checked_sub(bytes.len())
            .ok_or_else(|| FormatError::too_much("bytes when it is inflated", 0))?;
        let aside = self.state.clone();
        if let Some(matrix) = found.dict.get(b"Matrix").ok().and_then(|it| it.as_array().ok()) {
            self.state.matrix = numbers(matrix).then(self.state.matrix);
        }
        let own = found.dict.get(b"Resources").ok();
        let own = own.and_then(|own| dictionary(self.document, own));
        let mut inner: Vec<&'a Dictionary> = own.into_iter().collect();
        if let Some(fonts) = own.and_then(|own| dictionary(self.document, own.get(b"Font").ok()?)) {
            let named: BTreeMap<Vec<u8>, &'a Dictionary> = fonts
                .iter()
                .filter_map(|(name, font)| Some((name.clone(), dictionary(self.document, font)?)))
                .collect();
            self.fonts.extend(encodings(self.document, &named));
        }
        inner.extend(resources);
        self.draw(&bytes, &inner, depth + 1)?;
        self.state = aside;
        Ok(())
    }

    /// Colours, grounds, positions. `false`: it is something else.
    fn shape(&mut self, operation: &Operation) -> bool {
        let given = |at: usize| operation.operands.get(at).and_then(|it| it.as_float().ok());
        let number = |at: usize| given(at).unwrap_or(0.0);
        match operation.operator.as_str() {
            "q" if self.states.len() < STATES_MAX => self.states.push(self.state.clone()),
            "Q" => {
                if let Some(state) = self.states.pop() {
                    self.state = state;
                }
            }
            "cm" => self.state.matrix = numbers(&operation.operands).then(self.state.matrix),
            "g" => self.state.colour = Some(Colour::of_parts([number(0); 3])),
            "rg" => {
                self.state.colour = Some(Colour::of_parts([number(0), number(1), number(2)]));
            }
            "k" => self.state.colour = Some(of_inks([0, 1, 2, 3].map(number))),
            "sc" | "scn" => {
                self.state.colour = match operation.operands.len() {
                    1 => given(0).map(|it| Colour::of_parts([it; 3])),
                    3 => Some(Colour::of_parts([number(0), number(1), number(2)])),
                    4 => Some(of_inks([0, 1, 2, 3].map(number))),
                    _ => None,
                };
            }
            "cs" => self.state.colour = Some(Colour::BLACK),
            "re" => {
                let (x, y) = self.state.matrix.place(number(0), number(1));
                let far = self.state.matrix.place(number(0) + number(2), number(1) + number(3));
                self.path = Some([x.min(far.0), y.min(far.1), x.max(far.0), y.max(far.1)]);
            }
            "f" | "F" | "f*" | "B" | "B*" | "b" | "b*" => {
                if let Some(path) = self.path.take() {
                    if self.grounds.len() >= GROUNDS_MAX {
                        self.grounds.remove(0);
                    }
                    self.grounds.push((path, self.state.colour));
                }
            }
            "n" | "S" | "s" => self.path = None,
            "Tr" => self.state.is_invisible = matches!(given(0), Some(3.0 | 7.0)),
            "TL" => self.state.leading = number(0),
            "Tf" => {
                let name = operation.operands.first().and_then(|it| it.as_name().ok());
                self.state.font = name.unwrap_or_default().to_vec();
                self.state.size = number(1);
            }
            "BT" => self.go(Matrix::ONE),
            "Tm" => self.go(numbers(&operation.operands)),
            "Td" => self.step(number(0), number(1)),
            "TD" => {
                self.state.leading = -number(1);
                self.step(number(0), number(1));
            }
            "T*" => self.step(0.0, -self.state.leading),
            _ => return false,
        }
        true
    }

    fn go(&mut self, line: Matrix) {
        (self.line, self.text, self.has_moved) = (line, line, true);
    }

    fn step(&mut self, x: f32, y: f32) {
        self.go(Matrix::moved(x, y).then(self.line));
    }

    fn letters(&mut self, operation: &Operation) -> Result<(), FormatError> {
        let said = match operation.operator.as_str() {
            "Tj" => self.decoded(&operation.operands),
            "'" | "\"" => {
                self.step(0.0, -self.state.leading);
                self.decoded(&operation.operands)
            }
            "TJ" => {
                let array = operation.operands.first().and_then(|it| it.as_array().ok());
                self.decoded(array.map_or(&[][..], Vec::as_slice))
            }
            _ => return Ok(()),
        };
        if said.is_empty() {
            return Ok(());
        }
        let matrix = self.text.then(self.state.matrix);
        let (x, y) = matrix.place(0.0, 0.0);
        let height = (matrix.height() * self.state.size).abs();
        // How wide letters are is in fonts; half of their height is near enough for what is asked.
        let width = height * 0.5 * f32::from(u16::try_from(said.chars().count()).unwrap_or(1000));
        self.text = Matrix::moved(width / matrix.height().max(0.01), 0.0).then(self.text);
        if let Some(kind) = self.unseen(x, y, height) {
            self.page.find(kind, &said);
            return Ok(());
        }
        self.gap(Last { x, y, height, count: said.chars().count() })?;
        self.page.flow(&said)
    }

    /// Why letters there are not seen.
    fn unseen(&self, x: f32, y: f32, height: f32) -> Option<FindingKind> {
        let is_outside = self.frame.is_some_and(|[left, low, right, high]| {
            x < left.min(right) - 1.0
                || x > left.max(right)
                || y < low.min(high) - height
                || y > low.max(high)
        });
        if self.state.is_invisible || height < POINTS_MIN || is_outside || !height.is_finite() {
            return Some(FindingKind::Unseen);
        }
        let middle = y + height * 0.3;
        let ground = self.grounds.iter().rev().find(|([left, low, right, high], _)| {
            (*left - 1.0..=*right).contains(&x) && (*low..=*high).contains(&middle)
        });
        // Patterns and pictures: what is on them may be seen.
        let ground = ground.map_or(Some(Colour::WHITE), |(_, colour)| *colour)?;
        let is_same = self.state.colour.is_some_and(|colour| colour.is_like(ground));
        is_same.then_some(FindingKind::SameColour)
    }

    /// What stands between the last letters and the next: nothing, a space, a line, a paragraph.
    fn gap(&mut self, next: Last) -> Result<(), FormatError> {
        let has_moved = std::mem::take(&mut self.has_moved);
        let Some(last) = self.last.replace(next).filter(|_| has_moved) else { return Ok(()) };
        let fall = (last.y - next.y).abs();
        let size = last.height.max(next.height);
        let is_other_size = (last.height - next.height).abs() > size * 0.25;
        if fall > size * 1.7 || (is_other_size && fall > size * 0.5) {
            return self.page.open(BlockKind::Paragraph);
        }
        if fall > size * 0.5 {
            return self.page.line_end();
        }
        // Some files place letter by letter: then only a wide step is a space.
        if last.count > 1 || next.x - last.x > size * 0.85 {
            self.page.space();
        }
        Ok(())
    }

    fn decoded(&self, operands: &[Object]) -> String {
        let mut said = String::new();
        for operand in operands {
            match operand {
                Object::String(bytes, _) => match self.fonts.get(&self.state.font) {
                    Some(encoding) => {
                        said.push_str(&Document::decode_text(encoding, bytes).unwrap_or_default());
                    }
                    None => said.push_str(&encoding_rs::WINDOWS_1252.decode(bytes).0),
                },
                // A step as wide as a space is one.
                other => {
                    if other.as_float().is_ok_and(|step| step < -200.0) {
                        said.push(' ');
                    }
                }
            }
        }
        said
    }
}

fn numbers(operands: &[Object]) -> Matrix {
    let mut all = Matrix::ONE.0;
    for (slot, operand) in all.iter_mut().zip(operands) {
        *slot = operand.as_float().unwrap_or(0.0);
    }
    Matrix(all)
}

/// Cyan, magenta, yellow, black.
fn of_inks([cyan, magenta, yellow, black]: [f32; 4]) -> Colour {
    Colour::of_parts([cyan, magenta, yellow].map(|ink| (1.0 - ink) * (1.0 - black)))
}
