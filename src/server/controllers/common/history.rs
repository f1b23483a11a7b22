//! Versions of a pod template, kept as ControllerRevisions: what DaemonSets and StatefulSets roll from and to.

use super::{
    Context, Result,
    claims::controller_ref,
    failure::{Doing, already_exists, unless_gone},
};
use k8s_openapi::{
    api::{apps::v1::ControllerRevision, core::v1::PodTemplateSpec},
    apimachinery::pkg::{apis::meta::v1::ObjectMeta, runtime::RawExtension},
};
use mk8s_client::{
    Kind,
    kube::{
        Resource, ResourceExt,
        api::{DeleteParams, PostParams},
        core::NamespaceResourceScope,
    },
};
use serde_json::{Value, json};
use std::{collections::BTreeMap, sync::Arc};

/// What a StatefulSet's revisions carry their hash in; DaemonSets use the pods' own label.
pub(crate) const HASH: &str = "controller.kubernetes.io/hash";
pub(crate) const POD_HASH: &str = "controller-revision-hash";

/// The template as a revision holds it: a patch that would bring it back.
pub(crate) fn data(template: &PodTemplateSpec) -> Value {
    let mut template = serde_json::to_value(template).expect("a decoded template can be encoded");
    template["$patch"] = json!("replace");
    json!({"spec": {"template": template}})
}

pub(crate) fn hash_of(revision: &ControllerRevision) -> String {
    let labels = revision.labels();
    labels.get(HASH).or_else(|| labels.get(POD_HASH)).cloned().unwrap_or_default()
}

/// What must be done so that the newest revision holds the template.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Update {
    Nothing(Arc<ControllerRevision>),
    /// It held the template before, others came after it.
    Renumber(Box<ControllerRevision>),
    Create(Box<ControllerRevision>),
}

impl Update {
    pub(crate) fn revision(&self) -> &ControllerRevision {
        match self {
            Update::Nothing(revision) => revision,
            Update::Renumber(revision) | Update::Create(revision) => revision,
        }
    }
}

/// `revisions` are the owner's, in any order; `label` is where the hash is written.
pub(crate) fn update<K: Kind>(
    owner: &K,
    template: &PodTemplateSpec,
    revisions: &[Arc<ControllerRevision>],
    label: &str,
    collisions: Option<i32>,
) -> Update {
    let data = data(template);
    let newest = revisions.iter().map(|revision| revision.revision).max().unwrap_or_default();
    let same = revisions.iter().filter(|revision| revision.data.as_ref().map(|data| &data.0) == Some(&data));
    match same.max_by_key(|revision| revision.revision) {
        Some(known) if known.revision == newest => Update::Nothing(known.clone()),
        Some(known) => {
            Update::Renumber(Box::new(ControllerRevision { revision: newest + 1, ..known.as_ref().clone() }))
        }
        None => Update::Create(Box::new(new_revision(owner, template, data, newest + 1, label, collisions))),
    }
}

fn new_revision<K: Kind>(
    owner: &K,
    template: &PodTemplateSpec,
    data: Value,
    revision: i64,
    label: &str,
    collisions: Option<i32>,
) -> ControllerRevision {
    let hash = hash(&data, collisions);
    let mut labels: BTreeMap<String, String> =
        template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(label.to_owned(), hash.clone());
    let stem: String = owner.name_any().chars().take(223).collect();
    ControllerRevision {
        metadata: ObjectMeta {
            name: Some(format!("{stem}-{hash}")),
            namespace: owner.namespace(),
            labels: Some(labels),
            annotations: owner.meta().annotations.clone(),
            owner_references: Some(vec![controller_ref(owner)]),
            ..ObjectMeta::default()
        },
        data: Some(RawExtension(data)),
        revision,
    }
}

/// FNV-1a, in letters and digits that spell no words.
fn hash(data: &Value, collisions: Option<i32>) -> String {
    let salt = collisions.map(i32::to_le_bytes).into_iter().flatten();
    spell(data.to_string().into_bytes().into_iter().chain(salt))
}

pub(crate) fn spell(bytes: impl Iterator<Item = u8>) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let hash = bytes.fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash.to_string().bytes().map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()])).collect()
}

/// Revisions beyond the limit that are in use by none, the oldest first.
pub(crate) fn surplus(revisions: &[Arc<ControllerRevision>], in_use: &[&str], limit: i32) -> Vec<String> {
    let mut spare: Vec<&Arc<ControllerRevision>> =
        revisions.iter().filter(|revision| !in_use.contains(&revision.name_any().as_str())).collect();
    spare.sort_by_key(|revision| revision.revision);
    let count = spare.len().saturating_sub(usize::try_from(limit).unwrap_or_default());
    spare[..count].iter().map(|revision| revision.name_any()).collect()
}

/// What came of writing an update.
pub(crate) enum Written {
    Done(Box<ControllerRevision>),
    /// Another template has the same hash; the next attempt needs another salt.
    Collision,
}

pub(crate) async fn write<K>(ctx: &Context, owner: &K, update: &Update) -> Result<Option<Written>>
where
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let api = ctx.api::<ControllerRevision>(&owner.namespace().unwrap_or_default());
    let name = update.revision().name_any();
    let doing = || format!("writing ControllerRevision {name}");
    match update {
        Update::Nothing(_) => Ok(None),
        Update::Renumber(revision) => {
            let written = api.replace(&name, &PostParams::default(), revision).await.doing(doing())?;
            Ok(Some(Written::Done(Box::new(written))))
        }
        Update::Create(revision) => match api.create(&PostParams::default(), revision).await {
            Ok(created) => Ok(Some(Written::Done(Box::new(created)))),
            Err(error) if already_exists(&error) => {
                let existing = api.get_opt(&name).await.doing(doing())?;
                let same = existing.filter(|existing| existing.data == revision.data);
                Ok(Some(same.map_or(Written::Collision, |same| Written::Done(Box::new(same)))))
            }
            Err(error) => Err(error).doing(doing()),
        },
    }
}

pub(crate) async fn delete(ctx: &Context, namespace: &str, names: &[String]) -> Result<()> {
    let api = ctx.api::<ControllerRevision>(namespace);
    for name in names {
        unless_gone(api.delete(name, &DeleteParams::default()).await)
            .doing(format_args!("deleting ControllerRevision {name}"))?;
    }
    Ok(())
}
