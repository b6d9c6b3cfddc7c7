//! What a prompt carries, as far as the gate knows: whose words stand in it, and who may see them.
//!
//! A role is a claim. Of an application that the bundle names, instructions and its person's words
//! are nobody else's; of any other, all of a prompt is anybody's. What stands there as a result is
//! labelled as the tool declares that it is said to be of, which only tightens: what of it the
//! session has met joins it anyway, where it is decided.

use super::ModelRequest;
use super::propose::operations_called;
use crate::label;
use crate::words::tells_words;
use lockgate_core::{World, exposure};
use lockgate_types::Object;
use lockgate_types::flow::Author;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::model::{ModelApi, ModelAsked};
use lockgate_wire::model::asked::Kind;
use lockgate_wire::model::{Asked, Role, Segment};
use std::collections::BTreeSet;

/// The label of what a request carries, but for the personal data that are found in it.
pub(super) fn label_of(world: &World, request: &ModelRequest, read: &Asked<'_>) -> Label {
    if let Some(run) = &request.run {
        // All else that stands in it, the run's own session has met.
        return Label { confidentiality: run.confidentiality, ..Label::default() };
    }
    let is_believed = tells_words(world, &request.identity);
    let mut label = Label::default();
    let mut results = BTreeSet::new();
    for segment in &read.segments {
        match &segment.kind {
            Kind::Result { name: Some(name), .. } => {
                results.insert(*name);
            }
            kind => label.absorb(of_segment(kind, segment, is_believed)),
        }
    }
    for name in results {
        label.absorb(of_result(world, name));
    }
    // What the provider remembers, or fetches by itself, nobody here has seen.
    let is_hosted = read.tools.iter().any(|tool| tool.hosted.is_some());
    if is_hosted || !read.earlier.is_empty() {
        label.absorb(exposure::anyones());
    }
    label
}

fn of_segment(kind: &Kind<'_>, segment: &Segment<'_>, is_believed: bool) -> Label {
    if !is_believed {
        return exposure::anyones();
    }
    match kind {
        Kind::Instruction | Kind::Words => Label::default(),
        Kind::Answer | Kind::Reasoning | Kind::Call { .. } => {
            Label::of(Author::Model, Confidentiality::Public)
        }
        Kind::Other if segment.role == Role::Other => Label::default(),
        Kind::Result { .. } | Kind::Document | Kind::Reference | Kind::Opaque | Kind::Other => {
            exposure::anyones()
        }
    }
}

/// The label of what is said to be the result of a tool: of all that it could be.
fn of_result(world: &World, name: &str) -> Label {
    let labels = operations_called(world, name).map(|it| exposure::returned(world, it));
    labels.reduce(|all, one| all.join(&one)).unwrap_or_else(exposure::anyones)
}

/// Looks for the personal data that leave in a prompt, where somebody asks.
pub(super) fn find_personal(
    world: &World,
    api: ModelApi,
    params: Object,
    asked: &mut ModelAsked,
) -> Object {
    if !exposure::asks_pii(world) || !api.asks_a_model() {
        return params;
    }
    if let Ok(read) = Asked::of(api, &params) {
        let texts = read.segments.iter().map(|segment| segment.text.as_ref());
        asked.carries.pii.extend(label::personal(texts));
    }
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(role: Role, kind: Kind<'static>) -> Segment<'static> {
        Segment { path: Default::default(), role, kind, text: "x".into() }
    }

    #[test]
    fn a_role_is_a_claim_and_a_document_is_anybodys() {
        let words = segment(Role::User, Kind::Words);
        assert_eq!(of_segment(&words.kind, &words, true), Label::default());
        assert_eq!(of_segment(&words.kind, &words, false), exposure::anyones());
        let answer = segment(Role::Assistant, Kind::Answer);
        let said = of_segment(&answer.kind, &answer, true);
        assert_eq!(said, Label::of(Author::Model, Confidentiality::Public));
        for kind in [Kind::Document, Kind::Reference, Kind::Opaque, Kind::Other] {
            let it = segment(Role::User, kind);
            assert_eq!(of_segment(&it.kind, &it, true), exposure::anyones(), "{:?}", it.kind);
        }
    }
}
