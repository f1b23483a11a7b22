//! Where readings come from: the metrics APIs, whoever serves them.

use super::calculate::{Reading, Readings};
use crate::{
    common::{Context, failure::said, selectors},
    inventory::Inventory,
};
use async_trait::async_trait;
use form_urlencoded::Serializer;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::autoscaling::v2::{CrossVersionObjectReference, MetricIdentifier},
    apimachinery::pkg::apis::meta::v1::LabelSelector,
};
use mk8s_api::{
    at::{list, sub, text},
    quantity::Quantity,
};
use serde_json::Value;

/// Readings by pod, or values; an error says why there are none.
#[async_trait]
pub(super) trait Metrics: Send + Sync {
    /// What pods use of a resource; of one container where it is named.
    async fn resource(
        &self,
        namespace: &str,
        resource: &str,
        selector: &str,
        container: &str,
    ) -> Result<Readings, String>;
    async fn pods(&self, namespace: &str, metric: &MetricIdentifier, selector: &str) -> Result<Readings, String>;
    async fn object(
        &self,
        namespace: &str,
        metric: &MetricIdentifier,
        of: &CrossVersionObjectReference,
    ) -> Result<i64, String>;
    async fn external(&self, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String>;
}

/// The APIs as any client has them.
pub(super) struct Served {
    pub(super) ctx: Context,
    pub(super) inventory: Inventory,
}

impl Served {
    async fn get(&self, path: &str, query: &[(&str, &str)], what: &str) -> Result<Value, String> {
        let failed = |why: String| format!("unable to fetch metrics from {what} metrics API: {why}");
        let given = query.iter().filter(|(_, value)| !value.is_empty());
        let query = Serializer::new(String::new()).extend_pairs(given).finish();
        let uri = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
        let request = http::Request::get(uri).body(Vec::new()).map_err(|error| failed(error.to_string()))?;
        self.ctx.client.request::<Value>(request).await.map_err(|error| failed(said(&error)))
    }
}

fn selector_text(selector: Option<&LabelSelector>) -> String {
    let Some(selector) = selector else { return String::new() };
    selectors::compile(Some(selector)).map(|selector| selector.to_string()).unwrap_or_default()
}

fn milli(amount: &Value) -> Option<i64> {
    Some(amount)
        .filter(|amount| !amount.is_null())
        .and_then(|amount| Quantity::from_json(amount).ok())
        .map(Quantity::millis)
}

fn time_of(item: &Value) -> Timestamp {
    text(item, "timestamp").parse().unwrap_or(Timestamp::UNIX_EPOCH)
}

fn window_of(item: &Value) -> SignedDuration {
    let parsed = text(item, "window").parse::<jiff::Span>().ok().and_then(|span| SignedDuration::try_from(span).ok());
    parsed.unwrap_or(SignedDuration::from_mins(1))
}

#[async_trait]
impl Metrics for Served {
    async fn resource(
        &self,
        namespace: &str,
        resource: &str,
        selector: &str,
        container: &str,
    ) -> Result<Readings, String> {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
        let found = self.get(&path, &[("labelSelector", selector)], "resource").await?;
        of_resource(&found, namespace, resource, container)
    }

    async fn pods(&self, namespace: &str, metric: &MetricIdentifier, selector: &str) -> Result<Readings, String> {
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/namespaces/{namespace}/pods/*/{}", metric.name);
        let metric_selector = selector_text(metric.selector.as_ref());
        let query = [("labelSelector", selector), ("metricLabelSelector", metric_selector.as_str())];
        let found = self.get(&path, &query, "custom").await?;
        let reading = |item: &Value| {
            let reading = Reading { milli: milli(&item["value"])?, at: time_of(item), window: window_of(item) };
            Some((text(sub(item, "describedObject"), "name").to_owned(), reading))
        };
        let readings: Readings = list(&found, "items").iter().filter_map(reading).collect();
        if readings.is_empty() { Err("no metrics returned from custom metrics API".to_owned()) } else { Ok(readings) }
    }

    async fn object(
        &self,
        namespace: &str,
        metric: &MetricIdentifier,
        of: &CrossVersionObjectReference,
    ) -> Result<i64, String> {
        let kind = self.inventory.kinds().find(of.api_version.as_deref().unwrap_or_default(), &of.kind).cloned();
        let kind = kind.ok_or_else(|| format!("no matches for kind {:?}", of.kind))?;
        let resource =
            if kind.group.is_empty() { kind.plural.clone() } else { format!("{}.{}", kind.plural, kind.group) };
        let place = if kind.namespaced { format!("namespaces/{namespace}/") } else { String::new() };
        let path = format!("/apis/custom.metrics.k8s.io/v1beta2/{place}{resource}/{}/{}", of.name, metric.name);
        let metric_selector = selector_text(metric.selector.as_ref());
        let found = self.get(&path, &[("metricLabelSelector", metric_selector.as_str())], "custom").await?;
        let value = list(&found, "items").first().and_then(|item| milli(&item["value"]));
        value.ok_or_else(|| "no metrics returned from custom metrics API".to_owned())
    }

    async fn external(&self, namespace: &str, metric: &MetricIdentifier) -> Result<i64, String> {
        let path = format!("/apis/external.metrics.k8s.io/v1beta1/namespaces/{namespace}/{}", metric.name);
        let metric_selector = selector_text(metric.selector.as_ref());
        let found = self.get(&path, &[("labelSelector", metric_selector.as_str())], "external").await?;
        let values: Vec<i64> = list(&found, "items").iter().filter_map(|item| milli(&item["value"])).collect();
        match values.is_empty() {
            true => Err("no metrics returned from external metrics API".to_owned()),
            false => Ok(values.into_iter().fold(0, i64::saturating_add)),
        }
    }
}

/// The sums over containers; a pod of which one says nothing is left out.
pub(super) fn of_resource(found: &Value, namespace: &str, resource: &str, container: &str) -> Result<Readings, String> {
    let items = list(found, "items");
    if items.is_empty() {
        return Err("no metrics returned from resource metrics API".to_owned());
    }
    let mut readings = Readings::new();
    for item in items {
        let name = text(sub(item, "metadata"), "name");
        let containers = list(item, "containers");
        let used = |known: &Value| milli(&known["usage"][resource]);
        let milli = match container {
            "" => containers.iter().map(used).sum::<Option<i64>>(),
            _ => {
                let known = containers.iter().find(|known| text(known, "name") == container);
                used(known.ok_or_else(|| {
                    format!("container {container} not present in metrics for pod {namespace}/{name}")
                })?)
            }
        };
        if let Some(milli) = milli {
            readings.insert(name.to_owned(), Reading { milli, at: time_of(item), window: window_of(item) });
        }
    }
    Ok(readings)
}
