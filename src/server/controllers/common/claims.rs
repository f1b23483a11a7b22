//! Which objects belong to a controller: references, adoption and release.

use super::{
    Context, Result,
    failure::{Doing, unless_gone},
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use mk8s_client::{
    Kind,
    kube::{
        Resource, ResourceExt,
        api::{Patch, PatchParams},
        core::NamespaceResourceScope,
    },
};
use serde_json::json;

/// The one owner that manages an object.
pub(crate) fn controller_of(meta: &ObjectMeta) -> Option<&OwnerReference> {
    meta.owner_references.iter().flatten().find(|owner| owner.controller == Some(true))
}

pub(crate) fn is_controlled_by(meta: &ObjectMeta, uid: Option<&str>) -> bool {
    controller_of(meta).is_some_and(|owner| Some(owner.uid.as_str()) == uid)
}

/// The reference that makes `owner` the manager of an object.
pub(crate) fn controller_ref<K: Resource<DynamicType = ()>>(owner: &K) -> OwnerReference {
    OwnerReference {
        api_version: K::api_version(&()).into_owned(),
        kind: K::kind(&()).into_owned(),
        name: owner.name_any(),
        uid: owner.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

/// What a controller does with one object that it may own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    Own,
    Adopt,
    Release,
    Ignore,
}

/// Ours and selected: own. Ours and not selected: release. No one's, selected and alive: adopt. While the controller is
/// being deleted nothing changes hands.
pub(crate) fn claim(controller: &ObjectMeta, object: &ObjectMeta, selected: bool) -> Claim {
    let dying = controller.deletion_timestamp.is_some();
    match controller_of(object) {
        Some(owner) if Some(&owner.uid) != controller.uid.as_ref() => Claim::Ignore,
        Some(_) if selected => Claim::Own,
        Some(_) if dying => Claim::Ignore,
        Some(_) => Claim::Release,
        None if dying || !selected || object.deletion_timestamp.is_some() => Claim::Ignore,
        None => Claim::Adopt,
    }
}

/// Makes `controller` the manager of an object, after asking the server whether the controller still lives. `None` when
/// the object is gone.
pub(crate) async fn adopt<C, K>(ctx: &Context, controller: &C, object: &K) -> Result<Option<K>>
where
    C: Kind + Resource<Scope = NamespaceResourceScope>,
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    adopt_with(ctx, controller, object, None).await
}

/// The same; the object gets a finalizer together with its manager.
pub(crate) async fn adopt_with<C, K>(
    ctx: &Context,
    controller: &C,
    object: &K,
    finalizer: Option<&str>,
) -> Result<Option<K>>
where
    C: Kind + Resource<Scope = NamespaceResourceScope>,
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let namespace = controller.namespace().unwrap_or_default();
    let doing = || format!("adopting {} {}/{}", K::kind(&()), namespace, object.name_any());
    let live = ctx.api::<C>(&namespace).get_opt(&controller.name_any()).await.doing(doing())?;
    if live.is_none_or(|live| live.uid() != controller.uid() || live.meta().deletion_timestamp.is_some()) {
        return Ok(None);
    }
    let mut owners = object.owner_references().to_vec();
    owners.retain(|owner| Some(&owner.uid) != controller.meta().uid.as_ref());
    owners.push(controller_ref(controller));
    let finalizers = finalizer.map(|finalizer| {
        let mut finalizers: Vec<String> = object.finalizers().to_vec();
        finalizers.retain(|known| known != finalizer);
        finalizers.push(finalizer.to_owned());
        finalizers
    });
    patch_owners(ctx, object, owners, finalizers).await.doing(doing())
}

/// Ends the management of an object that is not selected any more.
pub(crate) async fn release<C, K>(ctx: &Context, controller: &C, object: &K) -> Result<()>
where
    C: Kind,
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    release_with(ctx, controller, object, None).await
}

/// The same; a finalizer of the manager's goes together with it.
pub(crate) async fn release_with<C, K>(ctx: &Context, controller: &C, object: &K, finalizer: Option<&str>) -> Result<()>
where
    C: Kind,
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let mut owners = object.owner_references().to_vec();
    owners.retain(|owner| Some(&owner.uid) != controller.meta().uid.as_ref());
    let finalizers = finalizer.map(|finalizer| {
        let kept = object.finalizers().iter().filter(|known| *known != finalizer);
        kept.cloned().collect()
    });
    let result = patch_owners(ctx, object, owners, finalizers).await;
    result.doing(format_args!("releasing {} {}", K::kind(&()), object.name_any())).map(drop)
}

/// The version makes it a conflict when the owners are not those that were seen.
async fn patch_owners<K>(
    ctx: &Context,
    object: &K,
    owners: Vec<OwnerReference>,
    finalizers: Option<Vec<String>>,
) -> mk8s_client::kube::Result<Option<K>>
where
    K: Kind + Resource<Scope = NamespaceResourceScope>,
{
    let mut patch = json!({"metadata": {
        "uid": object.uid(), "resourceVersion": object.resource_version(), "ownerReferences": owners}});
    if let Some(finalizers) = finalizers {
        patch["metadata"]["finalizers"] = json!(finalizers);
    }
    let api = ctx.api::<K>(&object.namespace().unwrap_or_default());
    unless_gone(api.patch(&object.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await)
}
