use super::{Configured, read};
use expect_test::{Expect, expect};
use std::time::Duration;

/// Filters, then scores with weights.
fn plugins(configured: &Configured, profile: usize) -> String {
    let profile = &configured.profiles[profile];
    let name = |at: &usize| profile.plugins[*at].name();
    let filters: Vec<&str> = profile.filters.iter().map(name).collect();
    let scores: Vec<String> = profile.scores.iter().map(|(at, weight)| format!("{}={weight}", name(at))).collect();
    format!("{}\n{}\n{}", profile.scheduler_name, filters.join(" "), scores.join(" "))
}

fn refused(yaml: &str, expected: Expect) {
    let error = read(yaml).err().expect("the configuration is refused");
    expected.assert_eq(&error.to_string());
}

#[test]
fn without_a_word_the_defaults_hold() {
    let configured = read("{}").expect("an empty configuration is good");
    expect![[r#"
        default-scheduler
        NodeUnschedulable NodeName TaintToleration NodeAffinity NodePorts NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources
        TaintToleration=3 NodeAffinity=2 NodeResourcesFit=1 PodTopologySpread=2 InterPodAffinity=2 DynamicResources=2 NodeResourcesBalancedAllocation=1 ImageLocality=1"#]]
    .assert_eq(&plugins(&configured, 0));
    assert_eq!(configured.backoff.last, Duration::from_secs(10));
}

#[test]
fn profiles_name_schedulers_and_choose_plugins() {
    let configured = read(
        r#"
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
leaderElection: {leaderElect: false}
percentageOfNodesToScore: 30
podMaxBackoffSeconds: 5
profiles:
- schedulerName: default-scheduler
- schedulerName: packer
  percentageOfNodesToScore: 100
  plugins:
    multiPoint: {disabled: [{name: ImageLocality}]}
    filter: {disabled: [{name: NodePorts}]}
    score: {enabled: [{name: NodeAffinity, weight: 9}], disabled: [{name: PodTopologySpread}]}
- schedulerName: fast
  plugins:
    score: {disabled: [{name: "*"}]}
"#,
    )
    .expect("the configuration is good");
    assert_eq!(configured.profiles.iter().map(|p| p.percent_of_nodes).collect::<Vec<_>>(), [30, 100, 30]);
    assert_eq!(configured.backoff.last, Duration::from_secs(5));
    assert_eq!(configured.profiles[2].feasible_wanted(5000), 1);
    expect![[r#"
        packer
        NodeUnschedulable NodeName TaintToleration NodeAffinity NodeResourcesFit VolumeRestrictions NodeVolumeLimits VolumeBinding VolumeZone PodTopologySpread InterPodAffinity DynamicResources
        NodeAffinity=9 TaintToleration=3 NodeResourcesFit=1 InterPodAffinity=2 DynamicResources=2 NodeResourcesBalancedAllocation=1"#]]
    .assert_eq(&plugins(&configured, 1));
}

#[test]
fn all_that_is_wrong_is_said() {
    refused(
        "profile: []",
        expect![
            "the configuration is no KubeSchedulerConfiguration: unknown field `profile`, expected one of `apiVersion`, `kind`, `parallelism`, `percentageOfNodesToScore`, `podInitialBackoffSeconds`, `podMaxBackoffSeconds`, `profiles`, `extenders`, `leaderElection`, `clientConnection`, `enableProfiling`, `enableContentionProfiling`, `delayCacheUntilActive`"
        ],
    );
    refused(
        r#"
apiVersion: kubescheduler.config.k8s.io/v1beta3
percentageOfNodesToScore: 101
podInitialBackoffSeconds: 20
extenders: [{urlPrefix: "http://x"}]
profiles:
- schedulerName: a
  plugins: {filter: {enabled: [{name: Mine}]}}
- schedulerName: a
  pluginConfig:
  - name: NodeResourcesFit
    args: {scoringStrategy: {type: RequestedToCapacityRatio}}
  - name: InterPodAffinity
    args: {hardPodAffinityWeight: 200}
"#,
        expect![[
            r#"apiVersion: Unsupported value: "kubescheduler.config.k8s.io/v1beta3": supported values: "kubescheduler.config.k8s.io/v1", percentageOfNodesToScore: Invalid value: 101: not in valid range [0-100], podMaxBackoffSeconds: Invalid value: 10: must be greater than or equal to PodInitialBackoffSeconds, extenders: Forbidden: extenders are not supported, profiles[1].schedulerName: Duplicate value: "profiles[0].schedulerName", profiles[0].plugins.filter.enabled[0]: Invalid value: "Mine": there is no such plugin, profiles[1].pluginConfig[0].args.scoringStrategy.requestedToCapacityRatio: Required value: must be specified when type is RequestedToCapacityRatio, profiles[1].pluginConfig[1].args.hardPodAffinityWeight: Invalid value: 200: not in valid range [0-100]"#
        ]],
    );
}

#[test]
fn devices_have_their_time() {
    let args = |args: &str| format!("profiles:\n- pluginConfig:\n  - name: DynamicResources\n    args: {{{args}}}\n");
    let configured = read(&args("filterTimeout: 0s, bindingTimeout: 1m30s")).expect("the configuration is good");
    assert_eq!(configured.binding_timeout, Duration::from_secs(90));
    assert_eq!(configured.profiles[0].binding_timeout, Duration::from_secs(90));
    assert_eq!(Configured::default().binding_timeout, Duration::from_secs(600));
    refused(
        &args("filterTimeout: -1s, bindingTimeout: 500ms"),
        expect![[
            r#"profiles[0].pluginConfig[0].args.filterTimeout: Invalid value: "-1s": must be zero or positive, profiles[0].pluginConfig[0].args.bindingTimeout: Invalid value: "500ms": must be at least 1 second"#
        ]],
    );
}
