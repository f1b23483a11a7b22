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
        assert_eq!(fate(&pod, &taints, noon()), expected, "{tolerations} {taints:?}");
    }
}
