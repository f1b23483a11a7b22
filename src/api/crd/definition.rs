//! A CustomResourceDefinition as the server uses it: the kinds it makes, and what each version's objects look like.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{PrinterColumn, ScalePaths, Structural, conform, publish, validate};
use crate::{
    at::{flag, get, list, maybe_text, sub, text, texts},
    cel,
    field::{FieldError, FieldErrorKind, Path},
    json_path::Template,
    kinds::{Kind, Subresource, Verb},
    meta,
    schema::{self, DecodeError, Schema},
};

/// What keeps a definition until its objects are gone.
pub const CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";

/// A definition that is served.
#[derive(Debug)]
pub struct Definition {
    pub name: String,
    pub uid: String,
    pub group: String,
    pub namespaced: bool,
    /// Its objects go away; none are made any more.
    pub terminating: bool,
    pub storage_version: String,
    /// All versions, those that are not served too: objects may be stored in them.
    pub versions: Vec<Arc<DefinitionVersion>>,
    pub conversion: Conversion,
    names: Value,
}

/// How an object of one version becomes one of another.
#[derive(Clone, Debug, PartialEq)]
pub enum Conversion {
    /// Only `apiVersion` changes.
    None,
    /// `spec.conversion.webhook`.
    Webhook(Value),
}

/// One version of a definition.
#[derive(Debug)]
pub struct DefinitionVersion {
    pub name: String,
    pub api_version: String,
    pub kind: String,
    pub served: bool,
    /// What clients are told who use it.
    pub deprecation: Option<String>,
    pub schema: Structural,
    /// `openAPIV3Schema` as it was written; null when there is none.
    pub published: Value,
    /// The types of its fields, as applying needs them.
    pub fields: Schema,
    pub has_status: bool,
    pub scale: Option<ScalePaths>,
    pub columns: Vec<PrinterColumn>,
    selectable: Vec<Selectable>,
    /// `x-kubernetes-validations`
    rules: Option<cel::rules::Rules>,
}

#[derive(Debug)]
struct Selectable {
    /// `spec.color`
    name: String,
    path: Option<Template>,
}

/// Whether a condition of a definition holds.
pub fn is_true(definition: &Value, condition: &str) -> bool {
    let conditions = list(sub(definition, "status"), "conditions");
    conditions.iter().any(|known| text(known, "type") == condition && text(known, "status") == "True")
}

impl Definition {
    /// Reads a stored definition. `None` when it is not established: nothing of it is served.
    pub fn read(definition: &Value) -> Option<Definition> {
        if !is_true(definition, "Established") {
            return None;
        }
        let (spec, status) = (sub(definition, "spec"), sub(definition, "status"));
        let group = text(spec, "group").to_owned();
        let names = sub(status, "acceptedNames").clone();
        let storage = list(spec, "versions").iter().find(|version| flag(version, "storage") == Some(true))?;
        let versions = list(spec, "versions").iter();
        let versions = versions.map(|version| Arc::new(DefinitionVersion::read(&group, text(&names, "kind"), version)));
        let conversion = match (text(sub(spec, "conversion"), "strategy"), get(sub(spec, "conversion"), "webhook")) {
            ("Webhook", Some(webhook)) => Conversion::Webhook(webhook.clone()),
            _ => Conversion::None,
        };
        Some(Definition {
            name: meta::name(definition).to_owned(),
            uid: meta::uid(definition).to_owned(),
            namespaced: text(spec, "scope") == "Namespaced",
            terminating: is_true(definition, "Terminating"),
            storage_version: text(storage, "name").to_owned(),
            versions: versions.collect(),
            conversion,
            group,
            names,
        })
    }

    pub fn plural(&self) -> &str {
        text(&self.names, "plural")
    }

    pub fn kind(&self) -> &str {
        text(&self.names, "kind")
    }

    pub fn version(&self, name: &str) -> Option<&Arc<DefinitionVersion>> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The kind that one of its versions makes; the hash of the storage version is for others to make.
    pub fn kind_of(&self, version: &DefinitionVersion) -> Kind {
        use Verb::{Create, Delete, DeleteCollection, Get, List, Patch, Update, Watch};
        let owned = |field: &str| -> Vec<String> { texts(&self.names, field).map(str::to_owned).collect() };
        let subresource = |name: &str, group: &str, version: &str, kind: &str| Subresource {
            name: name.to_owned(),
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            verbs: vec![Get, Patch, Update],
        };
        let mut subresources = Vec::new();
        if version.has_status {
            subresources.push(subresource("status", &self.group, &version.name, self.kind()));
        }
        if version.scale.is_some() {
            subresources.push(subresource("scale", "autoscaling", "v1", "Scale"));
        }
        Kind {
            group: self.group.clone(),
            version: version.name.clone(),
            kind: self.kind().to_owned(),
            list_kind: text(&self.names, "listKind").to_owned(),
            plural: self.plural().to_owned(),
            singular: text(&self.names, "singular").to_owned(),
            namespaced: self.namespaced,
            short_names: owned("shortNames"),
            categories: owned("categories"),
            verbs: vec![Delete, DeleteCollection, Get, List, Patch, Create, Update, Watch],
            subresources,
            storage_group: self.group.clone(),
            storage_version: self.storage_version.clone(),
            storage_version_hash: None,
            delete_returns_object: false,
            is_virtual: false,
        }
    }
}

impl DefinitionVersion {
    fn read(group: &str, kind: &str, version: &Value) -> DefinitionVersion {
        let name = text(version, "name").to_owned();
        let published = sub(sub(version, "schema"), "openAPIV3Schema").clone();
        // What no version of this server would let in keeps everything.
        let anything = || Structural { preserves_unknown: true, ..Structural::default() };
        let schema = match &published {
            Value::Null => anything(),
            published => Structural::read(published).unwrap_or_else(|_| anything()),
        };
        let api_version = format!("{group}/{name}");
        let deprecation =
            (flag(version, "deprecated") == Some(true)).then(|| match maybe_text(version, "deprecationWarning") {
                Some(given) => given.to_owned(),
                None => format!("{api_version} {kind} is deprecated"),
            });
        let subresources = sub(version, "subresources");
        let selectable = list(version, "selectableFields").iter().map(|field| {
            let path = text(field, "jsonPath");
            Selectable {
                name: path.strip_prefix('.').unwrap_or(path).to_owned(),
                path: Template::parse(&format!("{{{path}}}")).ok(),
            }
        });
        DefinitionVersion {
            fields: schema::of_custom(&publish::with_embedded(&published)),
            rules: cel::rules::Rules::compile(&published),
            served: flag(version, "served") == Some(true),
            deprecation,
            kind: kind.to_owned(),
            has_status: get(subresources, "status").is_some(),
            scale: get(subresources, "scale").map(ScalePaths::read),
            columns: PrinterColumn::all(version),
            selectable: selectable.collect(),
            schema,
            published,
            api_version,
            name,
        }
    }

    /// Brings an object that a client sent into its canonical form; the paths of what it may not have.
    pub fn receive(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        conform::received(&self.schema, object)
    }

    /// As [`DefinitionVersion::receive`], without setting defaults.
    pub fn shape(&self, object: &mut Value) -> Result<Vec<String>, DecodeError> {
        conform::shaped(&self.schema, object)
    }

    /// Sets what was left out.
    pub fn complete(&self, object: &mut Value) {
        conform::default(&self.schema, object);
    }

    /// Brings an object of another version, or of an older definition, into the form of this version.
    pub fn adopt(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.api_version.as_str().into());
            fields.insert("kind".to_owned(), self.kind.as_str().into());
        }
        conform::stored(&self.schema, object);
    }

    /// As [`DefinitionVersion::adopt`] for an object that is about to be stored in this version.
    pub fn keep(&self, object: &mut Value) {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("apiVersion".to_owned(), self.api_version.as_str().into());
        }
        conform::to_store(&self.schema, object);
    }

    /// Prunes and defaults what plugins and webhooks made of an object.
    pub fn tidy(&self, object: &mut Value) {
        conform::stored(&self.schema, object);
    }

    pub fn prepare_create(&self, object: &mut Value) {
        if self.has_status {
            remove(object, "status");
        }
        meta::set(object, "generation", 1);
    }

    /// Undoes what an update may not change, and counts the changes of everything but metadata.
    pub fn prepare_update(&self, new: &mut Value, old: &Value) {
        if self.has_status {
            keep(new, old, "status");
        }
        let generation = meta::generation(old);
        let changed = !same_but_metadata(new, old);
        meta::set(new, "generation", if changed { generation + 1 } else { generation.max(1) });
    }

    /// Leaves of the update of a status only the status, and who manages it.
    pub fn prepare_status_update(&self, new: &mut Value, old: &Value) {
        let managed = meta::metadata(new).get("managedFields").cloned();
        let version = meta::resource_version(new).to_owned();
        let asked = std::mem::replace(new, old.clone());
        keep(new, &asked, "status");
        match managed {
            Some(managed) => meta::set(new, "managedFields", managed),
            None => meta::remove(new, "managedFields"),
        }
        meta::set(new, "resourceVersion", version);
    }

    /// What is wrong with a new object, its metadata left out.
    pub fn validate(&self, object: &Value) -> Vec<FieldError> {
        let mut errors = validate::value(&self.schema, object, None, &Path::root());
        self.validate_scale(object, true, &mut errors);
        errors.append(&mut validate::resource(&self.schema, object, &Path::root(), false));
        validate::list_update(&self.schema, object, &Value::Null, &mut errors);
        self.run_rules(object, None, &mut errors, &mut Vec::new());
        errors
    }

    /// What is wrong with an object that replaces `old`, its metadata left out. Rules that fail on what did not change are
    /// told in `warnings`.
    pub fn validate_update(&self, new: &Value, old: &Value, warnings: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = validate::value(&self.schema, new, Some(old), &Path::root());
        self.validate_scale(new, true, &mut errors);
        errors.append(&mut validate::resource(&self.schema, new, &Path::root(), false));
        validate::list_update(&self.schema, new, old, &mut errors);
        self.run_rules(new, Some(old), &mut errors, warnings);
        errors
    }

    /// What is wrong with the status of an object that replaces that of `old`; `warnings` as for the whole object.
    pub fn validate_status_update(&self, new: &Value, old: &Value, warnings: &mut Vec<String>) -> Vec<FieldError> {
        let mut errors = Vec::new();
        if let (Some(status), Some(schema)) = (new.get("status"), self.schema.properties.get("status")) {
            errors = validate::value(schema, status, old.get("status"), &Path::new("status"));
        }
        self.validate_scale(new, false, &mut errors);
        validate::list_update(&self.schema, new, old, &mut errors);
        self.run_rules(new, Some(old), &mut errors, warnings);
        errors
    }

    /// Runs the rules in CEL, which can rely on what the schema says.
    fn run_rules(&self, object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>, warnings: &mut Vec<String>) {
        use FieldErrorKind::{NotSupported, Required, TooLong, TooMany, TypeInvalid};
        let Some(rules) = &self.rules else { return };
        let is_blocking =
            |error: &FieldError| matches!(error.kind, NotSupported | Required | TooLong | TooMany | TypeInvalid);
        if errors.iter().any(is_blocking) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
            errors.push(FieldError::invalid(&Path::root(), Value::Null, detail));
            return;
        }
        let mut outcome = rules.validate(&Path::root(), object, old);
        errors.append(&mut outcome.errors);
        warnings.append(&mut outcome.warnings);
    }

    fn validate_scale(&self, object: &Value, whole: bool, errors: &mut Vec<FieldError>) {
        if let Some(scale) = &self.scale {
            scale.validate(object, whole, errors);
        }
    }

    /// Whether objects can be selected by a field.
    pub fn selects_by(&self, field: &str) -> bool {
        self.selectable.iter().any(|known| known.name == field)
    }

    /// The names of the fields by which objects can be selected.
    pub fn selectable(&self) -> impl Iterator<Item = &str> {
        self.selectable.iter().map(|field| field.name.as_str())
    }

    /// The text of a field by which objects can be selected; empty when the object has not got it.
    pub fn selected(&self, object: &Value, field: &str) -> Option<String> {
        let field = self.selectable.iter().find(|known| known.name == field)?;
        let found = field.path.as_ref().and_then(|path| path.find(object).ok()?.first().copied());
        Some(match found {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        })
    }
}

fn remove(object: &mut Value, field: &str) {
    crate::at::remove(object, field);
}

fn keep(new: &mut Value, old: &Value, field: &str) {
    crate::at::keep(new, old, field);
}

fn same_but_metadata(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    new.keys().chain(old.keys()).all(|name| name == "metadata" || new.get(name) == old.get(name))
}

/// What a first delete makes of a definition: it stays until its objects are gone. `None` when that was done before.
pub fn begin_deletion(definition: &Value, now: &str) -> Option<Value> {
    if meta::is_deleting(definition) {
        return None;
    }
    let mut marked = definition.clone();
    meta::set(&mut marked, "deletionTimestamp", now);
    if !meta::finalizers(definition).any(|finalizer| finalizer == CLEANUP) {
        let mut finalizers: Vec<&str> = meta::finalizers(definition).collect();
        finalizers.push(CLEANUP);
        meta::set(&mut marked, "finalizers", json!(finalizers));
    }
    let condition = json!({
        "type": "Terminating", "status": "True", "lastTransitionTime": now, "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    });
    let status = crate::at::sub_mut(&mut marked, "status")?;
    let conditions = crate::at::list_mut(status, "conditions")?;
    conditions.retain(|known| text(known, "type") != "Terminating");
    conditions.push(condition);
    Some(marked)
}
