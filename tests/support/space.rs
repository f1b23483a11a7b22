//! A Kubernetes namespace of one test on a host that several tests share.

use super::host::Host;
use std::{process::Output, time::Duration};

/// Commands run in the namespace; it is deleted, unwaited for, when the space is dropped.
pub(crate) struct Space<'a> {
    pub(crate) host: &'a Host,
    pub(crate) name: &'static str,
}

impl<'a> Space<'a> {
    pub(crate) fn new(host: &'a Host, name: &'static str) -> Space<'a> {
        host.kubectl(&["create", "namespace", name]);
        let account = ["get", "serviceaccount", "default", "-n", name, "-o", "name"];
        host.wait_for(&account, Duration::from_secs(10), |out| !out.is_empty());
        Space { host, name }
    }

    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.host.kubectl(&self.named(arguments))
    }

    pub(crate) fn run_kubectl(&self, arguments: &[&str]) -> Output {
        self.host.run_kubectl(&self.named(arguments))
    }

    pub(crate) fn apply(&self, manifest: &str) {
        self.host.apply_with(&["-n", self.name], manifest);
    }

    pub(crate) fn wait_for(&self, arguments: &[&str], within: Duration, holds: impl Fn(&str) -> bool) -> String {
        self.host.wait_for(&self.named(arguments), within, holds)
    }

    /// A field of an object by JSONPath.
    pub(crate) fn field(&self, object: &str, path: &str) -> String {
        self.kubectl(&["get", object, "-o", &format!("jsonpath={path}")])
    }

    /// Waits until a field of an object is as wished.
    pub(crate) fn wait_field(
        &self,
        object: &str,
        path: &str,
        within: Duration,
        holds: impl Fn(&str) -> bool,
    ) -> String {
        self.wait_for(&["get", object, "-o", &format!("jsonpath={path}")], within, holds)
    }

    /// Waits for a pod's readiness.
    pub(crate) fn ready(&self, pod: &str) {
        self.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=60s"]);
    }

    fn named<'b>(&self, arguments: &[&'b str]) -> Vec<&'b str> {
        [&["-n", self.name][..], arguments].concat()
    }
}

impl Drop for Space<'_> {
    fn drop(&mut self) {
        drop(self.host.run_kubectl(&["delete", "namespace", self.name, "--wait=false"]));
    }
}
