//! What a list shows: operations that are not certainly denied, whatever the arguments and the
//! session (I4).

use super::risk::stops_operation;
use crate::policy::Side;
use crate::world::World;
use lockgate_types::OperationName;
use lockgate_types::call::Effect;
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;

/// Whether identity, bundle and switches leave it possible that this operation is allowed. What is
/// not visible is always denied.
pub fn visible(
    world: &World,
    identity: &Identity,
    switches: &[Switch],
    operation: &OperationName,
) -> bool {
    let Some(declared) = world.operations.get(operation) else { return false };
    let (upstream, name) = (declared.upstream.as_str(), operation.as_str());
    if switches.iter().any(|switch| stops_operation(switch, identity, upstream, name)) {
        return false;
    }
    if declared.observe && declared.effect != Effect::Destructive {
        return true;
    }
    declared.accepted
        && [Side::Agent, Side::Subject]
            .into_iter()
            .all(|side| world.policies.may_permit(operation, upstream, side, identity))
}
