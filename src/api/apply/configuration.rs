//! Applying a configuration: who applies owns what it says, and says all that it wants.
//!
//! ```text
//! live + configuration --merge--> --prune what this manager let go--> --compare with live--> conflicts, or new owners
//! ```

use serde_json::Value;

use super::{
    check::{check, told},
    compare::{compare, forget_address},
    conflict::Conflict,
    extract,
    managers::{Manager, Managers, Operation},
    merge::merge,
    prune::prune,
    set::FieldSet,
    write::{Writer, adapt, difference, note, seen, take},
};
use crate::meta;

/// Where clients keep what they last applied, when they do the merging themselves.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How many bytes all annotations of an object may have.
const ANNOTATIONS: usize = 256 << 10;

/// Who has last-applied annotations brought up to date, and may take over what they say.
const KUBECTL: &str = "kubectl";

/// Who is said to own what was there before anybody was noted.
const BEFORE: &str = "before-first-apply";

/// Why a configuration is not applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ApplyError {
    #[error("the configuration conflicts with {} fields of other managers", .0.len())]
    Conflicts(Vec<Conflict>),
    /// It does not fit the type; the text has one line for each place.
    #[error("{0}")]
    Type(String),
    #[error("the applied object cannot be brought into its form: {0}")]
    Form(String),
}

/// What an apply makes.
#[derive(Debug)]
pub struct Applied {
    /// The object without its managers, in its form but not defaulted; `None` when it is as it was.
    pub object: Option<Value>,
    pub managers: Managers,
}

/// Applies to an object that is not there: what the configuration says is all there is.
pub fn create(writer: &Writer<'_>, configuration: &Value) -> Result<Managers, ApplyError> {
    let mut managers = Managers::default();
    managers.0.push(writer.manager(Operation::Apply, wanted(writer, configuration)?));
    managers.drop_empty();
    Ok(managers)
}

/// Applies a configuration to the live object. `zero` is what the kind's objects look like before anything is set, and
/// `form` brings a merged object into its form.
pub fn apply(
    writer: &Writer<'_>,
    zero: &Value,
    live: &Value,
    configuration: &Value,
    force: bool,
    form: &dyn Fn(Value) -> Result<Value, String>,
) -> Result<Applied, ApplyError> {
    let wanted = wanted(writer, configuration)?;
    let mut bare = live.clone();
    let mut managers = Managers::of_stored(take(&mut bare).unwrap_or_default());
    let live = &bare;
    if managers.is_empty() {
        note(&Writer { name: BEFORE, ..*writer }, &mut managers, zero, live);
    }
    adapt(writer, &mut managers);
    match once(writer, &managers, live, configuration, &wanted, force, form) {
        Err(ApplyError::Conflicts(conflicts)) if writer.name == KUBECTL => {
            let Some(allowed) = last_applied(writer, live) else { return Err(ApplyError::Conflicts(conflicts)) };
            let is_allowed =
                |conflict: &Conflict| allowed.has(&conflict.path.iter().map(String::as_str).collect::<Vec<_>>());
            let left: Vec<Conflict> = conflicts.into_iter().filter(|conflict| !is_allowed(conflict)).collect();
            if !left.is_empty() {
                return Err(ApplyError::Conflicts(left));
            }
            once(writer, &managers, live, configuration, &wanted, true, form)
        }
        outcome => outcome,
    }
    .map(|mut applied| {
        renew_last_applied(writer, live, configuration, &mut applied.object);
        applied
    })
}

fn wanted(writer: &Writer<'_>, configuration: &Value) -> Result<FieldSet, ApplyError> {
    let Some(node) = writer.versions.node(writer.api_version) else {
        return Err(ApplyError::Type(format!("no corresponding type for {}", writer.api_version)));
    };
    let errors = check(node, configuration);
    if !errors.is_empty() {
        return Err(ApplyError::Type(told(&errors)));
    }
    let mut fields = extract::fields(node, configuration);
    writer.counted.keep(&mut fields);
    forget_address(&mut fields);
    Ok(fields)
}

fn once(
    writer: &Writer<'_>,
    known: &Managers,
    live: &Value,
    configuration: &Value,
    wanted: &FieldSet,
    force: bool,
    form: &dyn Fn(Value) -> Result<Value, String>,
) -> Result<Applied, ApplyError> {
    let Some(node) = writer.versions.node(writer.api_version) else { return Err(ApplyError::Type(String::new())) };
    let mut managers = known.clone();
    let mut mine = writer.manager(Operation::Apply, wanted.clone());
    let before = managers.find(&mine).map(|at| managers.0.remove(at));
    let mut merged = merge(node, live, configuration);
    if let Some(before) = before.as_ref().filter(|before| !before.fields.is_empty()) {
        let owned = owned(&managers, &mine);
        if let Some(pruned) = prune(writer.versions, &merged, &before.fields, &before.api_version, &owned)
            && let Some(pruned) = writer.versions.convert(&pruned, writer.api_version)
        {
            merged = pruned;
        }
    }
    let object = form(merged).map_err(ApplyError::Form)?;
    let difference = difference(writer, live, &object);
    let seen = seen(writer, &mut managers, live, &object, difference);
    let mut conflicts = Vec::new();
    for manager in &managers.0 {
        let Some(difference) = seen.by(manager) else { continue };
        let shared = manager.fields.shared(&difference.changed);
        let id = manager.id();
        let paths = shared.members().into_iter().map(|path| path.into_iter().map(str::to_owned).collect());
        conflicts.extend(paths.map(|path| Conflict { manager: id.clone(), path }));
    }
    if !conflicts.is_empty() && !force {
        conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
        return Err(ApplyError::Conflicts(conflicts));
    }
    for manager in &mut managers.0 {
        if let Some(difference) = seen.by(manager) {
            manager.fields.subtract(&difference.changed);
            manager.fields.subtract(&difference.removed);
        }
    }
    let same = is_same(&object, live);
    if same {
        mine.time = before.and_then(|before| before.time);
    }
    managers.0.push(mine);
    managers.drop_empty();
    Ok(Applied { object: (!same).then_some(object), managers })
}

/// All fields that are owned, version by version.
fn owned(managers: &Managers, mine: &Manager) -> Vec<(String, FieldSet)> {
    let mut all: Vec<(String, FieldSet)> = Vec::new();
    for manager in managers.iter().chain([mine]) {
        match all.iter_mut().find(|(version, _)| *version == manager.api_version) {
            Some((_, fields)) => fields.unite(&manager.fields),
            None => all.push((manager.api_version.clone(), manager.fields.clone())),
        }
    }
    all
}

/// Equal but for the managers.
fn is_same(object: &Value, live: &Value) -> bool {
    let (Some(a), Some(b)) = (object.as_object(), live.as_object()) else { return false };
    let rest = |(name, _): &(&String, &Value)| *name != "metadata";
    let known = |(name, _): &(&String, &Value)| *name != "managedFields";
    a.iter().filter(rest).eq(b.iter().filter(rest))
        && meta::metadata(object).iter().filter(known).eq(meta::metadata(live).iter().filter(known))
}

/// The fields that are still as the client that merges by itself applied them last.
fn last_applied(writer: &Writer<'_>, live: &Value) -> Option<FieldSet> {
    let text = meta::annotation(live, LAST_APPLIED).filter(|text| !text.is_empty())?;
    let applied: Value = serde_json::from_str(text).ok()?;
    if meta::api_version(&applied) != writer.api_version {
        return None;
    }
    let node = writer.versions.node(writer.api_version)?;
    if !check(node, &applied).is_empty() {
        return None;
    }
    let mut fields = extract::fields(node, &applied);
    let difference = compare(node, &applied, live);
    fields.subtract(&difference.changed);
    fields.subtract(&difference.removed);
    Some(fields)
}

/// An annotation that says what was last applied says so of this configuration, too.
fn renew_last_applied(writer: &Writer<'_>, live: &Value, configuration: &Value, object: &mut Option<Value>) {
    let annotated = object.as_ref().unwrap_or(live);
    let has_it = meta::annotation(annotated, LAST_APPLIED).is_some_and(|text| !text.is_empty());
    if writer.name != KUBECTL || !has_it {
        return;
    }
    let mut said = configuration.clone();
    if let Some(metadata) = said.get_mut("metadata").and_then(Value::as_object_mut)
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        annotations.remove(LAST_APPLIED);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
    let text = format!("{said}\n");
    if meta::annotation(annotated, LAST_APPLIED) == Some(text.as_str()) {
        return;
    }
    let mut changed = annotated.clone();
    if let Some(annotations) = changed.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        let others: usize = annotations
            .iter()
            .filter(|(name, _)| *name != LAST_APPLIED)
            .map(|(name, value)| name.len() + value.as_str().map_or(0, str::len))
            .sum();
        if others + LAST_APPLIED.len() + text.len() > ANNOTATIONS {
            annotations.remove(LAST_APPLIED);
        } else {
            annotations.insert(LAST_APPLIED.to_owned(), Value::String(text));
        }
    }
    *object = Some(changed);
}
