//! From what a user types to the objects meant by it.

pub(crate) mod discovery;
pub(crate) mod files;
pub(crate) mod pods;

use crate::{flags::Files, remote::with_query, session::Session};
use anyhow::{Result, anyhow, bail};
use discovery::{Mapper, Resource};
use serde_json::Value;
use std::sync::Arc;

/// One object: its type and name, and its content when that is known.
#[derive(Debug, Clone)]
pub(crate) struct Info {
    pub(crate) resource: Arc<Resource>,
    pub(crate) namespace: Option<String>,
    /// Empty for objects with a generateName.
    pub(crate) name: String,
    /// From a file or the server; null when not read.
    pub(crate) object: Value,
    /// The file it came from.
    pub(crate) source: Option<String>,
}

impl Info {
    pub(crate) fn collection(&self) -> String {
        self.resource.path(self.namespace.as_deref())
    }

    pub(crate) fn path(&self) -> String {
        format!("{}/{}", self.collection(), self.name)
    }

    /// `pod/x`, `deployment.apps/x`.
    pub(crate) fn display(&self) -> String {
        format!("{}/{}", self.resource.label(), self.name)
    }
}

/// What was asked for.
#[derive(Debug, Default, Clone)]
pub(crate) struct Query<'a> {
    pub(crate) args: &'a [String],
    pub(crate) files: Option<&'a Files>,
    pub(crate) selector: &'a str,
    pub(crate) field_selector: &'a str,
    pub(crate) all_namespaces: bool,
    /// `--all`: a type without names means all of it.
    pub(crate) all: bool,
    /// A type without names is fine (`get pods`).
    pub(crate) bare_types: bool,
}

/// Objects by name, or whole types.
#[derive(Debug)]
pub(crate) enum Wanted {
    Named(Vec<Info>),
    Types(Vec<Arc<Resource>>),
}

const NOTHING_GIVEN: &str = "You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'";

/// Type and name pairs, or types, of positional arguments.
#[derive(Debug, PartialEq, Eq)]
enum Parsed {
    Pairs(Vec<(String, String)>),
    Types(Vec<String>),
}

fn parse_args(args: &[String]) -> Result<Parsed> {
    if args.iter().any(|arg| arg.contains('/')) {
        let mut pairs = Vec::new();
        for arg in args {
            let Some((kind, name)) = arg.split_once('/') else {
                bail!(
                    "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form (e.g. 'kubectl get resource/<resource_name>' instead of 'kubectl get resource resource/<resource_name>'"
                );
            };
            if name.contains('/') {
                bail!("arguments in resource/name form may not have more than one slash");
            }
            if kind.is_empty() || name.is_empty() || kind.contains(',') {
                bail!("arguments in resource/name form must have a single resource and name");
            }
            pairs.push((kind.to_owned(), name.to_owned()));
        }
        return Ok(Parsed::Pairs(pairs));
    }
    let Some(first) = args.first() else { bail!(NOTHING_GIVEN) };
    let types: Vec<String> = first.split(',').map(str::to_owned).collect();
    if types.iter().any(String::is_empty) {
        bail!("arguments must consist of a resource or a resource and name");
    }
    if args.len() == 1 {
        return Ok(Parsed::Types(types));
    }
    let pairs = types.iter().flat_map(|kind| args[1..].iter().map(move |name| (kind.clone(), name.clone())));
    Ok(Parsed::Pairs(pairs.collect()))
}

/// The types of comma separated names, categories expanded.
fn types(mapper: &Mapper, names: &[String]) -> Result<Vec<Arc<Resource>>> {
    let mut found: Vec<Arc<Resource>> = Vec::new();
    for name in names {
        let category = mapper.category(name);
        let new = if category.is_empty() { vec![mapper.find(name)?] } else { category };
        for resource in new {
            if !found.contains(&resource) {
                found.push(resource);
            }
        }
    }
    Ok(found)
}

/// Understands a query; files are read, the server is asked only for its types.
pub(crate) async fn wanted(cx: &Session, query: &Query<'_>) -> Result<Wanted> {
    if let Some(given) = query.files.filter(|given| !given.filename.is_empty()) {
        if !query.args.is_empty() {
            bail!("when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well");
        }
        if query.all {
            bail!("setting 'all' parameter is not possible with files");
        }
        return Ok(Wanted::Named(files::infos(cx, given).await?));
    }
    let parsed = parse_args(query.args)?;
    let selecting = !query.selector.is_empty() || !query.field_selector.is_empty();
    match parsed {
        Parsed::Pairs(pairs) => {
            if selecting {
                bail!("name cannot be provided when a selector is specified");
            }
            if query.all_namespaces {
                bail!("a resource cannot be retrieved by name across all namespaces");
            }
            let mapper = cx.mapper().await?;
            let namespace = cx.namespace().await?;
            let infos = pairs.into_iter().map(|(kind, name)| {
                let resource = mapper.find(&kind)?;
                let namespace = resource.namespaced.then(|| namespace.clone());
                Ok(Info { resource, namespace, name, object: Value::Null, source: None })
            });
            Ok(Wanted::Named(infos.collect::<Result<_>>()?))
        }
        Parsed::Types(names) => {
            if !(selecting || query.all || query.bare_types) {
                bail!("resource(s) were provided, but no name was specified");
            }
            Ok(Wanted::Types(types(cx.mapper().await?, &names)?))
        }
    }
}

/// The path that lists a type as the query restricts it.
pub(crate) async fn list_path(cx: &Session, resource: &Resource, query: &Query<'_>) -> Result<String> {
    let namespace = if query.all_namespaces { None } else { Some(cx.namespace().await?) };
    let path = resource.path(namespace.as_deref());
    Ok(with_query(&path, &[("labelSelector", query.selector), ("fieldSelector", query.field_selector)]))
}

/// The objects of a query as the server has them now. The first failure ends it.
pub(crate) async fn fetch(cx: &Session, query: &Query<'_>) -> Result<Vec<Info>> {
    let remote = cx.remote().await?;
    match wanted(cx, query).await? {
        Wanted::Named(mut infos) => {
            for info in &mut infos {
                if info.name.is_empty() {
                    bail!("resource name may not be empty");
                }
                info.object = remote.get(&info.path()).await?;
            }
            Ok(infos)
        }
        Wanted::Types(resources) => {
            let mut infos = Vec::new();
            for resource in resources {
                let list = remote.list(&list_path(cx, &resource, query).await?).await?;
                infos.extend(items(&resource, list));
            }
            Ok(infos)
        }
    }
}

/// The one object of `TYPE NAME` or `TYPE/NAME`.
pub(crate) async fn one(cx: &Session, query: &Query<'_>) -> Result<Info> {
    let mut infos = fetch(cx, query).await?;
    if infos.len() != 1 {
        bail!("you must specify only one resource");
    }
    infos.pop().ok_or_else(|| anyhow!(NOTHING_GIVEN))
}

/// The items of a list; the server leaves their type out.
pub(crate) fn items(resource: &Arc<Resource>, mut list: Value) -> Vec<Info> {
    let Value::Array(objects) = list["items"].take() else { return Vec::new() };
    objects.into_iter().map(|object| info_of(resource, object)).collect()
}

/// An object of a known type.
pub(crate) fn info_of(resource: &Arc<Resource>, mut object: Value) -> Info {
    if object.get("kind").is_none() {
        object["kind"] = resource.kind.clone().into();
        object["apiVersion"] = resource.api_version().into();
    }
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let (name, namespace) = (text("name"), text("namespace"));
    let namespace = resource.namespaced.then_some(namespace);
    Info { resource: resource.clone(), namespace, name, object, source: None }
}

/// The label selector (as a query) by which a workload or Service finds its pods.
pub(crate) fn selector_of(info: &Info) -> Result<String> {
    let selector = &info.object["spec"]["selector"];
    let plain = matches!(info.resource.kind.as_str(), "Service" | "ReplicationController");
    let text = if plain { label_query(selector) } else { selector_query(selector) };
    if text.is_empty() {
        bail!("invalid {} '{}': no selector set", info.resource.kind.to_lowercase(), info.name);
    }
    Ok(text)
}

fn label_query(labels: &Value) -> String {
    let pairs = labels.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect::<Vec<_>>().join(",")
}

/// A LabelSelector as a query string.
pub(crate) fn selector_query(selector: &Value) -> String {
    let mut parts: Vec<String> = Vec::new();
    let labels = label_query(&selector["matchLabels"]);
    if !labels.is_empty() {
        parts.push(labels);
    }
    for expression in selector["matchExpressions"].as_array().into_iter().flatten() {
        let key = expression["key"].as_str().unwrap_or_default();
        let values: Vec<&str> =
            expression["values"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        parts.push(match expression["operator"].as_str().unwrap_or_default() {
            "In" => format!("{key} in ({})", values.join(",")),
            "NotIn" => format!("{key} notin ({})", values.join(",")),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn strings(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn arguments() {
        let pair = |kind: &str, name: &str| (kind.to_owned(), name.to_owned());
        let cases = [
            (strings(&["po"]), Parsed::Types(strings(&["po"]))),
            (strings(&["po,svc"]), Parsed::Types(strings(&["po", "svc"]))),
            (strings(&["po", "a", "b"]), Parsed::Pairs(vec![pair("po", "a"), pair("po", "b")])),
            (strings(&["po,svc", "a"]), Parsed::Pairs(vec![pair("po", "a"), pair("svc", "a")])),
            (strings(&["po/a", "svc/b"]), Parsed::Pairs(vec![pair("po", "a"), pair("svc", "b")])),
        ];
        for (args, expected) in cases {
            assert_eq!(parse_args(&args).unwrap(), expected, "{args:?}");
        }
        for args in [strings(&[]), strings(&["po", "svc/a"]), strings(&["a/b/c"]), strings(&["a/"]), strings(&["a,,b"])]
        {
            assert!(parse_args(&args).is_err(), "{args:?}");
        }
    }

    #[test]
    fn selectors_become_queries() {
        let selector = json!({"matchLabels": {"a": "1", "b": "2"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["x", "y"]}, {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(selector_query(&selector), "a=1,b=2,c in (x,y),!d");
    }
}
