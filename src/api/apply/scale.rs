//! Owners of `replicas`, seen through the `scale` subresource: there it is `.spec.replicas` of a Scale, in the object it
//! is where the kind has it.

use super::{
    managers::{Manager, Managers},
    set::FieldSet,
};

const VERSION: &str = "autoscaling/v1";
const REPLICAS: [&str; 2] = ["f:spec", "f:replicas"];

/// The managers of an object's scale: those who own its replicas.
pub fn of_parent(parent: &Managers, replicas: &[&str]) -> Managers {
    let own = parent.iter().filter(|manager| manager.fields.has(replicas));
    Managers(
        own.map(|manager| Manager { api_version: VERSION.into(), fields: FieldSet::one(&REPLICAS), ..manager.clone() })
            .collect(),
    )
}

/// The managers of an object after its scale was written. Who lost the replicas there loses them here, and who has them
/// there has them here, in the object's version.
pub fn to_parent(parent: Managers, mut scale: Managers, replicas: &[&str], api_version: &str) -> Managers {
    let gone = FieldSet::one(replicas);
    let mut all = Managers::default();
    for mut manager in parent.0 {
        if manager.fields.has(replicas) {
            // Who only writes is told apart by version, which is another one there.
            let same = |known: &Manager| {
                (known.operation, &known.name, &known.subresource)
                    == (manager.operation, &manager.name, &manager.subresource)
            };
            match scale.0.iter().position(same) {
                Some(at) => drop(scale.0.remove(at)),
                None => manager.fields.subtract(&gone),
            }
        }
        all.0.push(manager);
    }
    for manager in scale.0 {
        if manager.fields.has(&REPLICAS) {
            all.0.push(Manager { api_version: api_version.into(), fields: gone.clone(), ..manager });
        }
    }
    all.drop_empty();
    all
}
