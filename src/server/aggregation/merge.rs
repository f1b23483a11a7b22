//! One description of all that is served: what extensions serve put among what this server serves. Pure.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{found::Found, index::Remote, local};

/// Group and version in discovery's words.
fn group_version(remote: &Remote) -> Value {
    json!({"groupVersion": format!("{}/{}", remote.group, remote.version), "version": remote.version})
}

/// The remotes of each group, the groups that go first first.
fn by_group(remotes: &[Arc<Remote>]) -> Vec<(&str, Vec<&Remote>)> {
    let mut groups: Vec<(&str, Vec<&Remote>)> = Vec::new();
    for remote in remotes.iter().filter(|remote| !remote.group.is_empty()) {
        match groups.iter_mut().find(|(name, _)| *name == remote.group) {
            Some((_, versions)) => versions.push(remote),
            None => groups.push((&remote.group, vec![remote])),
        }
    }
    groups.sort_by_key(|(name, versions)| (-priority(versions), *name));
    groups
}

fn priority(versions: &[&Remote]) -> i64 {
    versions.iter().map(|remote| remote.group_priority).max().unwrap_or(0)
}

/// Where a group belongs: before the first of less priority, or of the same and a greater name.
fn place_of_group<'a>(names: impl Iterator<Item = &'a str>, name: &str, priority: i64) -> usize {
    let all: Vec<&str> = names.collect();
    let later = |other: &&str| {
        let theirs = local::group_priority(other);
        theirs < priority || (theirs == priority && **other > *name)
    };
    all.iter().position(later).unwrap_or(all.len())
}

/// Where a version belongs among others of its group, some of which may be remote as well.
fn place_of_version<'a>(versions: impl Iterator<Item = &'a str>, remote: &Remote, remotes: &[&Remote]) -> usize {
    let all: Vec<&str> = versions.collect();
    let priority = |version: &str| {
        let theirs = remotes.iter().find(|other| other.version == version).map(|other| other.version_priority);
        theirs.unwrap_or_else(|| local::version_priority(&remote.group, version))
    };
    all.iter().position(|other| priority(other) < remote.version_priority).unwrap_or(all.len())
}

/// Elements of `holder` under `field`, made if need be.
fn elements<'a>(holder: &'a mut Value, field: &str) -> Option<&'a mut Vec<Value>> {
    mk8s_api::at::list_mut(holder, field)
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// Puts the versions of a group into an `APIGroup`.
fn into_group(group: &mut Value, remotes: &[&Remote]) {
    for remote in remotes {
        let Some(versions) = elements(group, "versions") else { continue };
        if versions.iter().any(|one| text(one, "version") == remote.version) {
            continue;
        }
        let at = place_of_version(versions.iter().map(|one| text(one, "version")), remote, remotes);
        versions.insert(at, group_version(remote));
        let first = versions[0].clone();
        group["preferredVersion"] = first;
    }
}

/// `/apis`: the list of groups.
pub(super) fn groups(list: &mut Value, remotes: &[Arc<Remote>]) {
    for (name, remotes) in by_group(remotes) {
        let Some(groups) = elements(list, "groups") else { return };
        if let Some(known) = groups.iter_mut().find(|group| text(group, "name") == name) {
            into_group(known, &remotes);
            continue;
        }
        let mut group = json!({"name": name});
        into_group(&mut group, &remotes);
        let at = place_of_group(groups.iter().map(|group| text(group, "name")), name, priority(&remotes));
        groups.insert(at, group);
    }
}

/// `/apis/GROUP`: `local` is what this server says of it. `None`: nobody serves it.
pub(super) fn group(local: Option<Value>, name: &str, remotes: &[Arc<Remote>]) -> Option<Value> {
    let own: Vec<&Remote> = remotes.iter().map(|remote| &**remote).filter(|remote| remote.group == name).collect();
    let mut group = match local {
        Some(group) => group,
        None if own.is_empty() => return None,
        None => json!({"kind": "APIGroup", "apiVersion": "v1", "name": name}),
    };
    into_group(&mut group, &own);
    Some(group)
}

/// `/apis` in its aggregated form.
pub(super) fn aggregated(list: &mut Value, remotes: &[Arc<Remote>], found: &Found) {
    for (name, remotes) in by_group(remotes) {
        let Some(items) = elements(list, "items") else { return };
        let known = items.iter().position(|item| text(&item["metadata"], "name") == name);
        let at = known.unwrap_or_else(|| {
            let names = items.iter().map(|item| text(&item["metadata"], "name"));
            let at = place_of_group(names, name, priority(&remotes));
            items.insert(at, json!({"metadata": {"name": name}, "versions": []}));
            at
        });
        for remote in &remotes {
            let Some(versions) = elements(&mut items[at], "versions") else { continue };
            if versions.iter().any(|one| text(one, "version") == remote.version) {
                continue;
            }
            let served = found.by_name.get(&remote.name);
            let fresh = served.is_some_and(|served| served.fresh);
            let entry = json!({
                "version": remote.version,
                "resources": served.map(|served| served.resources.clone()).unwrap_or_default(),
                "freshness": if fresh { "Current" } else { "Stale" },
            });
            let place = place_of_version(versions.iter().map(|one| text(one, "version")), remote, &remotes);
            versions.insert(place, entry);
        }
    }
}

/// `/`: all paths.
pub(super) fn paths(document: &mut Value, remotes: &[Arc<Remote>]) {
    let Some(paths) = elements(document, "paths") else { return };
    for remote in remotes.iter().filter(|remote| !remote.group.is_empty()) {
        paths.push(json!(format!("/apis/{}", remote.group)));
        paths.push(json!(remote.path()));
    }
    paths.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    paths.dedup();
}

/// `/openapi/v3`: which documents there are.
pub(super) fn openapi_v3(index: &mut Value, remotes: &[Arc<Remote>], found: &Found) {
    for remote in remotes {
        let url = found.by_name.get(&remote.name).and_then(|served| served.openapi_v3.as_ref());
        let Some(url) = url else { continue };
        if let Some(paths) = mk8s_api::at::map_mut(index, "paths") {
            let own = remote.path();
            paths.entry(own.trim_start_matches('/')).or_insert_with(|| json!({"serverRelativeURL": url}));
        }
    }
}

/// `/openapi/v2`: one document of all. Definitions of the same name are this server's.
pub(super) fn openapi_v2(document: &mut Value, remotes: &[Arc<Remote>], found: &Found) {
    let mut add = |field: &str, more: &Map<String, Value>| {
        let Some(known) = mk8s_api::at::map_mut(document, field) else { return };
        for (name, value) in more {
            known.entry(name).or_insert_with(|| value.clone());
        }
    };
    for remote in remotes {
        let served = found.by_name.get(&remote.name).and_then(|served| served.openapi_v2.as_ref());
        if let Some((paths, definitions)) = served {
            add("paths", paths);
            add("definitions", definitions);
        }
    }
}

#[cfg(test)]
mod tests {
    use mk8s_api::{discovery, kinds};

    use super::{super::found::Served, *};

    fn remote(name: &str, group_priority: i64, version_priority: i64) -> Arc<Remote> {
        let (version, group) = name.split_once('.').expect("a name");
        let object = json!({"metadata": {"name": name}, "spec": {"group": group, "version": version,
            "groupPriorityMinimum": group_priority, "versionPriority": version_priority,
            "service": {"namespace": "n", "name": "s", "port": 443}}});
        Arc::new(Remote::of(&object).expect("a service"))
    }

    fn names(list: &Value) -> Vec<&str> {
        list["groups"].as_array().into_iter().flatten().map(|group| text(group, "name")).collect()
    }

    #[test]
    fn groups_stand_where_their_priority_puts_them() {
        let remotes = [
            remote("v1.low.io", 10, 10),
            remote("v1.high.io", 19000, 10),
            remote("v2.high.io", 100, 20),
            remote("v2.apps", 10, 1),
        ];
        let mut list = discovery::api_group_list(kinds::builtin());
        groups(&mut list, &remotes);
        let names = names(&list);
        assert_eq!(names[..3], ["apiregistration.k8s.io", "high.io", "apps"]);
        assert_eq!(names.last(), Some(&"low.io"));
        assert_eq!(list["groups"][1]["preferredVersion"]["groupVersion"], "high.io/v2");
        let versions: Vec<&str> =
            list["groups"][2]["versions"].as_array().into_iter().flatten().map(|one| text(one, "version")).collect();
        assert_eq!(versions, ["v1", "v2"]);
        assert_eq!(group(None, "none", &remotes), None);
        assert_eq!(group(None, "low.io", &remotes).expect("served")["versions"][0]["groupVersion"], "low.io/v1");
    }

    #[test]
    fn what_is_not_known_is_stale() {
        let remotes = [remote("v1.a.io", 10, 10), remote("v1.b.io", 10, 10)];
        let mut found = Found::default();
        found.note(
            "v1.a.io",
            Some(Served { resources: vec![json!({"resource": "things"})], fresh: true, ..Served::default() }),
        );
        let mut list = discovery::aggregated_groups(kinds::builtin());
        let before = list["items"].as_array().map_or(0, Vec::len);
        aggregated(&mut list, &remotes, &found);
        let items = list["items"].as_array().expect("items");
        let shown: Vec<String> = items[before..]
            .iter()
            .map(|item| format!("{} {}", text(&item["metadata"], "name"), item["versions"][0]))
            .collect();
        assert_eq!(
            shown,
            [
                r#"a.io {"freshness":"Current","resources":[{"resource":"things"}],"version":"v1"}"#,
                r#"b.io {"freshness":"Stale","resources":[],"version":"v1"}"#
            ]
        );
    }
}
