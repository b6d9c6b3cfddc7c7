//! The same question, said to Cedar's public API independently of how the product says it: the
//! whole set of policies, the whole organisation as entities with their direct parents alone, one
//! request for each side.

use crate::organisation::{Asked, NOW, Organisation, SOURCES};
use cedar_policy::{
    AuthorizationError, Authorizer, Context, Decision, Effect, Entities, Entity, EntityId,
    EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, Request, RestrictedExpression,
};
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::facts::Facts;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

pub(crate) struct Oracle<'a> {
    organisation: &'a Organisation,
    policies: PolicySet,
    entities: Entities,
}

fn uid(kind: &str, name: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().unwrap();
    EntityUid::from_type_name_and_id(kind, EntityId::new(name))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn texts<'t>(all: impl Iterator<Item = &'t String>) -> RestrictedExpression {
    RestrictedExpression::new_set(all.map(|it| text(it)).collect::<Vec<_>>())
}

fn people(readers: &BTreeSet<Reader>) -> RestrictedExpression {
    let of = |kind: &str, wanted: fn(&Reader) -> Option<&String>| {
        let names = readers.iter().filter_map(wanted);
        let all = names.map(|it| RestrictedExpression::new_entity_uid(uid(kind, it)));
        RestrictedExpression::new_set(all.collect::<Vec<_>>())
    };
    let everyone = RestrictedExpression::new_bool(readers.contains(&Reader::Everyone));
    RestrictedExpression::new_record([
        ("everyone".to_owned(), everyone),
        (
            "groups".to_owned(),
            of("Group", |it| match it {
                Reader::Group(name) => Some(name),
                _ => None,
            }),
        ),
        (
            "users".to_owned(),
            of("User", |it| match it {
                Reader::User(name) => Some(name),
                _ => None,
            }),
        ),
    ])
    .unwrap()
}

fn document(it: &DocumentFacts) -> Entity {
    let number = RestrictedExpression::new_long;
    let level = match it.classification.as_str() {
        "public" => 0,
        "internal" => 1,
        "confidential" => 2,
        _ => 3,
    };
    let mut attributes = HashMap::from([
        ("changed".to_owned(), number(it.changed.0)),
        ("classification".to_owned(), text(it.classification.as_str())),
        ("confirmed".to_owned(), number(it.confirmed.0)),
        ("curation".to_owned(), text(it.curation.as_str())),
        ("denied".to_owned(), people(&it.denied)),
        ("id".to_owned(), text(&it.id)),
        ("kind".to_owned(), text(&it.kind)),
        ("level".to_owned(), number(level)),
        ("source".to_owned(), text(&it.source)),
        ("tags".to_owned(), texts(it.tags.iter())),
        ("tenant".to_owned(), text(&it.tenant)),
    ]);
    if let Some(owner) = &it.owner {
        let owner = RestrictedExpression::new_entity_uid(uid("User", owner));
        attributes.insert("owner".to_owned(), owner);
    }
    if let Some(readers) = &it.readers {
        attributes.insert("readers".to_owned(), people(readers));
    }
    let mut parents = HashSet::from([uid("Source", &it.source), uid("Tenant", &it.tenant)]);
    // The nearest folder alone: the others are above that one.
    let nearest = it.folders.last();
    parents.extend(nearest.map(|path| uid("Folder", &format!("{}/{path}", it.source))));
    let own = uid("Document", &format!("{}/{}", it.source, it.id));
    Entity::new(own, attributes, parents).unwrap()
}

fn entities(of: &Organisation) -> Vec<Entity> {
    let groups = |names: &[usize]| -> HashSet<EntityUid> {
        names.iter().map(|at| uid("Group", &format!("g{at}"))).collect()
    };
    let plain = |own: EntityUid, parents| Entity::new_no_attrs(own, parents);
    let acme = || uid("Tenant", "acme");
    let mut all = Vec::new();
    for (at, within) in of.groups.iter().enumerate() {
        all.push(plain(uid("Group", &format!("g{at}")), groups(within)));
    }
    for (at, of) in of.users.iter().enumerate() {
        let mut parents = groups(of);
        parents.insert(acme());
        all.push(plain(uid("User", &format!("u{at}")), parents));
    }
    for (at, (of, _)) in of.agents.iter().enumerate() {
        let mut parents = groups(of);
        parents.insert(acme());
        all.push(plain(uid("Agent", &format!("a{at}")), parents));
    }
    for (source, ..) in SOURCES {
        all.push(plain(uid("Source", source), HashSet::new()));
    }
    for tenant in ["acme", "other", "strange"] {
        all.push(plain(uid("Tenant", tenant), HashSet::new()));
    }
    let mut folders: BTreeMap<String, Option<String>> = BTreeMap::new();
    for document in &of.documents {
        let names = document.folders.iter().map(|path| format!("{}/{path}", document.source));
        let names: Vec<String> = names.collect();
        for (at, name) in names.iter().enumerate() {
            let above = at.checked_sub(1).map(|above| names[above].clone());
            folders.insert(name.clone(), above);
        }
    }
    for (name, above) in folders {
        let source = name.split_once('/').unwrap().0;
        let mut parents = HashSet::from([uid("Source", source)]);
        parents.extend(above.map(|above| uid("Folder", &above)));
        all.push(plain(uid("Folder", &name), parents));
    }
    all.push(plain(uid("Action", "any"), HashSet::new()));
    all.push(plain(uid("Action", "retrieve"), HashSet::from([uid("Action", "any")])));
    all.extend(of.documents.iter().map(document));
    all
}

impl<'a> Oracle<'a> {
    pub(crate) fn of(organisation: &'a Organisation) -> Self {
        let mut policies = PolicySet::new();
        for policy in organisation.policies.parse::<PolicySet>().unwrap().policies() {
            let id = policy.annotation("id").unwrap();
            let policy: Policy = policy.new_id(PolicyId::new(id));
            policies.add(policy).unwrap();
        }
        let entities = Entities::from_entities(entities(organisation), None).unwrap();
        Self { organisation, policies, entities }
    }

    /// Whether a policy says something.
    pub(crate) fn says(&self, policy: &str, what: &str) -> bool {
        let mut all = self.organisation.policies.split("@id(\"");
        let text = all.find(|text| text.starts_with(&format!("{policy}\"")));
        text.is_some_and(|text| text.contains(what))
    }

    pub(crate) fn admits(&self, facts: &Facts, asked: &Asked, at: usize) -> bool {
        let document = &self.organisation.documents[at];
        let (_, tenant, tasks) = SOURCES.iter().find(|it| it.0 == document.source).unwrap();
        let is_for_task = match asked.task {
            Some("reading") => document.source == "handbook",
            Some(task) => tasks.is_empty() || tasks.contains(&task),
            None => tasks.is_empty(),
        };
        let is_here = document.tenant == "acme" && *tenant == "acme";
        is_for_task
            && is_here
            && [
                uid("Agent", &format!("a{}", asked.agent)),
                uid("User", &format!("u{}", asked.user)),
            ]
            .into_iter()
            .all(|principal| self.is_permitted(facts, asked, principal, document))
    }

    /// One side: a permit holds, no forbid does, and every forbid could be evaluated.
    fn is_permitted(
        &self,
        facts: &Facts,
        asked: &Asked,
        principal: EntityUid,
        document: &DocumentFacts,
    ) -> bool {
        let resource = uid("Document", &format!("{}/{}", document.source, document.id));
        let context = self.context(facts, asked);
        let request =
            Request::new(principal, uid("Action", "retrieve"), resource, context, None).unwrap();
        let response = Authorizer::new().is_authorized(&request, &self.policies, &self.entities);
        let has_failed_forbid = response.diagnostics().errors().any(|error| match error {
            AuthorizationError::PolicyEvaluationError(error) => {
                self.policies.policy(error.policy_id()).unwrap().effect() == Effect::Forbid
            }
        });
        response.decision() == Decision::Allow && !has_failed_forbid
    }

    /// What of the context the policies ask for; neither flow nor history are known.
    fn context(&self, facts: &Facts, asked: &Asked) -> Context {
        let entity =
            |kind: &str, name: String| RestrictedExpression::new_entity_uid(uid(kind, &name));
        let (_, clearance) = self.organisation.agents[asked.agent];
        let clearance = match clearance.as_str() {
            "public" => 0,
            "internal" => 1,
            "confidential" => 2,
            _ => 3,
        };
        let mut pairs = vec![
            ("agent".to_owned(), entity("Agent", format!("a{}", asked.agent))),
            ("subject".to_owned(), entity("User", format!("u{}", asked.user))),
            ("clearance".to_owned(), RestrictedExpression::new_long(clearance)),
            ("mode".to_owned(), text(facts.session.mode.as_str())),
            ("now".to_owned(), RestrictedExpression::new_long(NOW)),
            ("tenant".to_owned(), text("acme")),
        ];
        pairs.extend(asked.task.map(|task| ("task".to_owned(), text(task))));
        Context::from_pairs(pairs).unwrap()
    }
}
