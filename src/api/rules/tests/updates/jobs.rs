//! Workloads and jobs.

use super::*;

#[test]
fn workloads() {
    let spec = |rest: &str| format!("{{spec: {{selector: {{matchLabels: {{a: b}}}}, template: {TEMPLATE}{rest}}}}}");
    let mut new = named(yaml(&spec("")), true);
    let old = new.clone();
    new["metadata"]["annotations"] = json!({"a": "b"});
    of("apps", "Deployment").prepare_update(&mut new, &old);
    assert_eq!(new["metadata"]["generation"], 1, "annotations of a Deployment count");
    new["metadata"]["labels"] = json!({"a": "b"});
    of("apps", "Deployment").prepare_status_update(&mut new, &old);
    assert_eq!(new["metadata"].get("labels"), None);
    for kind in ["Deployment", "StatefulSet", "DaemonSet"] {
        let with = |count: &str| spec("").replace("{spec", &format!("{{status: {{{count}}}, spec"));
        check_status(
            "apps",
            kind,
            &with("collisionCount: 2"),
            &with("collisionCount: 1"),
            expect![[r#"
            status.collisionCount: Invalid value: 1: cannot be decremented
        "#]],
        );
    }
    check_status(
        "apps",
        "StatefulSet",
        &spec(""),
        &spec("").replace("{spec", "{status: {replicas: 1, readyReplicas: 1, availableReplicas: 2}, spec"),
        expect![[r#"
        status.availableReplicas: Invalid value: 2: cannot be greater than status.replicas
        status.availableReplicas: Invalid value: 2: cannot be greater than status.readyReplicas
    "#]],
    );
    let broken = spec("").replace("image: i", "image: i, imagePullPolicy: Odd");
    check_update("apps", "StatefulSet", &broken, &broken.replace("selector", "replicas: 2, selector"), expect![[""]]);
    check_update(
        "apps",
        "StatefulSet",
        &spec(""),
        &broken,
        expect![[r#"
        spec.template.spec.containers[0].imagePullPolicy: Unsupported value: "Odd": supported values: "Always", "IfNotPresent", "Never"
    "#]],
    );
}

const JOB: &str = "{metadata: {name: j, uid: u}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}";

/// A job as it is stored.
fn job(fixture: &str) -> Value {
    let mut job = named(yaml(fixture), true);
    let rules = of("batch", "Job");
    rules.default(&mut job);
    let status = job.get("status").cloned();
    rules.prepare_create(&mut job);
    if let Some(status) = status {
        job["status"] = status;
    }
    job
}

#[test]
fn jobs() {
    let change = |old: &str, new: &str, expected: Expect| {
        let (old, mut new) = (job(old), job(new));
        of("batch", "Job").prepare_update(&mut new, &old);
        expected.assert_eq(&text_of(of("batch", "Job").validate_update(&new, &old)));
    };
    let with = |more: &str| JOB.replacen("spec: {", &format!("spec: {{{more}, "), 1);
    change(
        JOB,
        &with("parallelism: 3"),
        expect![[r#"
        spec.completions: Invalid value: null: field is immutable
    "#]],
    );
    change(
        JOB,
        &with("completions: 3"),
        expect![[r#"
        spec.completions: Invalid value: 3: field is immutable
    "#]],
    );
    change(
        &with("completionMode: Indexed, completions: 2"),
        &with("completionMode: Indexed, completions: 3"),
        expect![[r#"
        spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism
    "#]],
    );
    change(
        &with("completionMode: Indexed, completions: 2"),
        &with("completionMode: Indexed, completions: 3, parallelism: 3"),
        expect![[""]],
    );
    change(
        JOB,
        &with("backoffLimitPerIndex: 1, completionMode: Indexed, completions: 1, managedBy: a.b/c"),
        expect![[r#"
        spec.completionMode: Invalid value: "Indexed": field is immutable
        spec.backoffLimitPerIndex: Invalid value: 1: field is immutable
        spec.managedBy: Invalid value: "a.b/c": field is immutable
    "#]],
    );
    change(
        JOB,
        &JOB.replace("image: i", "image: j"),
        expect![[r#"
            spec.template: Invalid value: {"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"},"Spec":{"Volumes":null,"InitContainers":null,"Containers":[{"Name":"c","Image":"j","Command":null,"Args":null,"WorkingDir":"","Ports":null,"EnvFrom":null,"Env":null,"Resources":{"Limits":null,"Requests":null,"Claims":null},"ResizePolicy":null,"RestartPolicy":null,"RestartPolicyRules":null,"VolumeMounts":null,"VolumeDevices":null,"LivenessProbe":null,"ReadinessProbe":null,"StartupProbe":null,"Lifecycle":null,"TerminationMessagePath":"/dev/termination-log","TerminationMessagePolicy":"File","ImagePullPolicy":"Always","SecurityContext":null,"Stdin":false,"StdinOnce":false,"TTY":false}],"EphemeralContainers":null,"RestartPolicy":"Never","TerminationGracePeriodSeconds":30,"ActiveDeadlineSeconds":null,"DNSPolicy":"ClusterFirst","NodeSelector":null,"ServiceAccountName":"","AutomountServiceAccountToken":null,"NodeName":"","SecurityContext":{"HostNetwork":false,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,"HostUsers":null,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"SupplementalGroups":null,"SupplementalGroupsPolicy":null,"FSGroup":null,"FSGroupChangePolicy":null,"Sysctls":null,"SeccompProfile":null,"AppArmorProfile":null,"SELinuxChangePolicy":null},"ImagePullSecrets":null,"Hostname":"","Subdomain":"","SetHostnameAsFQDN":null,"Affinity":null,"SchedulerName":"default-scheduler","Tolerations":null,"HostAliases":null,"PriorityClassName":"","Priority":null,"PreemptionPolicy":null,"DNSConfig":null,"ReadinessGates":null,"RuntimeClassName":null,"Overhead":null,"EnableServiceLinks":null,"TopologySpreadConstraints":null,"OS":null,"SchedulingGates":null,"ResourceClaims":null,"Resources":null,"HostnameOverride":null,"SchedulingGroup":null}}: field is immutable
        "#]],
    );
    let waiting = with("suspend: true");
    let chosen = waiting
        .replace("restartPolicy", "nodeSelector: {a: b}, affinity: {nodeAffinity: {}}, restartPolicy")
        .replace("image: i", "image: i, resources: {limits: {cpu: 1}}");
    change(&waiting, &chosen, expect![[""]]);
    change(
        &waiting,
        &waiting.replace("image: i", "image: j"),
        expect![[r#"
            spec.template.spec: Invalid value: {"Volumes":null,"InitContainers":null,"Containers":[{"Name":"c","Image":"j","Command":null,"Args":null,"WorkingDir":"","Ports":null,"EnvFrom":null,"Env":null,"Resources":{"Limits":null,"Requests":null,"Claims":null},"ResizePolicy":null,"RestartPolicy":null,"RestartPolicyRules":null,"VolumeMounts":null,"VolumeDevices":null,"LivenessProbe":null,"ReadinessProbe":null,"StartupProbe":null,"Lifecycle":null,"TerminationMessagePath":"/dev/termination-log","TerminationMessagePolicy":"File","ImagePullPolicy":"Always","SecurityContext":null,"Stdin":false,"StdinOnce":false,"TTY":false}],"EphemeralContainers":null,"RestartPolicy":"Never","TerminationGracePeriodSeconds":30,"ActiveDeadlineSeconds":null,"DNSPolicy":"ClusterFirst","NodeSelector":null,"ServiceAccountName":"","AutomountServiceAccountToken":null,"NodeName":"","SecurityContext":{"HostNetwork":false,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,"HostUsers":null,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"SupplementalGroups":null,"SupplementalGroupsPolicy":null,"FSGroup":null,"FSGroupChangePolicy":null,"Sysctls":null,"SeccompProfile":null,"AppArmorProfile":null,"SELinuxChangePolicy":null},"ImagePullSecrets":null,"Hostname":"","Subdomain":"","SetHostnameAsFQDN":null,"Affinity":null,"SchedulerName":"default-scheduler","Tolerations":null,"HostAliases":null,"PriorityClassName":"","Priority":null,"PreemptionPolicy":null,"DNSConfig":null,"ReadinessGates":null,"RuntimeClassName":null,"Overhead":null,"EnableServiceLinks":null,"TopologySpreadConstraints":null,"OS":null,"SchedulingGates":null,"ResourceClaims":null,"Resources":null,"HostnameOverride":null,"SchedulingGroup":null}: field is immutable
        "#]],
    );
    let busy = waiting.replacen("{metadata", "{status: {active: 1}, metadata", 1);
    change(
        &busy,
        &chosen,
        expect![[r#"
            spec.template: Invalid value: {"labels":{"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","controller-uid":"u","job-name":"j"},"Spec":{"Volumes":null,"InitContainers":null,"Containers":[{"Name":"c","Image":"i","Command":null,"Args":null,"WorkingDir":"","Ports":null,"EnvFrom":null,"Env":null,"Resources":{"Limits":{"cpu":1},"Requests":null,"Claims":null},"ResizePolicy":null,"RestartPolicy":null,"RestartPolicyRules":null,"VolumeMounts":null,"VolumeDevices":null,"LivenessProbe":null,"ReadinessProbe":null,"StartupProbe":null,"Lifecycle":null,"TerminationMessagePath":"/dev/termination-log","TerminationMessagePolicy":"File","ImagePullPolicy":"Always","SecurityContext":null,"Stdin":false,"StdinOnce":false,"TTY":false}],"EphemeralContainers":null,"RestartPolicy":"Never","TerminationGracePeriodSeconds":30,"ActiveDeadlineSeconds":null,"DNSPolicy":"ClusterFirst","NodeSelector":{"a":"b"},"ServiceAccountName":"","AutomountServiceAccountToken":null,"NodeName":"","SecurityContext":{"HostNetwork":false,"HostPID":false,"HostIPC":false,"ShareProcessNamespace":null,"HostUsers":null,"SELinuxOptions":null,"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,"SupplementalGroups":null,"SupplementalGroupsPolicy":null,"FSGroup":null,"FSGroupChangePolicy":null,"Sysctls":null,"SeccompProfile":null,"AppArmorProfile":null,"SELinuxChangePolicy":null},"ImagePullSecrets":null,"Hostname":"","Subdomain":"","SetHostnameAsFQDN":null,"Affinity":{"NodeAffinity":{"RequiredDuringSchedulingIgnoredDuringExecution":null,"PreferredDuringSchedulingIgnoredDuringExecution":null},"PodAffinity":null,"PodAntiAffinity":null},"SchedulerName":"default-scheduler","Tolerations":null,"HostAliases":null,"PriorityClassName":"","Priority":null,"PreemptionPolicy":null,"DNSConfig":null,"ReadinessGates":null,"RuntimeClassName":null,"Overhead":null,"EnableServiceLinks":null,"TopologySpreadConstraints":null,"OS":null,"SchedulingGates":null,"ResourceClaims":null,"Resources":null,"HostnameOverride":null,"SchedulingGroup":null}}: field is immutable
        "#]],
    );
    let mut made = job(JOB);
    made["spec"]["template"]["metadata"]["labels"]["job-name"] = json!("other");
    made["spec"]["template"]["metadata"]["labels"].as_object_mut().unwrap().remove("controller-uid");
    made["spec"]["selector"] = json!({"matchLabels": {"a": "b"}});
    expect![[r#"
        spec.template.metadata.labels[controller-uid]: Required value: must be 'u'
        spec.template.metadata.labels[job-name]: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","job-name":"other"}: must be 'j'
        spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: `selector` not auto-generated
        spec.template.metadata.labels: Invalid value: {"batch.kubernetes.io/controller-uid":"u","batch.kubernetes.io/job-name":"j","job-name":"other"}: `selector` does not match template `labels`
    "#]].assert_eq(&text_of(of("batch", "Job").validate(&made)));
}

#[test]
fn statuses_of_jobs() {
    let with = |status: &str, spec: &str| {
        let job = JOB.replacen("{metadata", &format!("{{status: {{{status}}}, metadata"), 1);
        if spec.is_empty() { job } else { job.replacen("spec: {", &format!("spec: {{{spec}, "), 1) }
    };
    let change = |spec: &str, old: &str, new: &str, expected: Expect| {
        let (old, mut new) = (job(&with(old, spec)), job(&with(new, spec)));
        of("batch", "Job").prepare_status_update(&mut new, &old);
        expected.assert_eq(&text_of(of("batch", "Job").validate_status_update(&new, &old)));
    };
    let conditions = |held: &[&str]| {
        let held: Vec<String> = held.iter().map(|one| format!("{{type: {one}, status: 'True'}}")).collect();
        format!("conditions: [{}]", held.join(", "))
    };
    let started = "startTime: '2026-01-01T00:00:01Z'";
    let complete = format!(
        "{started}, completionTime: '2026-01-01T00:00:02Z', {}",
        conditions(&["SuccessCriteriaMet", "Complete"])
    );
    change("", started, &complete, expect![[""]]);
    change(
        "",
        "",
        "active: -1, ready: 2, uncountedTerminatedPods: {succeeded: [a, ''], failed: [a]}",
        expect![[r#"
        status.active: Invalid value: -1: must be greater than or equal to 0
        status.uncountedTerminatedPods.succeeded[1]: Invalid value: "": must not be empty
        status.uncountedTerminatedPods.failed[0]: Duplicate value: "a"
        status.ready: Invalid value: 2: cannot set more ready pods than active
    "#]],
    );
    change(
        "",
        "",
        &format!(
            "active: 1, terminating: 1, uncountedTerminatedPods: {{failed: [a]}}, {}",
            conditions(&["Complete", "Failed", "FailureTarget"])
        ),
        expect![[r#"
        status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions
        status.conditions: Invalid value: cannot set Complete=True and FailureTarget=true conditions
        status.completionTime: Required value: completionTime is required for Complete jobs
        status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
        status.active: Invalid value: 1: active>0 is invalid for finished job
        status.startTime: Required value: startTime is required for finished job
        status.uncountedTerminatedPods: Invalid value: {"failed":["a"]}: must be empty for finished job
        status.terminating: Invalid value: 1: terminating>0 is invalid for finished job
    "#]],
    );
    change(
        "",
        "",
        &conditions(&["Complete"]),
        expect![[r#"
        status.completionTime: Required value: completionTime is required for Complete jobs
        status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
        status.startTime: Required value: startTime is required for finished job
    "#]],
    );
    change(
        "",
        "",
        &conditions(&["Failed"]),
        expect![[r#"
        status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition
        status.startTime: Required value: startTime is required for finished job
    "#]],
    );
    change(
        "",
        "",
        &conditions(&["SuccessCriteriaMet", "Failed", "FailureTarget"]),
        expect![[r#"
        status.startTime: Required value: startTime is required for finished job
        status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and Failed=true conditions
        status.conditions: Invalid value: cannot set SuccessCriteriaMet=True and FailureTarget=true conditions
    "#]],
    );
    change(
        "",
        "",
        "startTime: '2026-01-01T00:00:02Z', completionTime: '2026-01-01T00:00:01Z'",
        expect![[r#"
        status.completionTime: Invalid value: "2026-01-01T00:00:01Z": cannot set completionTime when there is no Complete=True condition
        status.completionTime: Invalid value: "2026-01-01T00:00:01Z": must be equal to or after `startTime`
    "#]],
    );
    change(
        "",
        &complete,
        &complete.replace("00:02Z", "00:03Z"),
        expect![[r#"
        status.completionTime: Invalid value: "2026-01-01T00:00:03Z": field is immutable
    "#]],
    );
    change(
        "",
        &complete,
        started,
        expect![[r#"
        status.conditions: Invalid value: cannot disable the terminal Complete=True condition
        status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition
    "#]],
    );
    change(
        "",
        "failed: 2, succeeded: 2, startTime: '2026-01-01T00:00:01Z'",
        "failed: 1, succeeded: 1, startTime: '2026-01-01T00:00:02Z'",
        expect![[r#"
        status.failed: Invalid value: 1: cannot decrease the failed counter
        status.succeeded: Invalid value: 1: cannot decrease the succeeded counter
        status.startTime: Invalid value: "2026-01-01T00:00:02Z": field is immutable for unsuspended job once set
    "#]],
    );
    change("suspend: true", started, "", expect![[""]]);
    change(
        "",
        "",
        "completedIndexes: '1', failedIndexes: '2'",
        expect![[r#"
        status.completedIndexes: Invalid value: "1": error parsing completedIndexes: too large index: "1"
        status.completedIndexes: Invalid value: "1": cannot set non-empty completedIndexes when non-indexed completion mode
        status.failedIndexes: Invalid value: "2": cannot set non-null failedIndexes when backoffLimitPerIndex is null
    "#]],
    );
    let indexed = "completionMode: Indexed, completions: 5, parallelism: 5, backoffLimitPerIndex: 1";
    change(indexed, "succeeded: 2", "completedIndexes: '0-2,4', failedIndexes: '3', succeeded: 1", expect![[""]]);
    change(
        indexed,
        "",
        "completedIndexes: '0-2,4', failedIndexes: '2-3'",
        expect![[r#"
        status.failedIndexes: Invalid value: "2-3": failedIndexes and completedIndexes overlap at index: 2
    "#]],
    );
    change(
        indexed,
        "",
        "completedIndexes: '2,1', failedIndexes: '9'",
        expect![[r#"
        status.completedIndexes: Invalid value: "2,1": error parsing completedIndexes: non-increasing order, previous: 2, current: 1
        status.failedIndexes: Invalid value: "9": error parsing failedIndexes: too large index: "9"
    "#]],
    );
    change(indexed, "completedIndexes: '2,1'", "completedIndexes: '2,1', active: 1", expect![[""]]);
    change(
        "successPolicy: {rules: [{succeededCount: 1}]}, completionMode: Indexed, completions: 2",
        started,
        &format!("{started}, completionTime: '2026-01-01T00:00:02Z', {}", conditions(&["Complete"])),
        expect![[r#"
        status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition
        status.conditions: Invalid value: cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True
    "#]],
    );
}
