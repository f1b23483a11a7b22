//! What a definition's status should say: a function of the definition, the others of its group, and the time.

use jiff::Timestamp;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{
        CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionNames,
        CustomResourceDefinitionStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use mk8s_api::crd;
use std::collections::BTreeSet;

pub(super) use crd::definition::CLEANUP;

/// The definition with the status it should have; `None` when it has it.
pub(super) fn planned(
    definition: &CustomResourceDefinition,
    others: &[&CustomResourceDefinition],
    now: Timestamp,
) -> Option<CustomResourceDefinition> {
    let mut planned = definition.clone();
    let status = planned.status.get_or_insert_default();
    let mut accepted = is_true(status, "NamesAccepted");
    if !has_its_names(definition) || status_of(status, "NamesAccepted").is_none() {
        let (names, conflict) = names(definition, others);
        accepted = conflict.is_none();
        status.accepted_names = Some(names);
        let condition = match conflict {
            None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            Some((reason, message)) => condition("NamesAccepted", "False", reason, &message),
        };
        set(status, condition, now);
    }
    if !is_true(status, "Established") {
        set(
            status,
            match accepted {
                true => {
                    condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
                }
                false => condition("Established", "False", "NotAccepted", "not all names are accepted"),
            },
            now,
        );
    }
    let judged = serde_json::to_value(definition).unwrap_or_default();
    match crd::non_structural(&judged) {
        Some((reason, message)) => {
            let unknown = reason == "StructuralError";
            set(
                status,
                condition("NonStructuralSchema", if unknown { "Unknown" } else { "True" }, reason, &message),
                now,
            );
        }
        None => {
            if let Some(conditions) = &mut status.conditions {
                conditions.retain(|known| known.type_ != "NonStructuralSchema");
            }
        }
    }
    if let Some((holds, reason, message)) = crd::approval_condition(&judged) {
        set(
            status,
            condition("KubernetesAPIApprovalPolicyConformant", if holds { "True" } else { "False" }, reason, &message),
            now,
        );
    }
    (planned.status != definition.status).then_some(planned)
}

/// How far the end of a definition has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    InProgress,
    Failed(String),
    Completed,
    NeverEstablished,
}

/// The definition as it should look at this point of its end; `None` when it does.
pub(super) fn ended(
    definition: &CustomResourceDefinition,
    ending: &Ending,
    now: Timestamp,
) -> Option<CustomResourceDefinition> {
    let mut planned = definition.clone();
    let condition = match ending {
        Ending::InProgress => {
            condition("Terminating", "True", "InstanceDeletionInProgress", "CustomResource deletion is in progress")
        }
        Ending::Failed(why) => {
            condition("Terminating", "True", "InstanceDeletionFailed", &format!("could not issue all deletes: {why}"))
        }
        Ending::Completed => condition("Terminating", "False", "InstanceDeletionCompleted", "removed all instances"),
        Ending::NeverEstablished => {
            condition("Terminating", "False", "NeverEstablished", "resource was never established")
        }
    };
    set(planned.status.get_or_insert_default(), condition, now);
    if matches!(ending, Ending::Completed | Ending::NeverEstablished)
        && let Some(finalizers) = &mut planned.metadata.finalizers
    {
        finalizers.retain(|finalizer| finalizer != CLEANUP);
    }
    (planned != *definition).then_some(planned)
}

pub(super) fn has_its_names(definition: &CustomResourceDefinition) -> bool {
    let accepted = definition.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    accepted.is_some_and(|names| *names == definition.spec.names)
}

pub(super) fn is_established(definition: &CustomResourceDefinition) -> bool {
    definition.status.as_ref().is_some_and(|status| is_true(status, "Established"))
}

fn status_of<'a>(status: &'a CustomResourceDefinitionStatus, of: &str) -> Option<&'a str> {
    let condition = status.conditions.iter().flatten().find(|known| known.type_ == of)?;
    Some(&condition.status)
}

fn is_true(status: &CustomResourceDefinitionStatus, of: &str) -> bool {
    status_of(status, of) == Some("True")
}

fn condition(of: &str, holds: &str, reason: &str, message: &str) -> CustomResourceDefinitionCondition {
    CustomResourceDefinitionCondition {
        type_: of.to_owned(),
        status: holds.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        ..CustomResourceDefinitionCondition::default()
    }
}

/// Writes a condition in its place; its time only changes with what it says.
fn set(status: &mut CustomResourceDefinitionStatus, new: CustomResourceDefinitionCondition, now: Timestamp) {
    let conditions = status.conditions.get_or_insert_default();
    let now = Timestamp::from_second(now.as_second()).unwrap_or(now);
    match conditions.iter_mut().find(|known| known.type_ == new.type_) {
        Some(known) => {
            let time = match known.status == new.status {
                true => known.last_transition_time.clone(),
                false => Some(Time(now)),
            };
            let observed = known.observed_generation;
            *known =
                CustomResourceDefinitionCondition { last_transition_time: time, observed_generation: observed, ..new };
        }
        None => conditions.push(CustomResourceDefinitionCondition { last_transition_time: Some(Time(now)), ..new }),
    }
}

/// The names that can be had, and the last conflict that was found.
fn names(
    definition: &CustomResourceDefinition,
    others: &[&CustomResourceDefinition],
) -> (CustomResourceDefinitionNames, Option<(&'static str, String)>) {
    let (mut resources, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let group = others.iter().filter(|other| other.spec.group == definition.spec.group);
    for names in group.filter_map(|other| other.status.as_ref()?.accepted_names.as_ref()) {
        resources.extend([Some(&names.plural), names.singular.as_ref()].into_iter().flatten().map(String::as_str));
        resources.extend(names.short_names.iter().flatten().map(String::as_str));
        kinds.extend([Some(&names.kind), names.list_kind.as_ref()].into_iter().flatten().map(String::as_str));
    }
    let asked = &definition.spec.names;
    let had = definition.status.as_ref().and_then(|status| status.accepted_names.clone()).unwrap_or_default();
    let mut names = CustomResourceDefinitionNames { categories: asked.categories.clone(), ..had.clone() };
    let mut conflict = None;
    // An empty name is nobody's.
    let free =
        |name: &str, had: &str, used: &BTreeSet<&str>| match name == had || name.is_empty() || !used.contains(name) {
            true => Ok(()),
            false => Err(format!("{name:?} is already in use")),
        };
    let text = |name: &Option<String>| name.clone().unwrap_or_default();
    match free(&asked.plural, &had.plural, &resources) {
        Ok(()) => names.plural = asked.plural.clone(),
        Err(why) => conflict = Some(("PluralConflict", why)),
    }
    match free(&text(&asked.singular), &text(&had.singular), &resources) {
        Ok(()) => names.singular = asked.singular.clone(),
        Err(why) => conflict = Some(("SingularConflict", why)),
    }
    let mine: Vec<&String> = had.short_names.iter().flatten().collect();
    let taken: Vec<String> = asked
        .short_names
        .iter()
        .flatten()
        .filter(|name| !mine.contains(name))
        .filter_map(|name| free(name, "", &resources).err())
        .collect();
    match &taken[..] {
        [] => names.short_names = asked.short_names.clone(),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    match free(&asked.kind, &had.kind, &kinds) {
        Ok(()) => names.kind = asked.kind.clone(),
        Err(why) => conflict = Some(("KindConflict", why)),
    }
    match free(&text(&asked.list_kind), &text(&had.list_kind), &kinds) {
        Ok(()) => names.list_kind = asked.list_kind.clone(),
        Err(why) => conflict = Some(("ListKindConflict", why)),
    }
    (names, conflict)
}
