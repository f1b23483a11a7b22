//! What a definition may say beside its schemas: names, versions, subresources, columns, conversion.

use serde_json::Value;

use super::{Errors, defaults, schema, shape};
use crate::{
    at::{flag, get, list, maybe_text, same, sub, text, texts},
    crd::{Structural, definition},
    field::{FieldError, Path},
    names,
    rules::client_config,
};

/// What is demanded of a definition: rules that came later are not held against what was stored before.
#[derive(Clone, Debug)]
pub(super) struct Requirements {
    pub(super) immutable_names: bool,
    pub(super) known_review_version: bool,
    pub(super) valid_ca_bundle: bool,
    pub(super) schemas: bool,
    pub(super) valid_types: bool,
    pub(super) structural: bool,
    pub(super) pruned_defaults: bool,
    pub(super) atomic_sets: bool,
    pub(super) map_keys: bool,
    /// Versions that have more fields to select by than allowed, and had them before.
    many_selectable: Vec<String>,
}

impl Requirements {
    pub(super) fn all() -> Requirements {
        Requirements {
            immutable_names: false,
            known_review_version: true,
            valid_ca_bundle: false,
            schemas: true,
            valid_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            map_keys: true,
            many_selectable: Vec::new(),
        }
    }

    pub(super) fn of_update(new: &Value, old: &Value) -> Requirements {
        let spec = sub(old, "spec");
        let versions = list(spec, "versions");
        let schemas = || versions.iter().filter_map(|version| get(sub(version, "schema"), "openAPIV3Schema"));
        let never = |what: &dyn Fn(&Value) -> bool| !schemas().any(|root| schema::any(root, what));
        let reviews = list(sub(sub(spec, "conversion"), "webhook"), "conversionReviewVersions");
        let old_bundle = text(sub(sub(sub(spec, "conversion"), "webhook"), "clientConfig"), "caBundle");
        let new_versions = list(sub(new, "spec"), "versions");
        let many = versions.iter().filter(|version| {
            let fields = list(version, "selectableFields");
            let same = new_versions.iter().find(|other| text(other, "name") == text(version, "name"));
            fields.len() > SELECTABLE && same.is_some_and(|other| list(other, "selectableFields") == fields)
        });
        Requirements {
            immutable_names: definition::is_true(old, "Established"),
            valid_ca_bundle: definition::is_true(old, "Established")
                && (old_bundle.is_empty() || client_config::is_ca_bundle(old_bundle)),
            known_review_version: reviews.is_empty() || reviews.iter().any(is_known_review),
            schemas: versions.iter().all(|version| get(sub(version, "schema"), "openAPIV3Schema").is_some()),
            valid_types: never(&|schema| {
                !matches!(text(schema, "type"), "" | "array" | "boolean" | "integer" | "number" | "object" | "string")
            }),
            structural: schemas()
                .all(|schema| shape::violations(schema, &Path::root()).is_ok_and(|found| found.is_empty())),
            pruned_defaults: schemas()
                .all(|schema| Structural::read(schema).map_or(true, |schema| defaults::are_pruned(&schema))),
            atomic_sets: never(&|schema| {
                let mut found = Vec::new();
                schema::set_items(schema, &Path::root(), &mut found);
                !found.is_empty()
            }),
            map_keys: never(&|schema| {
                let mut found = Vec::new();
                schema::keyed_items(schema, &Path::root(), &mut found);
                !found.is_empty()
            }),
            many_selectable: many.map(|version| text(version, "name").to_owned()).collect(),
        }
    }
}

const SELECTABLE: usize = 8;

fn is_known_review(version: &Value) -> bool {
    matches!(version.as_str(), Some("v1" | "v1beta1"))
}

/// A field that all versions have in common, which is where upstream then says it stands.
fn common<'a>(versions: &'a [Value], field: &str) -> Option<&'a Value> {
    let (first, others) = versions.split_first()?;
    others.iter().all(|other| same(sub(other, field), sub(first, field))).then(|| sub(first, field))
}

pub(super) fn validate(spec: &Value, old: Option<&Value>, requirements: &Requirements, errors: &mut Errors) {
    let path = Path::new("spec");
    let versions = list(spec, "versions");
    let mut requirements = requirements.clone();
    validate_group(spec, &path, errors);
    enumeration(text(spec, "scope"), &["Cluster", "Namespaced"], &path.child("scope"), errors);
    let keeps_unknown = flag(spec, "preserveUnknownFields") == Some(true);
    requirements.structural |= !keeps_unknown;
    let shared = Shared::of(versions);
    if shared.schema.is_none_or(|schema| get(schema, "openAPIV3Schema").is_none()) {
        for (index, version) in versions.iter().enumerate() {
            let lacks = get(sub(version, "schema"), "openAPIV3Schema").is_none();
            let path = path.child("versions").index(index).child("schema").child("openAPIV3Schema");
            if lacks && requirements.schemas {
                errors.push(FieldError::required(&path, ""));
            } else if lacks && !keeps_unknown && flag(version, "served") == Some(true) {
                errors.push(FieldError::required(&path, "because otherwise all fields are pruned"));
            }
        }
    }
    let has = |what: &dyn Fn(&Value) -> bool| {
        versions.iter().any(|version| schema::any(sub(sub(version, "schema"), "openAPIV3Schema"), what))
    };
    if has(&|schema| get(schema, "default").is_some()) {
        requirements.structural = true;
        if keeps_unknown {
            let detail = "must be false in order to use defaults in the schema";
            errors.push(FieldError::invalid(&path.child("preserveUnknownFields"), true, detail));
        }
    }
    requirements.structural |= has(&schema::has_extensions);
    validate_versions(versions, &shared, &requirements, &path, errors);
    let names = sub(spec, "names");
    for name in ["plural", "singular", "kind", "listKind"] {
        if text(names, name).is_empty() {
            errors.push(FieldError::required(&path.child("names").child(name), ""));
        }
    }
    validate_names(names, &path.child("names"), errors);
    if let Some(schema) = shared.schema {
        let has_status = versions.iter().any(|version| get(sub(version, "subresources"), "status").is_some());
        schema::validate(schema, has_status, &requirements, &path.child("validation"), errors);
    }
    if let Some(subresources) = shared.subresources {
        validate_subresources(subresources, &path.child("subresources"), errors);
    }
    for (index, column) in shared.columns.unwrap_or_default().iter().enumerate() {
        validate_column(column, &path.child("additionalPrinterColumns").index(index), errors);
    }
    if let (Some(fields), Some(first)) = (shared.selectable.filter(|fields| !fields.is_empty()), versions.first()) {
        let path = path.child("selectableFields");
        match shared.schema.filter(|schema| !schema.is_null()) {
            Some(_) => validate_selectable(fields, first, &requirements, &path, errors),
            None => errors.push(FieldError::invalid(&path, "", "may only be set when validations.schema is included")),
        }
    }
    validate_conversion(sub(spec, "conversion"), keeps_unknown, &requirements, &path.child("conversion"), errors);
    if let Some(old) = old {
        validate_unchanged(spec, old, &requirements, &path, errors);
    }
}

/// What all versions have in common.
struct Shared<'a> {
    schema: Option<&'a Value>,
    subresources: Option<&'a Value>,
    columns: Option<&'a [Value]>,
    selectable: Option<&'a [Value]>,
}

impl<'a> Shared<'a> {
    fn of(versions: &'a [Value]) -> Shared<'a> {
        let items = |value: &'a Value| value.as_array().map_or(&[][..], Vec::as_slice);
        Shared {
            schema: common(versions, "schema"),
            subresources: common(versions, "subresources"),
            columns: common(versions, "additionalPrinterColumns").map(items),
            selectable: common(versions, "selectableFields").map(items),
        }
    }
}

fn validate_group(spec: &Value, path: &Path, errors: &mut Errors) {
    let (group, path) = (text(spec, "group"), path.child("group"));
    let wrong = names::dns1123_subdomain(group);
    if group.is_empty() {
        errors.push(FieldError::required(&path, ""));
    } else if !wrong.is_empty() {
        errors.push(FieldError::invalid(&path, group, wrong.join(",")));
    } else if !group.contains('.') {
        errors.push(FieldError::invalid(&path, group, "should be a domain with at least one dot"));
    }
}

fn enumeration(value: &str, known: &[&str], path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !known.contains(&value) {
        errors.push(FieldError::not_supported(path, value, known));
    }
}

fn validate_versions(
    versions: &[Value],
    shared: &Shared<'_>,
    requirements: &Requirements,
    path: &Path,
    errors: &mut Errors,
) {
    let path = path.child("versions");
    let mut seen = Vec::new();
    for (index, version) in versions.iter().enumerate() {
        let (name, path) = (text(version, "name"), path.index(index));
        seen.push(name);
        label(name, &path.child("name"), errors);
        validate_deprecation(version, &path.child("deprecationWarning"), errors);
        if shared.schema.is_none() {
            let has_status = get(sub(version, "subresources"), "status").is_some();
            schema::validate(sub(version, "schema"), has_status, requirements, &path.child("schema"), errors);
        }
        if shared.subresources.is_none() {
            validate_subresources(sub(version, "subresources"), &path.child("subresources"), errors);
        }
        if shared.columns.is_none() {
            for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
                validate_column(column, &path.child("additionalPrinterColumns").index(index), errors);
            }
        }
        let fields = list(version, "selectableFields");
        if shared.selectable.is_none() && !fields.is_empty() {
            validate_selectable(fields, version, requirements, &path.child("selectableFields"), errors);
        }
    }
    let shown = || Value::from(versions.to_vec());
    let mut unique = seen.clone();
    unique.sort_unstable();
    unique.dedup();
    if unique.len() != seen.len() {
        errors.push(FieldError::invalid(&path, shown(), "must contain unique version names"));
    }
    if versions.iter().filter(|version| flag(version, "storage") == Some(true)).count() != 1 {
        errors.push(FieldError::invalid(&path, shown(), "must have exactly one version marked as storage version"));
    }
}

fn label(value: &str, path: &Path, errors: &mut Errors) {
    let wrong = names::dns1035_label(value);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid(path, value, wrong.join(",")));
    }
}

fn validate_deprecation(version: &Value, path: &Path, errors: &mut Errors) {
    let Some(warning) = maybe_text(version, "deprecationWarning") else { return };
    let mut refuse = |why: String| errors.push(FieldError::invalid(path, warning, why));
    if flag(version, "deprecated") != Some(true) {
        return refuse("can only be set for deprecated versions".into());
    }
    if warning.len() > 256 {
        refuse("must be <= 256 characters long".into());
    }
    if warning.is_empty() {
        refuse("must not be an empty string".into());
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        refuse(format!("must only contain printable UTF-8 characters; non-printable character found at index {index}"));
    }
}

pub(super) fn validate_names(names: &Value, path: &Path, errors: &mut Errors) {
    for name in ["plural", "singular"] {
        if !text(names, name).is_empty() {
            label(text(names, name), &path.child(name), errors);
        }
    }
    for name in ["kind", "listKind"] {
        let value = text(names, name);
        let wrong = names::dns1035_label(&value.to_lowercase());
        if !value.is_empty() && !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.push(FieldError::invalid(&path.child(name), value, detail));
        }
    }
    for (index, name) in texts(names, "shortNames").enumerate() {
        label(name, &path.child("shortNames").index(index), errors);
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        errors.push(FieldError::invalid(&path.child("listKind"), list_kind, "kind and listKind may not be the same"));
    }
    for (index, name) in texts(names, "categories").enumerate() {
        label(name, &path.child("categories").index(index), errors);
    }
}

fn validate_subresources(subresources: &Value, path: &Path, errors: &mut Errors) {
    let Some(scale) = get(subresources, "scale") else { return };
    for (field, root) in [("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")] {
        let (value, path) = (text(scale, field), path.child(format!("scale.{field}")));
        if value.is_empty() {
            errors.push(FieldError::required(&path, ""));
        } else if !value.starts_with('.') {
            errors.push(FieldError::invalid(&path, value, "must be a simple json path starting with ."));
        } else if !value.starts_with(root) {
            let detail = format!("should be a json path under {}", root.trim_end_matches('.'));
            errors.push(FieldError::invalid(&path, value, detail));
        }
    }
    let Some(selector) = maybe_text(scale, "labelSelectorPath").filter(|path| !path.is_empty()) else { return };
    let path = path.child("scale.labelSelectorPath");
    if !selector.starts_with('.') {
        errors.push(FieldError::invalid(&path, selector, "must be a simple json path starting with ."));
    } else if !selector.starts_with(".spec.") && !selector.starts_with(".status.") {
        errors.push(FieldError::invalid(&path, selector, "should be a json path under either .spec or .status"));
    }
}

fn validate_column(column: &Value, path: &Path, errors: &mut Errors) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
    if text(column, "name").is_empty() {
        errors.push(FieldError::required(&path.child("name"), ""));
    }
    let (kind, words) = (text(column, "type"), format!("must be one of {}", TYPES.join(",")));
    if kind.is_empty() {
        errors.push(FieldError::required(&path.child("type"), words));
    } else if !TYPES.contains(&kind) {
        errors.push(FieldError::invalid(&path.child("type"), kind, words));
    }
    let format = text(column, "format");
    if !format.is_empty() && !FORMATS.contains(&format) {
        let words = format!("must be one of {}", FORMATS.join(","));
        errors.push(FieldError::invalid(&path.child("format"), format, words));
    }
    let (place, path) = (text(column, "jsonPath"), path.child("JSONPath"));
    if place.is_empty() {
        errors.push(FieldError::required(&path, ""));
    } else if !place.starts_with('.') {
        errors.push(FieldError::invalid(&path, place, "must be a simple json path starting with ."));
    }
}

fn validate_selectable(
    fields: &[Value],
    version: &Value,
    requirements: &Requirements,
    path: &Path,
    errors: &mut Errors,
) {
    let Ok(schema) = Structural::read(sub(sub(version, "schema"), "openAPIV3Schema")) else { return };
    let mut seen: Vec<&str> = Vec::new();
    for (index, field) in fields.iter().enumerate() {
        let (place, path) = (text(field, "jsonPath"), path.index(index).child("jsonPath"));
        if place.is_empty() {
            errors.push(FieldError::required(&path, ""));
            continue;
        }
        let found = match field_at(&schema, place) {
            Ok(found) => found,
            Err(why) => {
                errors.push(FieldError::invalid(&path, place, format!("is an invalid path: {why}")));
                continue;
            }
        };
        if place == ".metadata" || place.starts_with(".metadata.") {
            errors.push(FieldError::invalid(&path, place, "must not point to fields in metadata"));
        }
        if !matches!(&*found.kind, "string" | "boolean" | "integer") {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(&path, place, detail));
        }
        if seen.contains(&place) {
            errors.push(FieldError::duplicate(&path, place));
        } else {
            seen.push(place);
        }
    }
    if seen.len() > SELECTABLE && !requirements.many_selectable.iter().any(|name| *name == text(version, "name")) {
        errors.push(FieldError::too_many(path, seen.len(), SELECTABLE));
    }
}

/// The schema a plain path leads to.
fn field_at<'a>(schema: &'a Structural, path: &str) -> Result<&'a Structural, String> {
    let mut place = schema;
    let Some(rest) = path.strip_prefix('.') else {
        return Err(match path.starts_with('[') {
            true => "array notation is not allowed".into(),
            false => format!("expected [ or . but got: {}", path.split(['.', '[', ']']).next().unwrap_or_default()),
        });
    };
    for name in rest.split('.') {
        if name.is_empty() {
            return Err("unexpected end of JSON path".into());
        }
        if name.contains('[') {
            return Err("array notation is not allowed".into());
        }
        let below = if place.properties.is_empty() { place.field(name) } else { place.properties.get(name) };
        place = below.ok_or("does not refer to a valid field")?;
    }
    Ok(place)
}

fn validate_conversion(
    conversion: &Value,
    keeps_unknown: bool,
    requirements: &Requirements,
    path: &Path,
    errors: &mut Errors,
) {
    if conversion.is_null() {
        return;
    }
    let strategy = text(conversion, "strategy");
    if strategy != "None" && keeps_unknown {
        let detail = "must be None if spec.preserveUnknownFields is true";
        errors.push(FieldError::invalid(&path.child("strategy"), strategy, detail));
    }
    enumeration(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let webhook = sub(conversion, "webhook");
    let (config, reviews) = (get(webhook, "clientConfig"), list(webhook, "conversionReviewVersions"));
    let (config_path, reviews_path) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            errors.push(FieldError::forbidden(&config_path, detail));
        }
        if !reviews.is_empty() {
            errors.push(FieldError::forbidden(&reviews_path, detail));
        }
        return;
    }
    match config {
        None => errors.push(FieldError::required(&config_path, "required when strategy is set to Webhook")),
        Some(config) => {
            client_config::check(errors, config, &config_path);
            if requirements.valid_ca_bundle {
                client_config::check_ca_bundle(errors, text(config, "caBundle"), &config_path.child("caBundle"));
            }
        }
    }
    validate_reviews(reviews, requirements, &reviews_path, errors);
}

fn validate_reviews(reviews: &[Value], requirements: &Requirements, path: &Path, errors: &mut Errors) {
    if reviews.is_empty() {
        errors.push(FieldError::required(path, ""));
        return;
    }
    for (index, version) in reviews.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if reviews[..index].contains(version) {
            errors.push(FieldError::invalid(&path.index(index), name, "duplicate version"));
            continue;
        }
        for why in names::dns1035_label(name) {
            errors.push(FieldError::invalid(&path.index(index), name, why));
        }
    }
    if requirements.known_review_version && !reviews.iter().any(is_known_review) {
        let detail = "must include at least one of v1, v1beta1";
        errors.push(FieldError::invalid(path, reviews.to_vec(), detail));
    }
}

/// What decides where objects lie stays as it is.
fn validate_unchanged(new: &Value, old: &Value, requirements: &Requirements, path: &Path, errors: &mut Errors) {
    let mut same = |new: &str, old: &str, path: Path| {
        if new != old {
            errors.push(FieldError::invalid(&path, new, "field is immutable"));
        }
    };
    let (new_names, old_names) = (sub(new, "names"), sub(old, "names"));
    let names = path.child("names");
    if requirements.immutable_names {
        same(text(new, "scope"), text(old, "scope"), path.child("scope"));
        same(text(new_names, "kind"), text(old_names, "kind"), names.child("kind"));
    }
    same(text(new, "group"), text(old, "group"), path.child("group"));
    same(text(new_names, "plural"), text(old_names, "plural"), names.child("plural"));
}
