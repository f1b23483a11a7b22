use super::plan::{Contents, Remaining, conditions, finalized, terminating};
use crate::{
    common::fixtures::{noon, one},
    inventory::ApiKind,
};
use expect_test::expect;
use k8s_openapi::{api::core::v1::Namespace, apimachinery::pkg::apis::meta::v1::ObjectMeta};

const NAMESPACE: &str = "
kind: Namespace
metadata: {name: n}
spec: {finalizers: [example.com/mine, kubernetes]}
status: {phase: Active}
";

fn report(namespace: &Namespace) -> String {
    let status = namespace.status.clone().expect("a status");
    let conditions = status.conditions.unwrap_or_default();
    let line = |condition: &k8s_openapi::api::core::v1::NamespaceCondition| {
        format!(
            "{}={} {}: {}\n",
            condition.type_,
            condition.status,
            condition.reason.as_deref().unwrap_or(""),
            condition.message.as_deref().unwrap_or("")
        )
    };
    conditions.iter().map(line).collect()
}

#[test]
fn the_phase_is_set_once() {
    let namespace: Namespace = one(NAMESPACE);
    let updated = terminating(&namespace).expect("a new phase");
    assert_eq!(terminating(&updated), None);
}

#[test]
fn what_remains_is_told_by_kind_and_finalizer() {
    let namespace: Namespace = one(NAMESPACE);
    let mut contents = Contents::default();
    let stuck = ObjectMeta { finalizers: Some(vec!["example.com/x".into()]), ..ObjectMeta::default() };
    let mut remaining = Remaining::default();
    remaining.add([&stuck].into_iter());
    remaining.add([&ObjectMeta::default()].into_iter());
    contents.add(&ApiKind::example("apps", "Deployment", true), remaining);
    contents.add(&ApiKind::example("", "Pod", true), Remaining::default());
    contents.failures.push("the server is closed".into());
    assert!(!contents.is_empty());
    let troubled = conditions(&namespace, &contents, noon()).expect("news");
    expect![[r#"
        NamespaceDeletionDiscoveryFailure=False ResourcesDiscovered: All resources successfully discovered
        NamespaceDeletionGroupVersionParsingFailure=False ParsedGroupVersions: All legacy kube types successfully parsed
        NamespaceDeletionContentFailure=True ContentDeletionFailed: Failed to delete all resource types, 1 remaining: the server is closed
        NamespaceContentRemaining=True SomeResourcesRemain: Some resources are remaining: deployments.apps has 2 resource instances
        NamespaceFinalizersRemaining=True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: example.com/x in 1 resource instances
    "#]].assert_eq(&report(&troubled));
    assert_eq!(conditions(&troubled, &contents, noon()), None, "no news");
    let fine = conditions(&troubled, &Contents::default(), noon()).expect("news");
    assert!(report(&fine).contains("NamespaceContentRemaining=False ContentRemoved"), "{}", report(&fine));
}

#[test]
fn only_the_own_finalizer_is_taken_away() {
    let done = finalized(&one(NAMESPACE));
    assert_eq!(done.spec.and_then(|spec| spec.finalizers), Some(vec!["example.com/mine".to_owned()]));
}
