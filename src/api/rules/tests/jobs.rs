//! What may become of a Job's template.

use super::*;

/// A Job as it is stored.
fn job(suspend: bool, status: &str, pods: &str) -> Value {
    let fixture = format!(
        "{{spec: {{suspend: {suspend}, manualSelector: true, selector: {{matchLabels: {{app: j}}}}, template: {{metadata: {{labels: \
         {{app: j}}}}, spec: {{restartPolicy: Never, {pods}}}}}}}, status: {{{status}}}}}"
    );
    let mut object = named(yaml(&fixture), true);
    of("batch", "Job").default(&mut object);
    object
}

/// What is wrong with giving a Job these pods.
fn change(old: &Value, pods: &str) -> String {
    let rules = of("batch", "Job");
    let mut new = job(true, "", pods);
    rules.prepare_update(&mut new, old);
    text_of(rules.validate_update(&new, old))
}

const SMALL: &str = "containers: [{name: c, image: i}]";
const LARGE: &str = "containers: [{name: c, image: i, resources: {requests: {cpu: 1}}}], nodeSelector: {a: b}, tolerations: [{operator: Exists}]";
const STARTED: &str = "startTime: '2026-01-01T00:00:00Z'";
const STOPPED: &str = "startTime: '2026-01-01T00:00:00Z', conditions: [{type: Suspended, status: 'True'}]";

#[test]
fn a_suspended_job_may_be_told_where_to_go_and_what_it_needs() {
    for status in ["", STOPPED] {
        assert_eq!(change(&job(true, status, SMALL), LARGE), "", "{status}");
        assert_eq!(change(&job(true, status, LARGE), SMALL), "", "{status}");
    }
    let affinity = "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: \
                    [{key: a, operator: Exists}]}]}}}";
    assert_eq!(change(&job(true, "", SMALL), &format!("{SMALL}, {affinity}")), "");
    assert_eq!(change(&job(true, "", &format!("{SMALL}, {affinity}")), SMALL), "");
}

#[test]
fn all_else_of_its_template_stays() {
    for pods in [
        "containers: [{name: c, image: other}]",
        "containers: [{name: d, image: i}]",
        "containers: [{name: c, image: i}, {name: d, image: i}]",
        "containers: [{name: c, image: i}], hostNetwork: true",
    ] {
        let errors = change(&job(true, STOPPED, SMALL), pods);
        assert!(errors.starts_with("spec.template.spec: Invalid value: "), "{pods}: {errors}");
        assert!(errors.trim_end().ends_with("field is immutable"), "{pods}: {errors}");
    }
}

#[test]
fn who_has_pods_or_is_not_suspended_keeps_its_template() {
    let still_going = format!("active: 1, {STOPPED}");
    for old in [job(true, STARTED, SMALL), job(true, &still_going, SMALL), job(false, "", SMALL)] {
        let errors = change(&old, LARGE);
        assert!(errors.starts_with("spec.template: Invalid value: "), "{errors}");
    }
}
