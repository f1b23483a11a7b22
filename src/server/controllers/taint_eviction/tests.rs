use super::plan::{Fate, fate};
use crate::common::fixtures::{noon, one};
use k8s_openapi::api::core::v1::Taint;
use mk8s_client::pod::Pod;
use std::time::Duration;

fn taint(key: &str, seconds_ago: i64) -> Taint {
    let added = noon() - jiff::SignedDuration::from_secs(seconds_ago);
    Taint {
        key: key.into(),
        effect: "NoExecute".into(),
        value: None,
        time_added: Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(added)),
    }
}

#[test]
fn tolerations_decide_how_long_a_pod_stays() {
    let table = [
        ("[]", vec![], Fate::Stay),
        ("[]", vec![taint("a", 0)], Fate::Leave),
        ("[{operator: Exists}]", vec![taint("a", 900)], Fate::Stay),
        ("[{key: a, operator: Exists, effect: NoSchedule}]", vec![taint("a", 0)], Fate::Leave),
        (
            "[{key: a, operator: Exists, tolerationSeconds: 300}]",
            vec![taint("a", 100)],
            Fate::LeaveIn(Duration::from_secs(200)),
        ),
        ("[{key: a, operator: Exists, tolerationSeconds: 300}]", vec![taint("a", 300)], Fate::Leave),
        ("[{key: a, operator: Equal, value: x}]", vec![taint("a", 0)], Fate::Leave),
        (
            "[{key: a, operator: Exists, tolerationSeconds: 300}, {key: b, operator: Exists, tolerationSeconds: 50}]",
            vec![taint("a", 0), taint("b", 10)],
            Fate::LeaveIn(Duration::from_secs(40)),
        ),
        ("[{key: a, operator: Exists}]", vec![taint("a", 0), taint("b", 0)], Fate::Leave),
    ];
    for (tolerations, taints, expected) in table {
        let pod: Pod =
            one(&format!("kind: Pod\nmetadata: {{name: p}}\nspec: {{containers: [], tolerations: {tolerations}}}"));
        let taints: Vec<&Taint> = taints.iter().collect();
        assert_eq!(fate(&pod, &taints, noon(), noon()), expected, "{tolerations} {taints:?}");
    }
}

#[test]
fn a_pods_time_begins_when_both_it_and_the_taint_are_there() {
    let pod = |scheduled: &str| -> Pod {
        one(&format!(
            "
            kind: Pod
            metadata: {{name: p, creationTimestamp: \"2026-01-01T11:00:00Z\"}}
            spec: {{containers: [], tolerations: [{{key: a, operator: Exists, tolerationSeconds: 300}}]}}
            status: {{conditions: [{{type: PodScheduled, status: '{scheduled}', lastTransitionTime: \"2026-01-01T11:58:20Z\"}}]}}
            "
        ))
    };
    let (long_ago, lately) = (taint("a", 7200), taint("a", 60));
    let undated = Taint { time_added: None, ..taint("a", 0) };
    let seen = noon() - jiff::SignedDuration::from_secs(10);
    let left = |scheduled: &str, taint: &Taint| fate(&pod(scheduled), &[taint], seen, noon());
    assert_eq!(left("True", &long_ago), Fate::LeaveIn(Duration::from_secs(200)), "the pod came after the taint");
    assert_eq!(left("True", &lately), Fate::LeaveIn(Duration::from_secs(240)), "the taint came after the pod");
    assert_eq!(left("False", &long_ago), Fate::Leave, "it was made with its node");
    // As `kubectl taint` writes it: the time must not begin anew with every look.
    assert_eq!(left("True", &undated), Fate::LeaveIn(Duration::from_secs(290)));
    let over = fate(&pod("True"), &[&undated], noon() - jiff::SignedDuration::from_secs(300), noon());
    // Seen before the pod was placed here: its own time decides.
    assert_eq!(over, Fate::LeaveIn(Duration::from_secs(200)));
}
