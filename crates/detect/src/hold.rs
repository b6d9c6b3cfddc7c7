//! Stub.
/// Bound.
pub const CONTEXT_BYTES: usize = 512;
/// What may be passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// The text up to this byte.
    To(usize),
    /// Too much.
    Exceeded,
}
/// Stub.
pub fn release(text: &str, from: usize, is_final: bool) -> Release {
    if is_final { Release::To(text.len()) } else { Release::To(from) }
}
