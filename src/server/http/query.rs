//! The query parameters of the API, read and checked: `ListOptions`, and the options of writes.

use mk8s_api::{
    field::{FieldError, Path},
    select::{FieldSelector, LabelSelector},
    status::Status,
};

use crate::registry::{FieldValidation, ListOptions, VersionMatch, WriteOptions};

/// The decoded pairs of a query, in their order.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(query: Option<&str>) -> Query {
        match query {
            None | Some("") => Query(Vec::new()),
            Some(text) => Query(form_urlencoded::parse(text.as_bytes()).into_owned().collect()),
        }
    }

    /// The first value of a parameter; empty reads as absent, as Go's conversion has it.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(k, _)| k == key)
    }

    /// Whether a flag is set: `?watch`, `?watch=1`, `?watch=true`; `0` and `false` in any case are no.
    pub fn flag(&self, key: &str) -> bool {
        self.has(key) && self.get(key).is_none_or(|v| v != "0" && !v.eq_ignore_ascii_case("false"))
    }

    fn number(&self, key: &str) -> Result<Option<i64>, Status> {
        let Some(text) = self.get(key) else { return Ok(None) };
        text.parse()
            .map(Some)
            .map_err(|_| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax")))
    }

    /// `ListOptions` of list, watch and deletecollection.
    pub fn list_options(&self) -> Result<ListOptions, Status> {
        let labels = match self.get("labelSelector") {
            None => LabelSelector::everything(),
            Some(text) => LabelSelector::parse(text).map_err(|error| Status::bad_request(error.to_string()))?,
        };
        let fields = match self.get("fieldSelector") {
            None => FieldSelector::everything(),
            Some(text) => FieldSelector::parse(text).map_err(|error| Status::bad_request(error.to_string()))?,
        };
        let limit = self.number("limit")?.unwrap_or(0);
        let (version_match, send_initial_events) = self.versions()?;
        Ok(ListOptions {
            labels,
            fields,
            limit: usize::try_from(limit).unwrap_or(0),
            continue_token: self.get("continue").map(str::to_string),
            resource_version: self.resource_version().map_err(|status| match self.flag("watch") {
                true => status,
                false => Status::bad_request(format!("invalid resource version: {}", status.message)),
            })?,
            version_match,
            timeout_s: self.number("timeoutSeconds")?.and_then(|n| u64::try_from(n).ok()),
            bookmarks: self.flag("allowWatchBookmarks"),
            send_initial_events,
        })
    }

    /// `resourceVersionMatch` and `sendInitialEvents`, which must fit what is asked beside them.
    fn versions(&self) -> Result<(Option<VersionMatch>, Option<bool>), Status> {
        let watch = self.flag("watch");
        let asked = self.get("resourceVersionMatch");
        let initial = self.has("sendInitialEvents").then(|| self.flag("sendInitialEvents"));
        let errors = if watch { self.check_watch(asked, initial) } else { self.check_list(asked, initial) };
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", "ListOptions", "", errors));
        }
        let version_match = asked.map(|asked| match asked {
            "Exact" => VersionMatch::Exact,
            _ => VersionMatch::NotOlderThan,
        });
        // A watch that names no version begins with what there is, and says when that was all.
        let from_now = watch && version_match.is_none() && matches!(self.get("resourceVersion"), None | Some("0"));
        Ok((version_match, initial.or(from_now.then_some(true))))
    }

    fn check_list(&self, asked: Option<&str>, initial: Option<bool>) -> Vec<FieldError> {
        let path = Path::new("resourceVersionMatch");
        let mut errors = Vec::new();
        if let Some(asked) = asked {
            let version = self.get("resourceVersion");
            if version.is_none() {
                let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if self.get("continue").is_some() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if !matches!(asked, "Exact" | "NotOlderThan") {
                errors.push(FieldError::not_supported(&path, asked, &["Exact", "NotOlderThan", ""]));
            }
            if asked == "Exact" && version == Some("0") {
                let why = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
                errors.push(FieldError::forbidden(&path, why));
            }
        }
        if initial.is_some() {
            let path = Path::new("sendInitialEvents");
            errors.push(FieldError::forbidden(&path, "sendInitialEvents is forbidden for list"));
        }
        errors
    }

    fn check_watch(&self, asked: Option<&str>, initial: Option<bool>) -> Vec<FieldError> {
        let path = Path::new("resourceVersionMatch");
        let mut errors = Vec::new();
        if initial.is_some() && asked != Some("NotOlderThan") {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            errors.push(FieldError::forbidden(&path, why));
        }
        if let Some(asked) = asked {
            if initial.is_none() {
                let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
            if asked != "NotOlderThan" {
                errors.push(FieldError::not_supported(&path, asked, &["NotOlderThan"]));
            }
            if self.get("continue").is_some() {
                let why = "resourceVersionMatch is forbidden when continue is provided";
                errors.push(FieldError::forbidden(&path, why));
            }
        }
        errors
    }

    /// `resourceVersion`: absent, or a number. Zero means "any".
    pub fn resource_version(&self) -> Result<Option<u64>, Status> {
        let Some(text) = self.get("resourceVersion") else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Status::failure(500, "", invalid_version(text)))
    }

    /// What `CreateOptions`, `UpdateOptions` and `PatchOptions` have in common; `kind` is the one that is meant.
    pub fn write_options(&self, kind: &str) -> Result<WriteOptions, Status> {
        let mut errors = Vec::new();
        let manager = self.get("fieldManager").unwrap_or_default();
        check_manager(manager, &mut errors);
        let dry_run: Vec<&str> = self.all("dryRun").collect();
        if dry_run.iter().any(|value| *value != "All") {
            errors.push(FieldError::not_supported(&Path::new("dryRun"), dry_run.clone(), &["All"]));
        }
        let validation = self.get("fieldValidation").unwrap_or_default();
        let known = FieldValidation::parse(validation);
        if known.is_none() {
            let supported = ["", "Ignore", "Strict", "Warn"];
            errors.push(FieldError::not_supported(&Path::new("fieldValidation"), validation, &supported));
        }
        if !errors.is_empty() {
            return Err(Status::invalid("meta.k8s.io", kind, "", errors));
        }
        Ok(WriteOptions {
            dry_run: !dry_run.is_empty(),
            validation: known.unwrap_or_default(),
            field_manager: manager.to_string(),
            manager: manager.to_string(),
            force: self.has("force").then(|| self.flag("force")),
            is_patch: kind == "PatchOptions",
        })
    }
}

/// The name of a field manager: short, and nothing but printable characters.
fn check_manager(manager: &str, errors: &mut Vec<FieldError>) {
    const LENGTH: usize = 128;
    let path = Path::new("fieldManager");
    if manager.len() > LENGTH {
        // Each wrong character would be told with the whole value.
        return errors.push(FieldError::too_long(&path, LENGTH));
    }
    for (at, character) in manager.char_indices().filter(|(_, c)| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        let why = format!("invalid character U+{:04X} (at position {at})", u32::from(character));
        errors.push(FieldError::invalid(&path, manager, why));
    }
}

fn invalid_version(text: &str) -> String {
    let why = format!("strconv.ParseUint: parsing {text:?}: invalid syntax");
    FieldError::invalid(&Path::new("resourceVersion"), text, why).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn flags_read_as_go_reads_them() {
        let cases = [
            ("watch", true),
            ("watch=", true),
            ("watch=1", true),
            ("watch=true", true),
            ("watch=0", false),
            ("watch=False", false),
            ("", false),
        ];
        for (query, expected) in cases {
            assert_eq!(Query::parse(Some(query)).flag("watch"), expected, "{query}");
        }
    }

    #[test]
    fn bad_options_are_refused() {
        let cases = [
            ("limit=x", 400),
            ("resourceVersion=abc", 400),
            ("labelSelector=a%3D%3D%3Db", 400),
            ("fieldSelector=abc", 400),
            ("resourceVersionMatch=Exact", 422),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422),
            ("resourceVersionMatch=Other&resourceVersion=1", 422),
            ("sendInitialEvents=true", 422),
            ("watch=1&sendInitialEvents=true", 422),
            ("watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan", 0),
            ("limit=500&labelSelector=a%3Db", 0),
        ];
        for (query, code) in cases {
            let got = Query::parse(Some(query)).list_options().map_or_else(|status| status.code, |_| 0);
            assert_eq!(got, code, "{query}");
        }
    }

    #[test]
    fn write_options_are_checked() {
        let cases = [
            ("dryRun=All", 0),
            ("dryRun=Some", 422),
            ("dryRun=", 422),
            ("fieldValidation=Strict", 0),
            ("fieldValidation=x", 422),
        ];
        for (query, code) in cases {
            let got = Query::parse(Some(query)).write_options("CreateOptions").map_or_else(|status| status.code, |_| 0);
            assert_eq!(got, code, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_read_or_refused(query in "([a-zA-Z]{0,9}(=[ -~]{0,20})?&?){0,6}") {
            let query = Query::parse(Some(&query));
            let _ = (query.list_options(), query.write_options("PatchOptions"));
        }
    }
}
