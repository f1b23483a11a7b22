//! Questions to the authorizer from within expressions: `authorizer.group('apps').resource('deployments').check('get')`.

use std::fmt::Debug;

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    Path { path: String, verb: String },
    Resource(ResourceQuestion),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResourceQuestion {
    pub group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub field_selector: String,
    pub label_selector: String,
    pub verb: String,
}

/// Who may do what. Implemented by the server; asked synchronously, so it must answer from memory.
pub trait Authorize: Debug {
    /// Whether the user of the request, or the service account (namespace, name) where one is named, may do it.
    fn decide(&self, service_account: Option<(&str, &str)>, question: &Question) -> Decision;
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: String,
    pub error: Option<String>,
}

/// `authorizer`, for a user.
#[derive(Clone, Debug)]
pub struct Authorizer<'a> {
    pub authorize: &'a dyn Authorize,
    pub service_account: Option<(String, String)>,
}

#[derive(Clone, Debug)]
pub struct PathCheck<'a> {
    pub authorizer: Authorizer<'a>,
    pub path: String,
}

#[derive(Clone, Debug)]
pub struct GroupCheck<'a> {
    pub authorizer: Authorizer<'a>,
    pub group: String,
}

#[derive(Clone, Debug)]
pub struct ResourceCheck<'a> {
    pub authorizer: Authorizer<'a>,
    pub question: ResourceQuestion,
}

impl Authorizer<'_> {
    pub(crate) fn ask(&self, question: &Question) -> Decision {
        let account = self.service_account.as_ref().map(|(namespace, name)| (namespace.as_str(), name.as_str()));
        self.authorize.decide(account, question)
    }
}
