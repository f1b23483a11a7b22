//! Roles and their bindings. The breaking down and compacting of rules also serves `auth can-i --list`.

use super::{
    Seen,
    fields::{go_list, list, text, words},
    page::{Page, line},
};
use anyhow::Result;
use serde_json::Value;

/// A rule for one resource or one URL.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    urls: Vec<String>,
}

impl Rule {
    /// How Go prints it; rules are sorted by that.
    fn go(&self) -> String {
        format!(
            "&PolicyRule{{Verbs:{},APIGroups:{},Resources:{},ResourceNames:{},NonResourceURLs:{},}}",
            go_list(&self.verbs),
            go_list(&self.groups),
            go_list(&self.resources),
            go_list(&self.names),
            go_list(&self.urls)
        )
    }

    /// `deployments.apps/scale`
    fn resource(&self) -> String {
        let Some(resource) = self.resources.first() else { return String::new() };
        let (plural, subresource) = resource.split_once('/').map_or((resource.as_str(), None), |(p, s)| (p, Some(s)));
        let group = self.groups.first().filter(|group| !group.is_empty()).map(|group| format!(".{group}"));
        let subresource = subresource.map(|sub| format!("/{sub}"));
        format!("{plural}{}{}", group.unwrap_or_default(), subresource.unwrap_or_default())
    }

    /// The cells of its line: resources, URLs, names, verbs.
    pub(crate) fn cells(&self) -> String {
        format!("{}\t{}\t{}\t{}", self.resource(), go_list(&self.urls), go_list(&self.names), go_list(&self.verbs))
    }
}

/// Rules taken apart to one resource each, their verbs joined again, sorted.
pub(crate) fn compacted(rules: &[Value]) -> Vec<Rule> {
    let mut compact: Vec<Rule> = Vec::new();
    for one in rules.iter().flat_map(broken_down) {
        let same = |known: &&mut Rule| {
            (&known.groups, &known.resources, &known.names) == (&one.groups, &one.resources, &one.names)
        };
        match compact.iter_mut().filter(|_| one.urls.is_empty()).find(same) {
            Some(known) => {
                known.verbs.extend(one.verbs.into_iter().filter(|verb| !known.verbs.contains(verb)).collect::<Vec<_>>())
            }
            None => compact.push(one),
        }
    }
    compact.sort_by_key(Rule::go);
    compact
}

/// A rule for every verb of every resource and name, and of every URL.
fn broken_down(rule: &Value) -> Vec<Rule> {
    let one = |word: &str| vec![word.to_owned()];
    let verbs = words(&rule["verbs"]);
    let names: Vec<Vec<String>> = match words(&rule["resourceNames"]) {
        names if names.is_empty() => vec![Vec::new()],
        names => names.into_iter().map(one).collect(),
    };
    let mut all = Vec::new();
    for group in words(&rule["apiGroups"]) {
        for resource in words(&rule["resources"]) {
            for verb in &verbs {
                for names in &names {
                    let names = names.clone();
                    all.push(Rule {
                        verbs: one(verb),
                        groups: one(group),
                        resources: one(resource),
                        names,
                        urls: Vec::new(),
                    });
                }
            }
        }
    }
    for url in words(&rule["nonResourceURLs"]) {
        all.extend(verbs.iter().map(|verb| Rule { verbs: one(verb), urls: one(url), ..Rule::default() }));
    }
    all
}

pub(super) fn role(seen: &Seen, page: &mut Page) -> Result<()> {
    page.cluster_head(&seen.object);
    line!(page, 0, "PolicyRule:");
    line!(page, 1, "Resources\tNon-Resource URLs\tResource Names\tVerbs");
    line!(page, 1, "---------\t-----------------\t--------------\t-----");
    for rule in compacted(list(&seen.object["rules"])) {
        line!(page, 1, "{}", rule.cells());
    }
    Ok(())
}

pub(super) fn binding(seen: &Seen, page: &mut Page) -> Result<()> {
    let binding = &seen.object;
    page.cluster_head(binding);
    line!(page, 0, "Role:");
    line!(page, 1, "Kind:\t{}", text(&binding["roleRef"]["kind"]));
    line!(page, 1, "Name:\t{}", text(&binding["roleRef"]["name"]));
    line!(page, 0, "Subjects:");
    line!(page, 1, "Kind\tName\tNamespace");
    line!(page, 1, "----\t----\t---------");
    for subject in list(&binding["subjects"]) {
        let [kind, name, namespace] = ["kind", "name", "namespace"].map(|field| text(&subject[field]));
        line!(page, 1, "{kind}\t{name}\t{namespace}");
    }
    Ok(())
}
