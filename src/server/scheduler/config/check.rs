//! What is wrong with a configuration, collected field by field.

use super::form::{Configuration, Named, Point, Set};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;
use std::fmt::Display;

pub(super) const VERSION: &str = "kubescheduler.config.k8s.io/v1";

#[derive(Debug, Default)]
pub(super) struct Faults(pub(super) Vec<String>);

impl Faults {
    pub(super) fn invalid(&mut self, path: &str, value: impl Display, why: &str) {
        self.0.push(format!("{path}: Invalid value: {value}: {why}"));
    }

    pub(super) fn required(&mut self, path: &str, why: &str) {
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.0.push(format!("{path}: Required value{why}"));
    }

    pub(super) fn unsupported(&mut self, path: &str, value: &str, known: &[&str]) {
        let known: Vec<String> = known.iter().map(|known| format!("{known:?}")).collect();
        self.0.push(format!("{path}: Unsupported value: {value:?}: supported values: {}", known.join(", ")));
    }

    pub(super) fn in_range(&mut self, path: &str, value: i64, least: i64, most: i64) {
        if value < least || value > most {
            self.invalid(path, value, &format!("not in valid range [{least}-{most}]"));
        }
    }

    pub(super) fn whole(&mut self, form: &Configuration) {
        if form.api_version.as_deref().is_some_and(|version| version != VERSION) {
            let version = form.api_version.as_deref().unwrap_or_default();
            self.unsupported("apiVersion", version, &[VERSION]);
        }
        if form.kind.as_deref().is_some_and(|kind| kind != "KubeSchedulerConfiguration") {
            self.unsupported("kind", form.kind.as_deref().unwrap_or_default(), &["KubeSchedulerConfiguration"]);
        }
        if let Some(parallelism) = form.parallelism.filter(|value| *value <= 0) {
            self.invalid("parallelism", parallelism, "should be an integer value greater than zero");
        }
        if let Some(percentage) = form.percentage_of_nodes_to_score {
            self.in_range("percentageOfNodesToScore", percentage.into(), 0, 100);
        }
        let (first, last) = (form.pod_initial_backoff_seconds.unwrap_or(1), form.pod_max_backoff_seconds.unwrap_or(10));
        if first <= 0 {
            self.invalid("podInitialBackoffSeconds", first, "must be greater than 0");
        }
        if last < first {
            self.invalid("podMaxBackoffSeconds", last, "must be greater than or equal to PodInitialBackoffSeconds");
        }
        if !form.extenders.is_empty() {
            self.0.push("extenders: Forbidden: extenders are not supported".to_owned());
        }
        self.scheduler_names(form);
    }

    fn scheduler_names(&mut self, form: &Configuration) {
        let several = form.profiles.len() > 1;
        for (n, profile) in form.profiles.iter().enumerate() {
            let name = profile.scheduler_name.as_deref().unwrap_or_default();
            if name.is_empty() && several {
                self.required(&format!("profiles[{n}].schedulerName"), "");
            }
            let same = |other: &super::form::ProfileForm| other.scheduler_name == profile.scheduler_name;
            if let Some(first) = form.profiles[..n].iter().position(same).filter(|_| !name.is_empty()) {
                self.0
                    .push(format!("profiles[{n}].schedulerName: Duplicate value: \"profiles[{first}].schedulerName\""));
            }
            if let Some(percentage) = profile.percentage_of_nodes_to_score {
                self.in_range(&format!("profiles[{n}].percentageOfNodesToScore"), percentage.into(), 0, 100);
            }
        }
    }

    pub(super) fn set(&mut self, path: &str, set: &Set, known: &[&str]) {
        for (n, plugin) in set.enabled.iter().enumerate() {
            if !known.contains(&plugin.name.as_str()) {
                self.invalid(&format!("{path}.enabled[{n}]"), format!("{:?}", plugin.name), "there is no such plugin");
            }
            if plugin.weight < 0 {
                self.invalid(&format!("{path}.enabled[{n}].weight"), plugin.weight, "must not be negative");
            }
        }
    }

    pub(super) fn resources(&mut self, path: &str, resources: &[Named]) {
        for (n, resource) in resources.iter().enumerate() {
            if resource.weight != 0 {
                let path = format!("{path}[{n}].weight");
                if !(1..=100).contains(&resource.weight) {
                    let why = format!("resource weight of {} not in valid range [1-100]", resource.name);
                    self.invalid(&path, resource.weight, &why);
                }
            }
        }
    }

    pub(super) fn shape(&mut self, path: &str, shape: &[Point]) {
        if shape.is_empty() {
            self.required(path, "at least one point must be specified");
        }
        for (n, point) in shape.iter().enumerate() {
            let sorted = n == 0 || shape[n - 1].utilization < point.utilization;
            if !sorted {
                let path = format!("{path}[{n}].utilization");
                self.invalid(&path, point.utilization, "values must be sorted in increasing order");
            }
            self.in_range(&format!("{path}[{n}].utilization"), point.utilization, 0, 100);
            self.in_range(&format!("{path}[{n}].score"), point.score, 0, 10);
        }
    }

    pub(super) fn default_constraints(&mut self, path: &str, constraints: &[TopologySpreadConstraint]) {
        for (n, constraint) in constraints.iter().enumerate() {
            let path = format!("{path}[{n}]");
            if constraint.max_skew <= 0 {
                self.invalid(&format!("{path}.maxSkew"), constraint.max_skew, "not in valid range (0, inf)");
            }
            if constraint.topology_key.is_empty() {
                self.required(&format!("{path}.topologyKey"), "can not be empty");
            }
            match constraint.when_unsatisfiable.as_str() {
                "" => self.required(&format!("{path}.whenUnsatisfiable"), "can not be empty"),
                "DoNotSchedule" | "ScheduleAnyway" => {}
                other => {
                    self.unsupported(&format!("{path}.whenUnsatisfiable"), other, &["DoNotSchedule", "ScheduleAnyway"])
                }
            }
            if constraint.label_selector.is_some() {
                let why = "constraint must not define a selector, as they deduced for each pod";
                self.0.push(format!("{path}.labelSelector: Forbidden: {why}"));
            }
            let same = |other: &TopologySpreadConstraint| {
                other.topology_key == constraint.topology_key
                    && other.when_unsatisfiable == constraint.when_unsatisfiable
            };
            if constraints[..n].iter().any(same) {
                let (key, action) = (&constraint.topology_key, &constraint.when_unsatisfiable);
                self.0.push(format!("{path}: Duplicate value: \"{{{key}, {action}}}\""));
            }
        }
    }
}
