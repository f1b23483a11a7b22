//! What can be asked of each kind: paths and the operations on them, before they are written in one version of OpenAPI or
//! the other.

use super::parameters;
use crate::kinds::{Kind, Subresource, Verb, split_api_version};

/// What a request or an answer carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// The definition of this group, version and kind.
    Kind(String, String, String),
    /// A definition of `meta/v1`.
    Meta(&'static str),
    /// Plain text: logs.
    Text,
    /// Whatever is at the other end.
    Stream,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: &'static str,
    pub(super) id: String,
    pub(super) description: String,
    /// `x-kubernetes-action`, and the kind it is done to.
    pub(super) action: Option<(&'static str, [String; 3])>,
    /// Names of query parameters.
    pub(super) query: Vec<&'static str>,
    /// The body, and whether there must be one.
    pub(super) body: Option<(Content, bool)>,
    pub(super) answer: Content,
    pub(super) codes: &'static [(u16, &'static str)],
    pub(super) tag: String,
    /// The answer may be a stream of changes.
    pub(super) watchable: bool,
}

#[derive(Clone, Debug)]
pub(super) struct PathItem {
    pub(super) path: String,
    pub(super) operations: Vec<Operation>,
    /// Of whom `{name}` is the name.
    pub(super) kind: String,
}

const OK: &[(u16, &str)] = &[(200, "OK")];
const CHANGED: &[(u16, &str)] = &[(200, "OK"), (201, "Created")];
const CREATED: &[(u16, &str)] = &[(200, "OK"), (201, "Created"), (202, "Accepted")];
const DELETED: &[(u16, &str)] = &[(200, "OK"), (202, "Accepted")];

/// `/api/v1/` or `/apis/GROUP/VERSION/`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("/api/{version}/") } else { format!("/apis/{group}/{version}/") }
}

/// `rbacAuthorization` of `rbac.authorization.k8s.io`.
pub(super) fn group_word(group: &str) -> String {
    let mut word = String::new();
    for part in group.trim_end_matches(".k8s.io").split('.') {
        if word.is_empty() {
            word.push_str(part);
        } else {
            word.push_str(&capital(part));
        }
    }
    if word.is_empty() { "core".to_owned() } else { word }
}

pub(super) fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// A path that only describes: discovery and the version.
pub(super) fn described(path: &str, id: String, description: &str, answer: Content, tag: String) -> PathItem {
    let operation = Operation {
        method: "get",
        id,
        description: description.to_owned(),
        action: None,
        query: Vec::new(),
        body: None,
        answer,
        codes: OK,
        tag,
        watchable: false,
    };
    PathItem { path: path.to_owned(), operations: vec![operation], kind: String::new() }
}

/// The paths of a group version's kinds.
pub(super) fn group_version(kinds: &[Kind], group: &str, version: &str) -> Vec<PathItem> {
    let tag = format!("{}_{version}", group_word(group));
    let id = format!("get{}{}APIResources", capital(&group_word(group)), capital(version));
    let root = root(group, version);
    let mut paths =
        vec![described(&root, id, "get available resources", Content::Meta("APIResourceList"), tag.clone())];
    for kind in kinds.iter().filter(|kind| kind.group == group && kind.version == version) {
        let of = Of { kind, root: &root, tag: &tag, words: capital(&group_word(group)) + &capital(version) };
        of.collection(&mut paths);
        of.object(&mut paths);
        for sub in &kind.subresources {
            of.subresource(sub, &mut paths);
        }
    }
    paths
}

/// The kind whose paths are being made.
struct Of<'a> {
    kind: &'a Kind,
    root: &'a str,
    tag: &'a str,
    /// `AppsV1`, the middle of every operation's id.
    words: String,
}

impl Of<'_> {
    fn scope(&self) -> &'static str {
        if self.kind.namespaced { "Namespaced" } else { "" }
    }

    fn id(&self, verb: &str, rest: &str) -> String {
        format!("{verb}{}{}{}{rest}", self.words, self.scope(), self.kind.kind)
    }

    /// `a Pod`, `an Ingress`, `Endpoints`.
    fn one(&self) -> String {
        let kind = &self.kind.kind;
        match kind.chars().next() {
            _ if self.kind.plural == self.kind.singular => kind.clone(),
            Some('A' | 'E' | 'I' | 'O') => format!("an {kind}"),
            _ => format!("a {kind}"),
        }
    }

    fn path(&self) -> String {
        let scope = if self.kind.namespaced { "namespaces/{namespace}/" } else { "" };
        format!("{}{scope}{}", self.root, self.kind.plural)
    }

    fn own(&self) -> [String; 3] {
        [self.kind.group.clone(), self.kind.version.clone(), self.kind.kind.clone()]
    }

    fn content(&self) -> Content {
        let [group, version, kind] = self.own();
        Content::Kind(group, version, kind)
    }

    fn list_content(&self) -> Content {
        Content::Kind(self.kind.group.clone(), self.kind.version.clone(), self.kind.list_kind.clone())
    }

    fn operation(&self, method: &'static str, action: &'static str, id: String, description: String) -> Operation {
        Operation {
            method,
            id,
            description,
            action: Some((action, self.own())),
            query: vec!["pretty"],
            body: None,
            answer: self.content(),
            codes: OK,
            tag: self.tag.to_owned(),
            watchable: false,
        }
    }

    fn push(&self, paths: &mut Vec<PathItem>, path: String, operations: Vec<Operation>) {
        if !operations.is_empty() {
            paths.push(PathItem { path, operations, kind: self.kind.kind.clone() });
        }
    }

    fn list(&self, id: String) -> Operation {
        let or_watch = if self.kind.has(Verb::Watch) { "list or watch" } else { "list" };
        let description = format!("{or_watch} objects of kind {}", self.kind.kind);
        let mut list = self.operation("get", "list", id, description);
        list.query.extend(parameters::LIST);
        list.answer = self.list_content();
        list.watchable = self.kind.has(Verb::Watch);
        list
    }

    fn collection(&self, paths: &mut Vec<PathItem>) {
        let kind = &self.kind.kind;
        if self.kind.namespaced && self.kind.has(Verb::List) {
            let id = format!("list{}{kind}ForAllNamespaces", self.words);
            self.push(paths, format!("{}{}", self.root, self.kind.plural), vec![self.list(id)]);
        }
        let mut operations = Vec::new();
        if self.kind.has(Verb::DeleteCollection) {
            let id = format!("delete{}Collection{}{kind}", self.words, self.scope());
            let description = format!("delete collection of {kind}");
            let mut delete = self.operation("delete", "deletecollection", id, description);
            delete.query.extend(parameters::DELETE_COLLECTION);
            delete.body = Some((Content::Meta("DeleteOptions"), false));
            delete.answer = Content::Meta("Status");
            operations.push(delete);
        }
        if self.kind.has(Verb::List) {
            operations.push(self.list(self.id("list", "")));
        }
        if self.kind.has(Verb::Create) {
            let description = format!("create {}", self.one());
            let mut create = self.operation("post", "post", self.id("create", ""), description);
            create.query.extend(parameters::WRITE);
            create.body = Some((self.content(), true));
            create.codes = CREATED;
            operations.push(create);
        }
        self.push(paths, self.path(), operations);
    }

    fn object(&self, paths: &mut Vec<PathItem>) {
        let kind = &self.kind.kind;
        let mut operations = Vec::new();
        if self.kind.has(Verb::Delete) {
            let description = format!("delete {}", self.one());
            let mut delete = self.operation("delete", "delete", self.id("delete", ""), description);
            delete.query.extend(parameters::DELETE);
            delete.body = Some((Content::Meta("DeleteOptions"), false));
            if !self.kind.delete_returns_object {
                delete.answer = Content::Meta("Status");
            }
            delete.codes = DELETED;
            operations.push(delete);
        }
        self.read_and_write(&self.kind.verbs, "", &format!("the specified {kind}"), &mut operations);
        self.push(paths, self.path() + "/{name}", operations);
    }

    /// get, patch and put, of an object or of its subresource.
    fn read_and_write(&self, verbs: &[Verb], rest: &str, what: &str, operations: &mut Vec<Operation>) {
        if verbs.contains(&Verb::Get) {
            operations.push(self.operation("get", "get", self.id("read", rest), format!("read {what}")));
        }
        if verbs.contains(&Verb::Patch) {
            let description = format!("partially update {what}");
            let mut patch = self.operation("patch", "patch", self.id("patch", rest), description);
            patch.query.extend(parameters::PATCH);
            patch.body = Some((Content::Meta("Patch"), true));
            patch.codes = CHANGED;
            operations.push(patch);
        }
        if verbs.contains(&Verb::Update) {
            let mut put = self.operation("put", "put", self.id("replace", rest), format!("replace {what}"));
            put.query.extend(parameters::WRITE);
            put.body = Some((self.content(), true));
            put.codes = CHANGED;
            operations.push(put);
        }
    }

    fn subresource(&self, sub: &Subresource, paths: &mut Vec<PathItem>) {
        let path = format!("{}/{{name}}/{}", self.path(), sub.name);
        if sub.kind.ends_with("Options") {
            self.push(paths, path.clone(), self.connect(sub, ""));
            if sub.name == "proxy" {
                self.push(paths, path + "/{path}", self.connect(sub, "WithPath"));
            }
            return;
        }
        let rest = capital(&sub.name);
        let kind = &self.kind.kind;
        let mut operations = Vec::new();
        self.read_and_write(&sub.verbs, &rest, &format!("{} of the specified {kind}", sub.name), &mut operations);
        if sub.verbs.contains(&Verb::Create) {
            let description = format!("create {} of a {kind}", sub.name);
            let mut create = self.operation("post", "post", self.id("create", &rest), description);
            create.query.extend(parameters::WRITE);
            create.body = Some((self.content(), true));
            create.codes = CREATED;
            operations.push(create);
        }
        let own = self.content();
        for operation in &mut operations {
            let name = [sub.group.clone(), sub.version.clone(), sub.kind.clone()];
            let content = Content::Kind(sub.group.clone(), sub.version.clone(), sub.kind.clone());
            operation.action = operation.action.take().map(|(action, _)| (action, name));
            if operation.body.as_ref().is_some_and(|(body, _)| *body == own) {
                operation.body = Some((content.clone(), true));
            }
            operation.answer = content;
            if sub.name == "log" {
                operation.answer = Content::Text;
                operation.query.extend(parameters::LOG);
            }
        }
        self.push(paths, path, operations);
    }

    fn connect(&self, sub: &Subresource, with_path: &str) -> Vec<Operation> {
        let methods: &[&'static str] = match sub.name.as_str() {
            "proxy" => &["delete", "get", "head", "options", "patch", "post", "put"],
            _ => &["get", "post"],
        };
        let of = |method: &&'static str| {
            let rest = format!("{}{with_path}", capital(&sub.name));
            let id = format!("connect{}{}{}{}{rest}", self.words, capital(method), self.scope(), self.kind.kind);
            let description =
                format!("connect {} requests to {} of {}", method.to_uppercase(), sub.name, self.kind.kind);
            let mut operation = self.operation(method, "connect", id, description);
            operation.action = Some(("connect", [sub.group.clone(), sub.version.clone(), sub.kind.clone()]));
            operation.query = parameters::connect(&sub.name).to_vec();
            operation.answer = Content::Stream;
            operation
        };
        methods.iter().map(of).collect()
    }
}

impl PathItem {
    /// The query parameters all operations of the path have: those are written once.
    pub(super) fn shared_query(&self) -> Vec<&'static str> {
        let Some((first, others)) = self.operations.split_first() else { return Vec::new() };
        let in_all = |name: &&&'static str| others.iter().all(|other| other.query.contains(name));
        let mut shared: Vec<&'static str> = first.query.iter().filter(in_all).copied().collect();
        shared.sort_unstable();
        shared
    }

    /// Names in braces, sorted, with what they stand for.
    pub(super) fn path_parameters(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        for (name, description) in [
            ("name", format!("name of the {}", self.kind)),
            ("namespace", "the namespace of the object".to_owned()),
            ("path", "path to the resource".to_owned()),
        ] {
            if self.path.contains(&format!("{{{name}}}")) {
                found.push((name, description));
            }
        }
        found
    }
}

/// The paths that tell which groups there are; which kind of document `name` is: `api`, `apis`, `version`, `apis/GROUP`.
pub(super) fn describing(name: &str) -> Option<PathItem> {
    let meta = Content::Meta;
    Some(match name {
        "api" => described(
            "/api/",
            "getCoreAPIVersions".into(),
            "get available API versions",
            meta("APIVersions"),
            "core".into(),
        ),
        "apis" => described(
            "/apis/",
            "getAPIVersions".into(),
            "get available API versions",
            meta("APIGroupList"),
            "apis".into(),
        ),
        "version" => {
            let description = "get the version information for this server";
            described("/version/", "getCodeVersion".into(), description, meta("Info"), "version".into())
        }
        _ => {
            let ("apis", group) = split_api_version(name) else { return None };
            let word = group_word(group);
            let id = format!("get{}APIGroup", capital(&word));
            described(&format!("/{name}/"), id, "get information of a group", meta("APIGroup"), word)
        }
    })
}
