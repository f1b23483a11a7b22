//! A kind as the registry sees it: its place in the store, its rules, its schema; and the table of all of them.
//!
//! What the registry asks of the API's language (schemas, rules) it asks here.

use std::{collections::HashMap, fmt, sync::Arc};

use jiff::Timestamp;
use mk8s_api::{
    apply::{Counted, counted, counted_custom, is_reset},
    at, conversion,
    crd::DefinitionVersion,
    decode::{self as api_decode, Decoded, Doubles, Refusal, Target},
    field::{FieldError, Path},
    kinds::{self, Kind},
    meta,
    rules::{self, Rules, Scale},
    schema::{self, Schema},
    status::{GroupResource, Status},
};
use mk8s_store::{Entry, Stamped, Store};
use serde_json::{Value, json};

use super::{
    FieldValidation, Warnings,
    custom::{CustomKind, Customs, Presenter, Table},
    encode, keys,
};
use crate::{
    table::{self, Printer},
    webhook::Client,
};

/// Kinds whose updates must say which version they are for.
const CONDITIONAL: [(&str, &str); 16] = [
    ("admissionregistration.k8s.io", "mutatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "mutatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicies"),
    ("admissionregistration.k8s.io", "validatingadmissionpolicybindings"),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("apiextensions.k8s.io", "customresourcedefinitions"),
    ("apiregistration.k8s.io", "apiservices"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("policy", "poddisruptionbudgets"),
    ("storage.k8s.io", "csidrivers"),
    ("storage.k8s.io", "csinodes"),
    ("storage.k8s.io", "csistoragecapacities"),
    ("storage.k8s.io", "volumeattachments"),
    ("certificates.k8s.io", "clustertrustbundles"),
];

/// Kinds that a replace creates when there is nothing to replace.
const CREATED_ON_UPDATE: [(&str, &str); 11] = [
    ("", "endpoints"),
    ("", "events"),
    ("", "limitranges"),
    ("", "services"),
    ("events.k8s.io", "events"),
    ("coordination.k8s.io", "leases"),
    ("node.k8s.io", "runtimeclasses"),
    ("rbac.authorization.k8s.io", "clusterrolebindings"),
    ("rbac.authorization.k8s.io", "clusterroles"),
    ("rbac.authorization.k8s.io", "rolebindings"),
    ("rbac.authorization.k8s.io", "roles"),
];

/// One kind in one version.
pub struct Resource {
    pub kind: Arc<Kind>,
    pub group_resource: GroupResource,
    pub api_version: String,
    /// The store's prefix of all its objects.
    pub prefix: String,
    pub unconditional_update: bool,
    pub create_on_update: bool,
    /// A delete answers with the object instead of a Status.
    pub returns_deleted: bool,
    converted: bool,
    rules: &'static Rules,
    schema: Option<&'static Schema>,
    /// What objects look like before anything is set: of the kind, and of its scale.
    zero: Value,
    zero_scale: Value,
    /// What counts of a write, as a whole (first) and through each subresource.
    counted: Vec<(String, Counted)>,
    /// What is known of a kind that is not built in.
    custom: Option<Custom>,
}

struct Custom {
    kind: CustomKind,
    printer: Printer,
    scale: Option<Scale>,
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({} {})", self.api_version, self.kind.plural)
    }
}

impl Resource {
    pub fn new(kind: Kind) -> Resource {
        let id = (kind.group.as_str(), kind.plural.as_str());
        let schema = schema::schema_of(&kind.group, &kind.version, &kind.kind);
        Resource {
            zero: zero(schema, &kind.api_version(), &kind.kind),
            zero_scale: zero(schema::schema_of("autoscaling", "v1", "Scale"), "autoscaling/v1", "Scale"),
            counted: ways(&kind, |way, has_status| counted(&kind.group, &kind.kind, way, has_status)),
            group_resource: kind.group_resource(),
            api_version: kind.api_version(),
            prefix: keys::kind_prefix(&kind.storage_group, &kind.plural),
            unconditional_update: !CONDITIONAL.contains(&id),
            create_on_update: CREATED_ON_UPDATE.contains(&id),
            // Namespaces do so without saying it in the API's description.
            returns_deleted: kind.delete_returns_object || id == ("", "namespaces"),
            converted: conversion::is_converted(&kind),
            rules: rules::of(&kind.group, &kind.kind),
            schema,
            kind: Arc::new(kind),
            custom: None,
        }
    }

    /// A kind that a definition makes, in one of its versions.
    pub(super) fn custom(kind: Kind, custom: CustomKind) -> Resource {
        let version = custom.version.clone();
        Resource {
            zero: zero(None, &kind.api_version(), &kind.kind),
            zero_scale: zero(schema::schema_of("autoscaling", "v1", "Scale"), "autoscaling/v1", "Scale"),
            counted: ways(&kind, counted_custom),
            group_resource: kind.group_resource(),
            api_version: kind.api_version(),
            prefix: keys::kind_prefix(&kind.storage_group, &kind.plural),
            unconditional_update: false,
            create_on_update: false,
            returns_deleted: false,
            converted: false,
            rules: rules::of_custom(kind.namespaced),
            schema: None,
            kind: Arc::new(kind),
            custom: Some(Custom {
                printer: table::custom_printer(version.columns.clone()),
                scale: version.scale.clone().map(Scale::Custom),
                kind: custom,
            }),
        }
    }

    /// A kind that is not built in.
    pub(crate) fn is_custom(&self) -> bool {
        self.custom.is_some()
    }

    pub(super) fn as_custom(&self) -> Option<&CustomKind> {
        self.custom.as_ref().map(|custom| &custom.kind)
    }

    /// The other versions in which a custom kind is served.
    pub(crate) fn other_versions(&self) -> impl Iterator<Item = &Arc<DefinitionVersion>> {
        let custom = self.as_custom().into_iter();
        custom.flat_map(|custom| {
            let others = |version: &&Arc<DefinitionVersion>| version.served && version.name != custom.version.name;
            custom.definition.versions.iter().filter(others)
        })
    }

    /// An object of a custom kind in another version.
    pub(crate) async fn in_version(&self, mut object: Value, api_version: &str) -> Result<Value, Status> {
        let Some(custom) = self.as_custom().filter(|_| object.is_object()) else { return Ok(object) };
        object =
            custom.converter.convert(&custom.definition, vec![object], api_version).await?.pop().unwrap_or_default();
        object["apiVersion"] = api_version.into();
        Ok(object)
    }

    /// Whether what is stored is shown as it is, apart from what [`Resource::to_served`] does.
    pub(super) fn shows_stored(&self, entry: &Entry) -> bool {
        self.as_custom().is_none_or(|custom| {
            let is_storage = custom.version.name == custom.definition.storage_version;
            // A write that was under way when the definition changed may have the form of before.
            is_storage && entry.modified >= custom.since && entry.value.starts_with(custom.head.as_bytes())
        })
    }

    /// Objects go away with their definition, and none are made.
    pub(super) fn is_terminating(&self) -> bool {
        self.as_custom().is_some_and(|custom| custom.definition.terminating)
    }

    /// What clients are told who use this version.
    pub(crate) fn deprecation(&self) -> Option<&str> {
        match self.as_custom() {
            Some(custom) => custom.version.deprecation.as_deref(),
            None => self.kind.deprecation(),
        }
    }

    /// The columns of a kind that is not built in.
    pub(crate) fn printer(&self) -> Option<&Printer> {
        self.custom.as_ref().map(|custom| &custom.printer)
    }

    pub fn is(&self, group: &str, plural: &str) -> bool {
        self.kind.plural == plural && self.kind.group == group
    }

    pub(super) fn is_event(&self) -> bool {
        self.kind.kind == "Event"
    }

    /// Dependents stay behind unless a delete says otherwise: a habit of two old kinds.
    pub(super) fn orphans_by_default(&self) -> bool {
        self.is("", "replicationcontrollers") || self.is("batch", "jobs")
    }

    /// The kind that is sent to a subresource, or to the object itself.
    pub fn kind_of(&self, subresource: &str) -> &str {
        self.kind.subresource(subresource).map_or(&self.kind.kind, |sub| &sub.kind)
    }

    /// Group and version of what [`Resource::kind_of`] names.
    pub fn kind_version_of(&self, subresource: &str) -> (&str, &str) {
        let own = (self.kind.group.as_str(), self.kind.version.as_str());
        self.kind.subresource(subresource).map_or(own, |sub| (&sub.group, &sub.version))
    }

    /// The schema of what [`Resource::kind_of`] names.
    pub(crate) fn schema_of(&self, subresource: &str) -> Option<&Schema> {
        match (self.kind.subresource(subresource), self.as_custom()) {
            (Some(sub), _) if sub.kind != self.kind.kind => schema::schema_of(&sub.group, &sub.version, &sub.kind),
            (_, Some(custom)) => Some(&custom.version.fields),
            _ => self.schema,
        }
    }

    /// The version of what [`Resource::kind_of`] names.
    pub(super) fn api_version_of(&self, subresource: &str) -> &str {
        match subresource {
            "scale" => "autoscaling/v1",
            _ => &self.api_version,
        }
    }

    /// What an object, or its scale, looks like before anything is set.
    pub(super) fn zero(&self, subresource: &str) -> &Value {
        if subresource == "scale" { &self.zero_scale } else { &self.zero }
    }

    /// What counts of a write when it is noted who wrote.
    pub(super) fn counted(&self, subresource: &str) -> &Counted {
        let way = self.counted.iter().find(|(way, _)| way == subresource);
        way.map_or(&Counted::All, |(_, counted)| counted)
    }

    /// An object in its form, not defaulted; or why it cannot be.
    pub(super) fn form(&self, subresource: &str, mut object: Value) -> Result<Value, String> {
        if let Some(custom) = self.custom_body(subresource) {
            custom.version.shape(&mut object).map_err(|error| error.to_string())?;
            return Ok(object);
        }
        let schema = self.schema_of(subresource).ok_or("no schema of the kind is known")?;
        schema.decode(&mut object).map_err(|error| error.to_string())?;
        Ok(object)
    }

    /// Sets what was left out.
    pub(super) fn default(&self, subresource: &str, object: &mut Value) {
        if let Some(custom) = self.custom_body(subresource) {
            return custom.version.complete(object);
        }
        if let Some(schema) = self.schema_of(subresource) {
            schema.default(object);
        }
        if self.kind_of(subresource) == self.kind.kind {
            self.rules.default(object);
        }
    }

    /// The kind, when the body sent to a subresource is an object of a kind that is not built in.
    fn custom_body(&self, subresource: &str) -> Option<&CustomKind> {
        let is_own = self.kind.subresource(subresource).is_none_or(|sub| sub.kind == self.kind.kind);
        self.as_custom().filter(|_| is_own)
    }

    /// Prunes and defaults what admission made of an object of a custom kind.
    pub(super) fn tidy(&self, object: &mut Value) {
        if let Some(custom) = self.as_custom() {
            custom.version.tidy(object);
        }
    }

    /// What is stored is in another form than what clients of this version see.
    pub fn is_converted(&self) -> bool {
        self.converted
    }

    /// A stored object in this version's form.
    pub fn to_served(&self, mut object: Value) -> Value {
        if self.converted {
            conversion::from_storage(&self.kind, &mut object);
        }
        object
    }

    /// The stored form of an object.
    pub(super) fn to_stored(&self, object: &Value) -> Stamped {
        if !self.converted {
            return encode::encode(object);
        }
        let mut stored = object.clone();
        conversion::to_storage(&self.kind, &mut stored);
        encode::encode(&stored)
    }

    /// Brings a parsed object into its canonical form: of the right kind, pruned, defaulted.
    pub fn conform<'b>(
        &self,
        subresource: &str,
        object: Value,
        doubles: impl Into<Doubles<'b>>,
        validation: FieldValidation,
        warnings: &mut Warnings,
    ) -> Result<Value, Status> {
        let target = self.target(subresource)?;
        let object = keep_reset(object);
        if let Some(custom) = self.custom_body(subresource) {
            let complaints = doubles.into().complaints();
            let decoded = api_decode::custom(object, complaints, target, &custom.version, validation);
            let decoded = decoded.map_err(|refusal| refusal.status(target))?;
            warnings.extend(decoded.warnings);
            return Ok(decoded.object);
        }
        let decoded = api_decode::value(object, doubles, target, validation)?;
        Ok(self.completed(subresource, decoded, warnings))
    }

    /// As [`Resource::conform`] for what a patch made; why it is refused is for the caller to put in words. The
    /// `complaints` are those about the patch.
    pub(super) fn conform_patched(
        &self,
        subresource: &str,
        object: Value,
        complaints: Vec<String>,
        validation: FieldValidation,
        warnings: &mut Warnings,
    ) -> Result<Value, Refusal> {
        let target = self.target(subresource).map_err(Refusal::Kind)?;
        let object = keep_reset(object);
        if let Some(custom) = self.custom_body(subresource) {
            let decoded = api_decode::custom(object, complaints, target, &custom.version, validation)?;
            warnings.extend(decoded.warnings);
            return Ok(decoded.object);
        }
        let decoded = api_decode::check(object, complaints, target, validation)?;
        Ok(self.completed(subresource, decoded, warnings))
    }

    /// What a body sent to this subresource must be.
    fn target(&self, subresource: &str) -> Result<Target<'_>, Status> {
        let (group, version, kind) = match self.kind.subresource(subresource) {
            Some(sub) => (&sub.group, &sub.version, &sub.kind),
            None => (&self.kind.group, &self.kind.version, &self.kind.kind),
        };
        let schema =
            self.schema_of(subresource).ok_or_else(|| Status::internal(format!("no schema of {kind} is known")))?;
        Ok(Target { group, version, kind, schema })
    }

    fn completed(&self, subresource: &str, decoded: Decoded, warnings: &mut Warnings) -> Value {
        let Decoded { mut object, warnings: said } = decoded;
        warnings.extend(said);
        self.default(subresource, &mut object);
        object
    }

    pub(super) fn prepare_create(&self, object: &mut Value) {
        self.rules.prepare_create(object);
        self.stamp(object);
        if let Some(custom) = self.as_custom() {
            custom.version.prepare_create(object);
        }
    }

    /// Keeps what a write to this subresource may not change.
    pub(super) fn prepare_update(&self, subresource: &str, new: &mut Value, old: &Value) {
        if let Some(custom) = self.as_custom() {
            return match subresource {
                "status" => custom.version.prepare_status_update(new, old),
                _ => custom.version.prepare_update(new, old),
            };
        }
        match subresource {
            "" => {
                self.stamp(new);
                self.rules.prepare_update(new, old);
            }
            "status" => {
                self.rules.prepare_status_update(new, old);
                if self.is("certificates.k8s.io", "certificatesigningrequests") {
                    rules::stamp_conditions(new, old, &meta::format_time(Timestamp::now()));
                } else if self.is("", "persistentvolumes") {
                    rules::stamp_phase(new, old, &meta::format_time(Timestamp::now()));
                }
            }
            "approval" => rules::prepare_approval(new, old, &meta::format_time(Timestamp::now())),
            "ephemeralcontainers" => rules::prepare_ephemeral_containers(new, old),
            "resize" => rules::prepare_resize(new, old),
            "finalize" => keep_all_but(new, old, "spec", "finalizers"),
            _ => {}
        }
    }

    /// Sets what is left out and depends on the time.
    fn stamp(&self, object: &mut Value) {
        if self.is("resource.k8s.io", "resourceslices") {
            rules::stamp_taints(object, &meta::format_time(Timestamp::now()));
        }
    }

    pub(super) fn validate_create(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = self.rules.validate(object);
        if let Some(custom) = self.as_custom() {
            errors.append(&mut custom.version.validate(object));
        }
        self.validate_schema(object, &mut errors);
        errors
    }

    pub(super) fn validate_update(
        &self,
        subresource: &str,
        new: &Value,
        old: &Value,
        warnings: &mut Warnings,
    ) -> Vec<FieldError> {
        if let Some(custom) = self.as_custom() {
            let mut errors = self.rules.validate_update(new, old);
            errors.append(&mut match subresource {
                "status" => custom.version.validate_status_update(new, old, warnings),
                _ => custom.version.validate_update(new, old, warnings),
            });
            return errors;
        }
        let mut errors = match subresource {
            "status" => self.rules.validate_status_update(new, old),
            "approval" => rules::validate_approval(new, old),
            "ephemeralcontainers" => rules::validate_ephemeral_containers(new, old),
            "resize" => rules::validate_resize(new, old),
            "finalize" => rules::validate_finalize(new, old),
            "binding" => Vec::new(),
            _ => self.rules.validate_update(new, old),
        };
        if subresource.is_empty() {
            self.validate_schema(new, &mut errors);
        }
        errors
    }

    /// What the schema has to say, where the rules have nothing to: they say all that Kubernetes says when they speak.
    fn validate_schema(&self, object: &Value, errors: &mut Vec<FieldError>) {
        if let Some(schema) = self.schema.filter(|_| errors.is_empty()) {
            schema.validate(object, &Path::root(), errors);
        }
    }

    /// Advice about what was written, and what it replaces.
    pub(super) fn warn(&self, subresource: &str, object: &Value, old: Option<&Value>, warnings: &mut Warnings) {
        match subresource {
            "" => warnings.extend(self.rules.warnings(object, old)),
            "status" => warnings.extend(self.rules.status_warnings(object)),
            _ => {}
        }
    }

    pub(super) fn invalid(&self, name: &str, errors: Vec<FieldError>) -> Status {
        // Events are of the core group, whatever group shows them.
        let group = if self.is("events.k8s.io", "events") { "" } else { &self.kind.group };
        Status::invalid(group, &self.kind.kind, name, errors)
    }

    /// Refuses a field that the kind cannot be selected by.
    pub(super) fn check_selectable(&self, field: &str) -> Result<(), Status> {
        match self.as_custom() {
            Some(custom) if custom.version.selects_by(field) => Ok(()),
            Some(_) if !matches!(field, "metadata.name" | "metadata.namespace") => {
                Err(Status::bad_request(format!("field label not supported: {field}")))
            }
            _ => self.rules.check_selectable(field).map_err(Status::bad_request),
        }
    }

    /// Where replicas are, for kinds that have them.
    pub(super) fn scale(&self) -> Option<&Scale> {
        match &self.custom {
            Some(custom) => custom.scale.as_ref(),
            None => self.rules.scale(),
        }
    }

    /// The value of a field of a stored object that can be selected, under its name in this version.
    pub(super) fn field_of(&self, stored: &Value, field: &str) -> Option<String> {
        match self.as_custom() {
            Some(custom) => custom.version.selected(stored, field),
            None => self.rules.selectable(stored, conversion::storage_field(&self.kind, field)),
        }
    }
}

/// What Go encodes for an object that was never touched.
fn zero(schema: Option<&Schema>, api_version: &str, kind: &str) -> Value {
    let mut zero = json!({});
    if let Some(schema) = schema {
        schema.prune(&mut zero);
    }
    zero["apiVersion"] = json!(api_version);
    zero["kind"] = json!(kind);
    zero
}

/// The ways in which objects of a kind are written, with what counts on each.
fn ways(kind: &Kind, counted: impl Fn(&str, bool) -> Counted) -> Vec<(String, Counted)> {
    let has_status = kind.subresource("status").is_some();
    let ways = [""].into_iter().chain(kind.subresources.iter().map(|sub| sub.name.as_str()));
    ways.map(|way| (way.to_owned(), counted(way, has_status))).collect()
}

/// An empty list of managers is an order to forget them; an empty list would not outlive the decoder, an empty entry does.
fn keep_reset(mut object: Value) -> Value {
    if let Some(entries) = object.get_mut("metadata").and_then(|metadata| metadata.get_mut("managedFields"))
        && is_reset(entries)
    {
        *entries = json!([{}]);
    }
    object
}

/// Leaves of a write only one field of one part, and the version it is for.
fn keep_all_but(new: &mut Value, old: &Value, part: &str, field: &str) {
    let asked = std::mem::replace(new, old.clone());
    if let Some(part_of_new) = at::sub_mut(new, part) {
        at::keep(part_of_new, at::sub(&asked, part), field);
    }
    meta::set(new, "resourceVersion", meta::resource_version(&asked));
}

/// All kinds that are served, by group, version and plural.
pub struct Resources {
    by_version: HashMap<String, HashMap<String, HashMap<String, Arc<Resource>>>>,
    customs: Arc<Customs>,
}

impl Resources {
    /// The kinds this executable knows, and those that are defined in the store; `backends` convert those.
    pub fn new(store: &Store, backends: Client) -> Resources {
        let mut resources = Resources { by_version: HashMap::new(), customs: Arc::new(Customs::new(store, backends)) };
        for kind in kinds::builtin() {
            resources.add(Resource::new(kind.clone()));
        }
        resources
    }

    fn add(&mut self, resource: Resource) {
        let kind = resource.kind.clone();
        let versions = self.by_version.entry(kind.group.clone()).or_default();
        versions.entry(kind.version.clone()).or_default().insert(kind.plural.clone(), Arc::new(resource));
    }

    /// A resource in all its versions, in other groups that store their objects in the same place, too.
    pub(super) fn versions_of(&self, resource: &Resource) -> Vec<Arc<Resource>> {
        let plural = &resource.kind.plural;
        if let Some(custom) = resource.as_custom() {
            let versions = custom.definition.versions.iter();
            return versions.filter_map(|version| self.find(&resource.kind.group, &version.name, plural)).collect();
        }
        let all = self.by_version.values().flat_map(HashMap::values).filter_map(|kinds| kinds.get(plural));
        all.filter(|other| other.prefix == resource.prefix).cloned().collect()
    }

    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        match self.built_in(group, version, plural) {
            Some(resource) => Some(resource.clone()),
            None => self.customs.find(group, version, plural),
        }
    }

    /// Whether a group has a built-in resource of this name.
    pub(super) fn is_built_in(&self, group: &str, plural: &str) -> bool {
        self.by_version.get(group).is_some_and(|versions| versions.values().any(|kinds| kinds.contains_key(plural)))
    }

    fn built_in(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_version.get(group)?.get(version)?.get(plural)
    }

    /// All kinds as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.customs.newest()
    }

    pub(crate) fn presenter(&self) -> Presenter {
        Presenter::new(self.customs.clone())
    }
}
