//! What a request may ask of the registry beside the object itself.

pub use mk8s_api::decode::FieldValidation;
use mk8s_api::{
    field::{FieldError, Path},
    meta, schema,
    select::{FieldSelector, LabelSelector},
    status::Status,
};
use serde_json::Value;

/// `ListOptions` of list, watch and deletecollection.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
    /// Zero: no limit.
    pub limit: usize,
    pub continue_token: Option<String>,
    /// Zero: any version will do. Absent: the newest.
    pub resource_version: Option<u64>,
    pub version_match: Option<VersionMatch>,
    pub timeout_s: Option<u64>,
    pub bookmarks: bool,
    pub send_initial_events: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionMatch {
    Exact,
    NotOlderThan,
}

/// What `CreateOptions`, `UpdateOptions` and `PatchOptions` have in common.
#[derive(Debug, Clone, Default)]
pub struct WriteOptions {
    pub dry_run: bool,
    pub validation: FieldValidation,
    /// Empty when the client does not say; an apply must.
    pub field_manager: String,
    /// Who writes: the field manager, or else the client's program.
    pub manager: String,
    /// Server-side apply takes over fields of others; absent when nothing was said of it.
    pub force: Option<bool>,
    /// It is a patch, server-side apply included: authorization tells that from an update.
    pub is_patch: bool,
}

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    Orphan,
    Background,
    Foreground,
}

impl Propagation {
    pub fn parse(text: &str) -> Result<Propagation, Status> {
        match text {
            "Orphan" => Ok(Propagation::Orphan),
            "Background" => Ok(Propagation::Background),
            "Foreground" => Ok(Propagation::Foreground),
            other => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                Err(invalid_delete_option(FieldError::not_supported(
                    &Path::new("propagationPolicy"),
                    other,
                    &supported,
                )))
            }
        }
    }
}

/// `DeleteOptions`, from the body of a delete or its query.
#[derive(Debug, Clone, Default)]
pub struct DeleteOptions {
    pub grace_period_s: Option<i64>,
    pub propagation: Option<Propagation>,
    pub orphan_dependents: Option<bool>,
    pub uid: Option<String>,
    pub resource_version: Option<String>,
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the JSON form, as bodies and evictions carry it.
    pub fn from_json(mut options: Value) -> Result<DeleteOptions, Status> {
        check_types(&mut options)?;
        let text = |value: &Value| value.as_str().filter(|s| !s.is_empty()).map(str::to_string);
        let preconditions = &options["preconditions"];
        let parsed = DeleteOptions {
            grace_period_s: options["gracePeriodSeconds"].as_i64(),
            propagation: text(&options["propagationPolicy"]).map(|p| Propagation::parse(&p)).transpose()?,
            orphan_dependents: options["orphanDependents"].as_bool(),
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
            dry_run: dry_run(&options["dryRun"])?,
        };
        parsed.check()?;
        Ok(parsed)
    }

    pub fn check(&self) -> Result<(), Status> {
        match self.propagation {
            Some(propagation) if self.orphan_dependents.is_some() => {
                let why = "orphanDependents and deletionPropagation cannot be both set";
                let policy = format!("{propagation:?}");
                Err(invalid_delete_option(FieldError::invalid(&Path::new("propagationPolicy"), policy, why)))
            }
            _ => Ok(()),
        }
    }
}

/// A body may be of any group's version; its fields are these.
fn check_types(options: &mut Value) -> Result<(), Status> {
    let kind = meta::kind(options);
    if !matches!(kind, "" | "DeleteOptions") {
        return Err(Status::bad_request(format!(
            "decoded object of kind {kind:?} cannot be converted to DeleteOptions"
        )));
    }
    let Some(schema) = schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions") else { return Ok(()) };
    let refused = |error| {
        Status::bad_request(format!("DeleteOptions in version \"v1\" cannot be handled as a DeleteOptions: {error}"))
    };
    if options.is_object() { schema.decode(options).map(drop).map_err(refused) } else { Ok(()) }
}

fn dry_run(value: &Value) -> Result<bool, Status> {
    match value.as_array().map(Vec::as_slice) {
        None | Some([]) => Ok(false),
        Some([Value::String(all)]) if all == "All" => Ok(true),
        Some(_) => Err(invalid_delete_option(FieldError::not_supported(&Path::new("dryRun"), value.clone(), &["All"]))),
    }
}

fn invalid_delete_option(error: FieldError) -> Status {
    Status::invalid("meta.k8s.io", "DeleteOptions", "", vec![error])
}
