//! What a request may ask of the registry beside the object itself.

pub use mk8s_api::decode::FieldValidation;
use mk8s_api::{
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
    pub field_manager: String,
    /// Server-side apply takes over fields of others.
    pub force: bool,
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
            other => Err(invalid_delete_option(&format!(
                "propagationPolicy: Unsupported value: {other:?}: supported values: \"Foreground\", \"Background\", \"Orphan\", \"\""
            ))),
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
    pub fn from_json(options: &Value) -> Result<DeleteOptions, Status> {
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
        if self.propagation.is_some() && self.orphan_dependents.is_some() {
            return Err(invalid_delete_option(
                "propagationPolicy: Invalid value: orphanDependents and deletionPropagation cannot be both set",
            ));
        }
        Ok(())
    }
}

fn dry_run(value: &Value) -> Result<bool, Status> {
    match value.as_array().map(Vec::as_slice) {
        None | Some([]) => Ok(false),
        Some([Value::String(all)]) if all == "All" => Ok(true),
        Some(_) => Err(invalid_delete_option("dryRun: Unsupported value: supported values: \"All\"")),
    }
}

fn invalid_delete_option(why: &str) -> Status {
    Status::failure(422, "Invalid", format!("DeleteOptions.meta.k8s.io \"\" is invalid: {why}"))
}
