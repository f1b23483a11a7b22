//! From the fields of a configuration to profiles.

use super::{
    Configured,
    check::Faults,
    form::{
        BalancedArgs, Configuration, DynamicResourcesArgs, FitArgs, InterPodAffinityArgs, Named, NodeAffinityArgs,
        PluginConfig, PluginsForm, PreemptionArgs, ProfileForm, Set, SpreadArgs, VolumeBindingArgs,
    },
};
use crate::{
    framework::Plugin,
    needs::SpreadDefaults,
    plugins::{
        balanced_allocation::NodeResourcesBalancedAllocation,
        dynamic_resources::DynamicResources,
        image_locality::ImageLocality,
        inter_pod_affinity::InterPodAffinity,
        node_affinity::NodeAffinity,
        node_name::NodeName,
        node_ports::NodePorts,
        node_unschedulable::NodeUnschedulable,
        node_volume_limits::NodeVolumeLimits,
        pod_topology_spread::PodTopologySpread,
        resource_scores::{ResourceWeight, default_resources},
        resources_fit::{NodeResourcesFit, Strategy},
        taint_toleration::TaintToleration,
        volume_binding::VolumeBinding,
        volume_restrictions::VolumeRestrictions,
        volume_zone::VolumeZone,
    },
    profile::{PreemptionOptions, Profile},
    queue::Backoff,
};
use mk8s_api::duration;
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The plugins that are enabled without a word, with their weights, in Kubernetes' order.
const DEFAULTS: [(&str, i64); 19] = [
    ("SchedulingGates", 0),
    ("PrioritySort", 0),
    ("NodeUnschedulable", 0),
    ("NodeName", 0),
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodePorts", 0),
    ("NodeResourcesFit", 1),
    ("VolumeRestrictions", 0),
    ("NodeVolumeLimits", 0),
    ("VolumeBinding", 0),
    ("VolumeZone", 0),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 2),
    ("DefaultPreemption", 0),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
    ("DefaultBinder", 0),
];

/// Which plugins filter and which rank.
const FILTERS: [&str; 13] = [
    "NodeUnschedulable",
    "NodeName",
    "TaintToleration",
    "NodeAffinity",
    "NodePorts",
    "NodeResourcesFit",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "PodTopologySpread",
    "InterPodAffinity",
    "DynamicResources",
];
const SCORES: [&str; 8] = [
    "TaintToleration",
    "NodeAffinity",
    "NodeResourcesFit",
    "PodTopologySpread",
    "InterPodAffinity",
    "DynamicResources",
    "NodeResourcesBalancedAllocation",
    "ImageLocality",
];

pub(super) fn configured(form: Configuration) -> Result<Configured, Vec<String>> {
    let mut faults = Faults::default();
    faults.whole(&form);
    let seconds = |seconds: Option<i64>, default: u64| {
        Duration::from_secs(seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(default))
    };
    let backoff = Backoff {
        first: seconds(form.pod_initial_backoff_seconds, 1),
        last: seconds(form.pod_max_backoff_seconds, 10),
    };
    let percent = percentage(form.percentage_of_nodes_to_score);
    let forms = if form.profiles.is_empty() { vec![ProfileForm::default()] } else { form.profiles };
    let mut volume_timeout = Duration::from_secs(600);
    let mut binding_timeout = DynamicResources::default().binding_timeout;
    let mut profiles = Vec::new();
    for (n, form) in forms.into_iter().enumerate() {
        let mut args = Args::read(&format!("profiles[{n}]"), &form.plugin_config, &mut faults);
        if let Some(timeout) = args.volume_timeout.take() {
            volume_timeout = timeout;
        }
        if args.devices != DynamicResources::default() {
            binding_timeout = args.devices.binding_timeout;
        }
        profiles.push(profile(n, form, args, percent, &mut faults));
    }
    match faults.0.is_empty() {
        true => Ok(Configured { profiles, backoff, volume_timeout, binding_timeout }),
        false => Err(faults.0),
    }
}

fn percentage(percentage: Option<i32>) -> usize {
    percentage.and_then(|percentage| usize::try_from(percentage).ok()).unwrap_or(0)
}

fn profile(n: usize, form: ProfileForm, args: Args, percent: usize, faults: &mut Faults) -> Profile {
    let known: Vec<&str> = DEFAULTS.iter().map(|(name, _)| *name).collect();
    for (point, set) in form.plugins.all() {
        faults.set(&format!("profiles[{n}].plugins.{point}"), set, &known);
    }
    let chosen = Chosen::of(&form.plugins);
    let (preemption, spread_defaults) = (args.preemption, args.spread.defaults.clone());
    let binding_timeout = args.devices.binding_timeout;
    let all = args.plugins();
    let place = |name: &str| all.iter().position(|plugin| plugin.name() == name);
    let filters = chosen.at(&form.plugins.filter, &FILTERS);
    let scores = chosen.at(&form.plugins.score, &SCORES);
    let post_filters = chosen.at(&form.plugins.post_filter, &["DynamicResources", "DefaultPreemption"]);
    let preempts = |name: &str| post_filters.iter().any(|(plugin, _)| plugin == name);
    Profile {
        scheduler_name: form.scheduler_name.unwrap_or_else(|| "default-scheduler".to_owned()),
        filters: filters.iter().filter_map(|(name, _)| place(name)).collect(),
        scores: scores.iter().filter_map(|(name, weight)| Some((place(name)?, (*weight).max(1)))).collect(),
        preemption: preempts("DefaultPreemption").then_some(preemption),
        names_claims: preempts("DynamicResources"),
        binding_timeout,
        percent_of_nodes: form.percentage_of_nodes_to_score.map_or(percent, |own| percentage(Some(own))),
        spread_defaults,
        plugins: all,
    }
}

/// The plugins of all points, as the defaults and the configuration have them together.
struct Chosen(Vec<Named>);

impl Chosen {
    fn of(form: &PluginsForm) -> Self {
        let Set { enabled, disabled } = &form.multi_point;
        let off = |name: &str| disabled.iter().any(|plugin| plugin.name == "*" || plugin.name == name);
        let defaults = DEFAULTS.iter().filter(|(name, _)| !off(name));
        let mut all: Vec<Named> = defaults
            .map(|(name, weight)| {
                let own = enabled.iter().find(|plugin| plugin.name == *name);
                own.cloned().unwrap_or_else(|| Named { name: (*name).to_owned(), weight: *weight })
            })
            .collect();
        for plugin in enabled {
            if !all.iter().any(|known| known.name == plugin.name) {
                all.push(plugin.clone());
            }
        }
        Self(all)
    }

    /// The plugins of one point: what it names itself goes first where it is enabled everywhere, too, and last where not.
    fn at(&self, point: &Set, able: &[&str]) -> Vec<(String, i64)> {
        let off = |name: &str| point.disabled.iter().any(|plugin| plugin.name == "*" || plugin.name == name);
        let everywhere = |name: &str| self.0.iter().any(|plugin| plugin.name == name);
        let named = |name: &str| point.enabled.iter().any(|plugin| plugin.name == name);
        let replaced = point.enabled.iter().filter(|plugin| everywhere(&plugin.name));
        let plain = self.0.iter().filter(|plugin| !named(&plugin.name) && !off(&plugin.name));
        let further = point.enabled.iter().filter(|plugin| !everywhere(&plugin.name));
        let all = replaced.chain(plain).chain(further).filter(|plugin| able.contains(&plugin.name.as_str()));
        all.map(|plugin| (plugin.name.clone(), plugin.weight)).collect()
    }
}

/// The arguments of a profile's plugins.
#[derive(Default)]
struct Args {
    preemption: PreemptionOptions,
    affinity: InterPodAffinity,
    fit: NodeResourcesFit,
    balanced: NodeResourcesBalancedAllocation,
    spread: PodTopologySpread,
    nodes: NodeAffinity,
    devices: DynamicResources,
    volume_timeout: Option<Duration>,
}

impl Args {
    fn plugins(self) -> Vec<Box<dyn Plugin>> {
        vec![
            Box::new(NodeUnschedulable),
            Box::new(NodeName),
            Box::new(TaintToleration),
            Box::new(self.nodes),
            Box::new(NodePorts),
            Box::new(self.fit),
            Box::new(VolumeRestrictions),
            Box::new(NodeVolumeLimits),
            Box::new(VolumeBinding),
            Box::new(VolumeZone),
            Box::new(self.spread),
            Box::new(self.affinity),
            Box::new(self.devices),
            Box::new(self.balanced),
            Box::new(ImageLocality),
        ]
    }

    fn read(profile: &str, configs: &[PluginConfig], faults: &mut Faults) -> Self {
        let mut args = Self::default();
        for (n, config) in configs.iter().enumerate() {
            let path = format!("{profile}.pluginConfig[{n}]");
            if configs[..n].iter().any(|other| other.name == config.name) {
                faults.0.push(format!("{path}: Duplicate value: {:?}", config.name));
            }
            let path = format!("{path}.args");
            match config.name.as_str() {
                "DefaultPreemption" => args.read_preemption(&path, config, faults),
                "InterPodAffinity" => args.read_affinity(&path, config, faults),
                "NodeResourcesFit" => args.read_fit(&path, config, faults),
                "NodeResourcesBalancedAllocation" => args.read_balanced(&path, config, faults),
                "PodTopologySpread" => args.read_spread(&path, config, faults),
                "NodeAffinity" => {
                    let form: NodeAffinityArgs = parse(&path, config, faults);
                    args.nodes.added = form.added_affinity;
                }
                "VolumeBinding" => {
                    let form: VolumeBindingArgs = parse(&path, config, faults);
                    let seconds = form.bind_timeout_seconds.unwrap_or(600);
                    match u64::try_from(seconds) {
                        Ok(seconds) => args.volume_timeout = Some(Duration::from_secs(seconds)),
                        Err(_) => faults.invalid(
                            &format!("{path}.bindTimeoutSeconds"),
                            seconds,
                            "invalid BindTimeoutSeconds, should not be a negative value",
                        ),
                    }
                }
                "DynamicResources" => args.read_devices(&path, config, faults),
                other => {
                    faults.invalid(&path, format!("{other:?}"), "there is no plugin of this name that takes arguments")
                }
            }
        }
        args
    }

    fn read_devices(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: DynamicResourcesArgs = parse(path, config, faults);
        let mut duration = |field: &str, text: Option<String>, least: Duration, why: &str| {
            let (path, text) = (format!("{path}.{field}"), text?);
            match duration::parse(&text).map(|nanos| u64::try_from(nanos).map(Duration::from_nanos)) {
                Ok(Ok(duration)) if duration >= least => return Some(duration),
                Ok(_) => faults.invalid(&path, format!("{text:?}"), why),
                Err(error) => faults.invalid(&path, format!("{text:?}"), &error),
            }
            None
        };
        let second = Duration::from_secs(1);
        if let Some(timeout) =
            duration("filterTimeout", form.filter_timeout, Duration::ZERO, "must be zero or positive")
        {
            self.devices.filter_timeout = timeout;
        }
        if let Some(timeout) = duration("bindingTimeout", form.binding_timeout, second, "must be at least 1 second") {
            self.devices.binding_timeout = timeout;
        }
    }

    fn read_preemption(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: PreemptionArgs = parse(path, config, faults);
        let percent = form.min_candidate_nodes_percentage.unwrap_or(10);
        let absolute = form.min_candidate_nodes_absolute.unwrap_or(100);
        faults.in_range(&format!("{path}.minCandidateNodesPercentage"), percent.into(), 0, 100);
        if absolute < 0 {
            faults.invalid(&format!("{path}.minCandidateNodesAbsolute"), absolute, "not in valid range [0, inf)");
        }
        if percent == 0 && absolute == 0 {
            let why = "cannot be zero at the same time as minCandidateNodesAbsolute";
            faults.invalid(&format!("{path}.minCandidateNodesPercentage"), percent, why);
        }
        self.preemption = PreemptionOptions {
            candidates_percent_min: usize::try_from(percent).unwrap_or(0),
            candidates_min: usize::try_from(absolute).unwrap_or(0),
        };
    }

    fn read_affinity(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: InterPodAffinityArgs = parse(path, config, faults);
        let weight = i64::from(form.hard_pod_affinity_weight.unwrap_or(1));
        faults.in_range(&format!("{path}.hardPodAffinityWeight"), weight, 0, 100);
        let ignore_preferences_of_placed = form.ignore_preferred_terms_of_existing_pods;
        self.affinity = InterPodAffinity { hard_weight: weight, ignore_preferences_of_placed };
    }

    fn read_fit(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: FitArgs = parse(path, config, faults);
        for (n, group) in form.ignored_resource_groups.iter().enumerate() {
            if group.contains('/') {
                let path = format!("{path}.ignoredResourceGroups[{n}]");
                faults.invalid(&path, format!("{group:?}"), "resource group name can't contain '/'");
            }
        }
        let mut fit = NodeResourcesFit {
            ignored_resources: form.ignored_resources,
            ignored_groups: form.ignored_resource_groups,
            ..NodeResourcesFit::default()
        };
        if let Some(strategy) = form.scoring_strategy {
            let path = format!("{path}.scoringStrategy");
            faults.resources(&format!("{path}.resources"), &strategy.resources);
            fit.resources = weights(&strategy.resources);
            let ratio = strategy.requested_to_capacity_ratio;
            let ratio_path = format!("{path}.requestedToCapacityRatio");
            let kind = strategy.kind.as_deref().unwrap_or("LeastAllocated");
            fit.strategy = match (kind, ratio) {
                ("RequestedToCapacityRatio", Some(ratio)) => {
                    faults.shape(&format!("{ratio_path}.shape"), &ratio.shape);
                    // Scores are written from 0 to 10.
                    Strategy::RequestedToCapacityRatio(
                        ratio.shape.iter().map(|p| (p.utilization, p.score * 10)).collect(),
                    )
                }
                ("RequestedToCapacityRatio", None) => {
                    faults.required(&ratio_path, "must be specified when type is RequestedToCapacityRatio");
                    Strategy::LeastAllocated
                }
                ("LeastAllocated" | "MostAllocated", Some(_)) => {
                    let why = "must be nil when type is not RequestedToCapacityRatio";
                    faults.0.push(format!("{ratio_path}: Forbidden: {why}"));
                    Strategy::LeastAllocated
                }
                ("LeastAllocated", None) => Strategy::LeastAllocated,
                ("MostAllocated", None) => Strategy::MostAllocated,
                (other, _) => {
                    let known = ["LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"];
                    faults.unsupported(&format!("{path}.type"), other, &known);
                    Strategy::LeastAllocated
                }
            };
        }
        self.fit = fit;
    }

    fn read_balanced(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: BalancedArgs = parse(path, config, faults);
        for (n, resource) in form.resources.iter().enumerate() {
            if !matches!(resource.weight, 0 | 1) {
                faults.invalid(&format!("{path}.resources[{n}].weight"), resource.weight, "must be 1");
            }
            if form.resources[..n].iter().any(|other| other.name == resource.name) {
                faults.0.push(format!("{path}.resources[{n}].name: Duplicate value: {:?}", resource.name));
            }
        }
        self.balanced = NodeResourcesBalancedAllocation { resources: weights(&form.resources) };
    }

    fn read_spread(&mut self, path: &str, config: &PluginConfig, faults: &mut Faults) {
        let form: SpreadArgs = parse(path, config, faults);
        faults.default_constraints(&format!("{path}.defaultConstraints"), &form.default_constraints);
        match form.defaulting_type.as_deref().unwrap_or("System") {
            "System" if form.default_constraints.is_empty() => {}
            "System" => {
                faults.invalid(
                    &format!("{path}.defaultingType"),
                    "\"System\"",
                    "when .defaultConstraints are not empty",
                );
            }
            "List" => {
                let constraints = form.default_constraints;
                self.spread = PodTopologySpread { defaults: SpreadDefaults { constraints, built_in: false } };
            }
            other => faults.unsupported(&format!("{path}.defaultingType"), other, &["System", "List"]),
        }
    }
}

/// Resources with their weights; the usual ones when none are named.
fn weights(resources: &[Named]) -> Vec<ResourceWeight> {
    if resources.is_empty() {
        return default_resources();
    }
    let weight = |resource: &Named| ResourceWeight { name: resource.name.clone(), weight: resource.weight.max(1) };
    resources.iter().map(weight).collect()
}

fn parse<T: DeserializeOwned + Default>(path: &str, config: &PluginConfig, faults: &mut Faults) -> T {
    if config.args.is_null() {
        return T::default();
    }
    serde_yaml::from_value(config.args.clone()).unwrap_or_else(|error| {
        faults.0.push(format!("{path}: {error}"));
        T::default()
    })
}
