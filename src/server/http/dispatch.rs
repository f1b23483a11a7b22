//! From a request for a resource to the registry's verb, and from its outcome to an answer.

use std::{borrow::Cow, sync::Arc, time::Duration};

use http::{HeaderMap, HeaderValue, Method, Response, Uri, header};
use hyper::upgrade::OnUpgrade;
use mk8s_api::{
    field::{FieldError, Path},
    kinds::Verb,
    meta, protobuf,
    select::FieldSelector,
    status::Status,
};
use rand::Rng;
use serde_json::{Value, json};

use super::{
    answer::{self, Shown},
    body::{Body, RequestBody},
    connect, decode,
    metrics::Subject,
    negotiate,
    negotiate::{Offer, View},
    path::ResourcePath,
    query::Query,
    review,
    router::{Inner, now},
};
use crate::{
    admission::Notes,
    auth::User,
    registry::{
        Call, DeleteOptions, Deleted, Patch, PatchKind, Propagation, Resource, Stored, Updated, Warnings, WriteOptions,
        aside, success,
    },
    relay,
    table::Include,
    usage,
};

/// How long a watch may last when the client does not say, in seconds; spread so that they do not all end at once.
const WATCH_S: std::ops::Range<u64> = 1800..3600;

/// Lists of more objects are encoded where they hold up nobody else.
const LIST_AT_ONCE: usize = 1000;

/// How long the name of a field manager may be.
const MANAGER: usize = 128;

/// A request for a known resource that is allowed.
pub(super) struct Asked<'a> {
    pub(super) inner: Arc<Inner>,
    pub(super) resource: Arc<Resource>,
    pub(super) path: ResourcePath<'a>,
    pub(super) verb: &'static str,
    pub(super) query: Query,
    pub(super) headers: &'a HeaderMap,
    pub(super) uri: &'a Uri,
    pub(super) method: &'a Method,
    pub(super) user: &'a Arc<User>,
    pub(super) upgrade: Option<OnUpgrade>,
    /// What admission says besides yes and no.
    pub(super) notes: &'a Notes,
}

/// The verb of a request, as authorization names it. `None`: the method means nothing here.
pub(super) fn verb(method: &Method, path: &ResourcePath<'_>, query: &Query) -> Option<&'static str> {
    let collection = path.name.is_empty();
    match *method {
        Method::GET | Method::HEAD if !collection => Some(if path.watch { "watch" } else { "get" }),
        Method::GET | Method::HEAD if path.watch || query.flag("watch") => Some("watch"),
        Method::GET | Method::HEAD => Some("list"),
        Method::POST => Some("create"),
        Method::PUT => Some("update"),
        Method::PATCH => Some("patch"),
        Method::DELETE if collection => Some("deletecollection"),
        Method::DELETE => Some("delete"),
        _ => None,
    }
}

/// Whether requests of a verb carry an object, or options.
pub(super) fn sends_object(verb: &str) -> bool {
    matches!(verb, "create" | "update" | "patch" | "delete" | "deletecollection")
}

/// A program's name as that of a field manager: what stands before the first slash, short and printable.
fn manager_of(user_agent: &[u8]) -> String {
    let text = String::from_utf8_lossy(user_agent);
    let mut name = String::new();
    for character in text.split('/').next().unwrap_or_default().chars().filter(|c| !c.is_control()) {
        if name.len() + character.len_utf8() > MANAGER {
            break;
        }
        name.push(character);
    }
    name
}

/// The verb under which metrics count.
pub(super) fn metric_verb(verb: &str, path: &ResourcePath<'_>, headers: &HeaderMap) -> &'static str {
    match verb {
        _ if matches!(path.subresource.as_ref(), "exec" | "attach" | "portforward" | "proxy") => "CONNECT",
        "patch" if decode::content_type(headers).starts_with("application/apply-patch+") => "APPLY",
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" => "POST",
        "update" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        _ => "OTHER",
    }
}

/// What a request is counted by.
pub(super) fn subject<'a>(
    resource: &'a Resource,
    path: &'a ResourcePath<'_>,
    query: &Query,
    verb: &str,
) -> Subject<'a> {
    let kind = &resource.kind;
    Subject {
        group: &kind.group,
        version: &kind.version,
        resource: &kind.plural,
        subresource: Some(path.subresource.as_ref())
            .filter(|name| kind.subresource(name).is_some())
            .unwrap_or_default(),
        scope: match path.namespace.as_ref() {
            _ if !path.name.is_empty() || verb == "create" => "resource",
            "" => "cluster",
            _ => "namespace",
        },
        dry_run: if query.get("dryRun") == Some("All") { "All" } else { "" },
    }
}

/// The name that a field selector asks for alone, so that rules for single names cover its lists and watches.
pub(super) fn selected_name(selector: &str) -> Option<String> {
    let name = FieldSelector::parse(selector).ok()?.exact("metadata.name")?.to_string();
    (!name.is_empty()).then_some(name)
}

fn verb_of(verb: &str) -> Option<Verb> {
    Some(match verb {
        "get" => Verb::Get,
        "list" => Verb::List,
        "watch" => Verb::Watch,
        "create" => Verb::Create,
        "update" => Verb::Update,
        "patch" => Verb::Patch,
        "delete" => Verb::Delete,
        "deletecollection" => Verb::DeleteCollection,
        _ => return None,
    })
}

pub(super) async fn dispatch(asked: Asked<'_>, body: RequestBody) -> Result<Response<Body>, Status> {
    let deprecation = asked.resource.deprecation().map(str::to_owned);
    match deprecation {
        None => answered(asked, body).await,
        // Told whatever the answer is.
        Some(warning) => {
            let encoding = negotiate::of_status(asked.headers);
            asked.inner.metrics.deprecated(&subject(&asked.resource, &asked.path, &asked.query, asked.verb));
            asked.notes.annotate("k8s.io/deprecated", "true");
            let response = answered(asked, body).await.unwrap_or_else(|status| answer::status(encoding, &status));
            Ok(answer::warn(response, &[warning]))
        }
    }
}

async fn answered(asked: Asked<'_>, body: RequestBody) -> Result<Response<Body>, Status> {
    if !asked.path.subresource.is_empty() {
        return subresource(asked, body).await;
    }
    let kind = asked.resource.kind.clone();
    if !kind.has(verb_of(asked.verb).ok_or_else(Status::method_not_allowed)?) {
        return Err(Status::method_not_allowed());
    }
    // Names are given by objects when they are made, and by paths afterwards.
    if matches!(asked.verb, "create" | "update" | "patch") && (asked.verb == "create") != asked.path.name.is_empty() {
        return Err(match asked.resource.is_custom() && asked.path.name.is_empty() {
            true => Status::bad_request("name must be provided"),
            false => asked.unanswered(),
        });
    }
    let namespaced = !asked.path.namespace.is_empty() && kind.plural != "namespaces";
    let reads_many = matches!(asked.verb, "list" | "watch") && asked.path.name.is_empty();
    if kind.namespaced != namespaced && !(kind.namespaced && reads_many) {
        return Err(if namespaced || !asked.path.name.is_empty() || asked.resource.is_custom() {
            Status::resource_not_found()
        } else {
            Status::method_not_allowed()
        });
    }
    if kind.is_virtual {
        return virtual_kind(asked, body).await;
    }
    match asked.verb {
        "get" => asked.get().await,
        "list" => asked.list().await,
        "watch" => asked.watch().await,
        "create" => asked.create(body).await,
        "update" => asked.update(body).await,
        "patch" => asked.patch(body).await,
        "delete" => asked.delete(body).await,
        _ => asked.delete_collection(body).await,
    }
}

/// Whether somebody else answers: a node, or what runs in a pod.
pub(super) fn relays(asked: &Asked<'_>) -> bool {
    matches!(asked.path.subresource.as_ref(), "log" | "exec" | "attach" | "portforward" | "proxy")
}

async fn subresource(mut asked: Asked<'_>, body: RequestBody) -> Result<Response<Body>, Status> {
    let kind = asked.resource.kind.clone();
    let name = asked.path.subresource.clone();
    if kind.subresource(&name).is_none() {
        return Err(match asked.resource.is_custom() {
            true => Status::not_found(&asked.resource.group_resource, &asked.path.name),
            false => Status::resource_not_found(),
        });
    }
    match (kind.plural.as_str(), name.as_ref()) {
        ("pods", "log") if asked.verb == "get" => relay::pods::log(asked.relayed()).await,
        ("pods", "exec" | "attach" | "portforward") if matches!(asked.verb, "get" | "create") => {
            asked.admit_connection().await?;
            relay::pods::stream(asked.relayed()).await
        }
        ("pods" | "services" | "nodes", "proxy") => {
            asked.admit_connection().await?;
            relay::proxy::forward(asked.relayed(), body).await
        }
        ("pods", "binding") if asked.verb == "create" => asked.bind(body).await,
        ("pods", "eviction") if asked.verb == "create" => asked.evict(body).await,
        ("serviceaccounts", "token") if asked.verb == "create" => asked.token(body).await,
        (_, "scale") => asked.scale(body).await,
        (_, "status" | "ephemeralcontainers" | "resize" | "finalize" | "approval") => match asked.verb {
            "get" if name != "finalize" => asked.get().await,
            "update" => asked.update(body).await,
            "patch" if name != "finalize" => asked.patch(body).await,
            _ => Err(asked.unanswered()),
        },
        _ => Err(Status::method_not_allowed()),
    }
}

/// Kinds that are asked and answered, never stored.
async fn virtual_kind(asked: Asked<'_>, body: RequestBody) -> Result<Response<Body>, Status> {
    match (asked.resource.kind.kind.as_str(), asked.verb) {
        ("Binding", "create") => {
            let binding = asked.read_object(body).await?;
            let name = meta::name(&binding).to_string();
            let pods =
                asked.inner.registry.resources().find("", "v1", "pods").ok_or_else(Status::resource_not_found)?;
            let asked = Asked {
                resource: pods,
                path: ResourcePath {
                    name: Cow::Owned(name),
                    subresource: Cow::Borrowed("binding"),
                    ..asked.path.clone()
                },
                ..asked
            };
            asked.bind_decoded(binding).await
        }
        ("ComponentStatus", "list") => {
            let list = json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": []});
            Ok(answer::value(200, asked.shown()?.form.encoding, &list))
        }
        ("ComponentStatus", _) => Err(Status::not_found(&asked.resource.group_resource, &asked.path.name)),
        ("NodeMetrics" | "PodMetrics", "get") => {
            let (registry, name) = (&asked.inner.registry, &asked.path.name);
            let found = usage::get(&asked.inner.usage, registry, &asked.resource, asked.namespace(), name).await?;
            Ok(asked.shown()?.object(200, &found))
        }
        ("NodeMetrics" | "PodMetrics", "list") => {
            let (registry, options) = (&asked.inner.registry, asked.query.list_options()?);
            let found = usage::list(&asked.inner.usage, registry, &asked.resource, asked.namespace(), &options).await?;
            Ok(asked.shown()?.list(found))
        }
        (_, "create") => {
            let object = asked.read_order(body).await?;
            let answer = review::answer(&asked, object)?;
            Ok(answer::value(201, asked.shown()?.form.encoding, &answer))
        }
        _ => Err(Status::method_not_allowed()),
    }
}

/// The answer with what was advised, be it a refusal or not.
fn advised(result: Result<Response<Body>, Status>, warnings: Warnings) -> Result<Response<Body>, Status> {
    match result {
        Ok(response) => Ok(answer::warn(response, &warnings)),
        Err(status) => Err(status.with_warnings(warnings)),
    }
}

impl<'a> Asked<'a> {
    fn shown(&self) -> Result<Shown, Status> {
        let offer = Offer {
            protobuf: protobuf::Encoder::of(&self.resource.api_version, &self.resource.kind.kind).is_some(),
            table: self.resource.kind.has(Verb::Get) || self.resource.kind.has(Verb::List),
            watch: self.verb == "watch",
            many: matches!(self.verb, "list" | "watch"),
        };
        let form = negotiate::form(self.headers, offer)?;
        let include = Include::parse(self.query.get("includeObject").unwrap_or_default()).ok_or_else(|| {
            Status::bad_request(
                "unrecognized includeObject value, must be one of: \"\", \"None\", \"Metadata\", \"Object\"",
            )
        })?;
        Ok(Shown { resource: self.resource.clone(), form, include })
    }

    /// What is said to a verb that means nothing here: custom kinds say which one it was, built-in ones have no such path.
    fn unanswered(&self) -> Status {
        match self.resource.is_custom() {
            true => Status::method_not_supported(&self.resource.group_resource, self.verb),
            false => Status::method_not_allowed(),
        }
    }

    /// The namespace that stands in keys: none for what is in no namespace, such as a namespace itself.
    pub(super) fn namespace(&self) -> &str {
        if self.resource.kind.namespaced { &self.path.namespace } else { "" }
    }

    fn call<'b>(&'b self, options: &'b WriteOptions) -> Call<'b> {
        Call {
            resource: &self.resource,
            namespace: self.namespace(),
            name: &self.path.name,
            subresource: &self.path.subresource,
            user: self.user,
            options,
            notes: self.notes,
        }
    }

    /// `CreateOptions` and its like, as the query says them.
    fn write_options(&self) -> Result<WriteOptions, Status> {
        let kind = match self.verb {
            "create" => "CreateOptions",
            "update" => "UpdateOptions",
            "patch" => "PatchOptions",
            _ => "DeleteOptions",
        };
        let mut options = self.query.write_options(kind)?;
        if options.manager.is_empty() {
            let program = self.headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
            options.manager = manager_of(program);
        }
        Ok(options)
    }

    /// An object that is a question or an order, not something to keep.
    async fn read_object(&self, body: RequestBody) -> Result<Value, Status> {
        self.read_written(body, &self.write_options()?, &mut Warnings::new()).await
    }

    /// As [`Asked::read_object`], once it has passed admission.
    async fn read_order(&self, body: RequestBody) -> Result<Value, Status> {
        let mut order = self.read_object(body).await?;
        self.inner.registry.admit_order(&self.call(&self.write_options()?), &mut order).await?;
        Ok(order)
    }

    /// Asks admission about a connection to what the path names.
    async fn admit_connection(&self) -> Result<(), Status> {
        let options = connect::options(&self.resource, &self.path.subresource, self.path.rest, &self.query);
        self.inner.registry.admit_connection(&self.call(&WriteOptions::default()), options).await
    }

    /// Decodes the object of a write: pruned, defaulted, and of the right kind.
    async fn read_written(
        &self,
        body: RequestBody,
        options: &WriteOptions,
        warnings: &mut Warnings,
    ) -> Result<Value, Status> {
        let bytes = decode::read(self.headers, body).await?;
        let subresource = self.path.subresource.as_ref();
        let parsed = decode::object(self.headers, &bytes, self.resource.kind_of(subresource))?;
        let (value, doubles) = parsed.into_parts();
        self.resource.conform(subresource, value, doubles, options.validation, warnings)
    }

    async fn get(&self) -> Result<Response<Body>, Status> {
        let shown = self.shown()?;
        let version = self.query.resource_version()?;
        let entry = self.inner.registry.get(&self.resource, self.namespace(), &self.path.name, version).await?;
        Ok(shown.object(200, &Stored::Entry(entry)))
    }

    async fn list(&self) -> Result<Response<Body>, Status> {
        let shown = self.shown()?;
        let options = self.query.list_options()?;
        let list = self.inner.registry.list(&self.resource, self.namespace(), &options).await?;
        let takes_long = list.entries.len() > LIST_AT_ONCE && !shown.sends_stored();
        Ok(aside(takes_long, move || shown.list(list)).await)
    }

    async fn watch(&self) -> Result<Response<Body>, Status> {
        let shown = self.shown()?;
        let mut options = self.query.list_options()?;
        if !self.path.name.is_empty() {
            let selected = options.fields.exact("metadata.name");
            if !options.fields.is_everything() && selected != Some(&*self.path.name) {
                return Err(Status::bad_request("fieldSelector metadata.name doesn't match requested name"));
            }
            options.fields = FieldSelector::parse(&format!("metadata.name={}", self.path.name))
                .map_err(|error| Status::bad_request(error.to_string()))?;
        }
        let timeout = Duration::from_secs(options.timeout_s.unwrap_or_else(|| rand::rng().random_range(WATCH_S)));
        let watch = self.inner.registry.watch(&self.resource, self.namespace(), &options).await?;
        Ok(shown.watch(watch, timeout, self.inner.stop.clone(), self.inner.metrics.watching()))
    }

    async fn create(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let mut warnings = Warnings::new();
        advised(self.create_advised(body, &mut warnings).await, warnings)
    }

    async fn create_advised(&self, body: RequestBody, warnings: &mut Warnings) -> Result<Response<Body>, Status> {
        let (shown, options) = (self.shown()?, self.write_options()?);
        let object = self.read_written(body, &options, warnings).await?;
        let stored = self.inner.registry.create(&self.call(&options), object, warnings).await?;
        Ok(shown.object(201, &stored))
    }

    async fn update(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let mut warnings = Warnings::new();
        advised(self.update_advised(body, &mut warnings).await, warnings)
    }

    async fn update_advised(&self, body: RequestBody, warnings: &mut Warnings) -> Result<Response<Body>, Status> {
        let (shown, options) = (self.shown()?, self.write_options()?);
        let object = self.read_written(body, &options, warnings).await?;
        let call = self.call(&options);
        let Updated { stored, created } = match call.subresource {
            "ephemeralcontainers" => {
                let update = self.inner.registry.update_ephemeral_containers(&call, warnings, |_| Ok(object.clone()));
                Updated { stored: update.await?, created: false }
            }
            _ => self.inner.registry.update(&call, object, warnings).await?,
        };
        Ok(shown.object(if created { 201 } else { 200 }, &stored))
    }

    async fn patch(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let mut warnings = Warnings::new();
        advised(self.patch_advised(body, &mut warnings).await, warnings)
    }

    async fn patch_advised(&self, body: RequestBody, warnings: &mut Warnings) -> Result<Response<Body>, Status> {
        let (shown, options) = (self.shown()?, self.write_options()?);
        let content_type = decode::content_type(self.headers);
        let supported = if self.resource.is_custom() { &PatchKind::CUSTOM[..] } else { &PatchKind::SUPPORTED };
        let kind = PatchKind::of_content_type(&content_type)
            .filter(|_| supported.contains(&content_type.as_str()))
            .ok_or_else(|| match self.resource.is_custom() {
                true => Status::unsupported_media_type(supported),
                false => Status::failure(415, "UnsupportedMediaType", "415: Unsupported Media Type"),
            })?;
        let bytes = decode::read(self.headers, body).await?;
        let call = self.call(&options);
        if kind != PatchKind::Apply && options.force.is_some() {
            let error = FieldError::forbidden(&Path::new("force"), "may not be specified for non-apply patch");
            return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", vec![error]));
        }
        let Updated { stored, created } = if kind == PatchKind::Apply {
            let (sent, doubles) = decode::yaml(&bytes, self.resource.kind_of(call.subresource))?.into_parts();
            self.inner.registry.apply(&call, sent, &doubles, warnings).await?
        } else {
            let patch = Patch::read(kind, &bytes)?;
            Updated { stored: self.inner.registry.patch(&call, &patch, warnings).await?, created: false }
        };
        if call.subresource == "scale" {
            return Ok(answer::value(200, shown.form.encoding, &stored.served(&self.resource)));
        }
        Ok(shown.object(if created { 201 } else { 200 }, &stored))
    }

    async fn delete_options(&self, body: RequestBody) -> Result<DeleteOptions, Status> {
        let bytes = decode::read(self.headers, body).await?;
        if !bytes.is_empty() {
            return DeleteOptions::from_json(decode::object(self.headers, &bytes, "DeleteOptions")?.value);
        }
        let number = |key: &str| -> Result<Option<i64>, Status> {
            let text = self.query.get(key);
            text.map(|text| text.parse().map_err(|_| Status::bad_request(format!("{key}: {text:?} is not a number"))))
                .transpose()
        };
        let options = DeleteOptions {
            grace_period_s: number("gracePeriodSeconds")?,
            propagation: self.query.get("propagationPolicy").map(Propagation::parse).transpose()?,
            orphan_dependents: self.query.get("orphanDependents").map(|_| self.query.flag("orphanDependents")),
            dry_run: self.write_options()?.dry_run,
            ..DeleteOptions::default()
        };
        options.check()?;
        Ok(options)
    }

    async fn delete(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let shown = self.shown()?;
        let options = self.delete_options(body).await?;
        let write =
            WriteOptions { dry_run: options.dry_run || self.write_options()?.dry_run, ..WriteOptions::default() };
        let call = self.call(&write);
        match self.inner.registry.delete(&call, &options).await? {
            Deleted::Gone(stored) if self.resource.returns_deleted => Ok(shown.object(200, &stored)),
            Deleted::Gone(stored) => Ok(shown.status(&success(&call, &stored.served(&self.resource)))),
            Deleted::Terminating(stored) => {
                let code = if options.orphan_dependents == Some(false) { 202 } else { 200 };
                Ok(shown.object(code, &stored))
            }
        }
    }

    async fn delete_collection(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let shown = self.shown()?;
        let options = self.delete_options(body).await?;
        let selection = self.query.list_options()?;
        let write =
            WriteOptions { dry_run: options.dry_run || self.write_options()?.dry_run, ..WriteOptions::default() };
        let list = self.inner.registry.delete_collection(&self.call(&write), &options, &selection).await?;
        Ok(shown.list(list))
    }

    async fn bind(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let binding = self.read_object(body).await?;
        self.bind_decoded(binding).await
    }

    async fn bind_decoded(&self, mut binding: Value) -> Result<Response<Body>, Status> {
        let options = self.write_options()?;
        let mut warnings = Warnings::new();
        let call = self.call(&options);
        self.inner.registry.admit_order(&call, &mut binding).await?;
        let done = self.inner.registry.bind(&call, &binding, &mut warnings).await?;
        Ok(self.shown()?.status(&done))
    }

    async fn evict(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let eviction = self.read_order(body).await?;
        let options = self.write_options()?;
        let done = self.inner.registry.evict(&self.call(&options), &eviction).await?;
        Ok(self.shown()?.status(&done))
    }

    async fn token(&self, body: RequestBody) -> Result<Response<Body>, Status> {
        let request = self.read_order(body).await?;
        let (answer, id) = self.inner.tokens.answer(self.namespace(), &self.path.name, &request, now())?;
        self.notes.annotate("authentication.kubernetes.io/issued-credential-id", format!("JTI={id}"));
        Ok(answer::value(201, self.shown()?.form.encoding, &answer))
    }

    async fn scale(self, body: RequestBody) -> Result<Response<Body>, Status> {
        let form = self.shown()?.form;
        let options = self.write_options()?;
        match self.verb {
            "get" => {
                let scale = self.inner.registry.get_scale(&self.call(&options)).await?;
                Ok(self.scale_answer(form, &scale))
            }
            "update" => {
                let mut warnings = Warnings::new();
                let scale = self.read_written(body, &options, &mut warnings).await?;
                let scale = self
                    .inner
                    .registry
                    .update_scale(&self.call(&options), &mut warnings, |_| Ok(scale.clone()))
                    .await?;
                Ok(answer::warn(self.scale_answer(form, &scale), &warnings))
            }
            "patch" => self.patch(body).await,
            _ => Err(self.unanswered()),
        }
    }

    fn scale_answer(&self, form: negotiate::Form, scale: &Value) -> Response<Body> {
        let shown = match form.view {
            View::Table => {
                crate::table::render("autoscaling", "Scale", std::slice::from_ref(scale), Include::Metadata, now())
            }
            _ => scale.clone(),
        };
        answer::value(200, form.encoding, &shown)
    }

    /// The request as the relay takes it, with the connection itself if it may be upgraded.
    fn relayed(&mut self) -> relay::Relayed<'_> {
        let upgrade = self.upgrade.take();
        relay::Relayed {
            relay: &self.inner.relay,
            registry: &self.inner.registry,
            namespace: self.namespace(),
            name: &self.path.name,
            plural: &self.resource.kind.plural,
            subresource: &self.path.subresource,
            rest: self.path.rest,
            method: self.method,
            uri: self.uri,
            headers: self.headers,
            upgrade,
        }
    }
}
