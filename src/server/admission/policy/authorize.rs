//! `authorizer`: expressions may ask what the user of the request, or a service account, is allowed to do.

use mk8s_api::cel::authorize::{Authorize, Decision, Question};

use crate::auth::{Attributes, Authorization, Decision as Opinion, User};

pub(in crate::admission) struct Asker<'a> {
    pub(in crate::admission) authorization: &'a Authorization,
    pub(in crate::admission) user: &'a User,
}

impl std::fmt::Debug for Asker<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asker").field("user", &self.user.name).finish_non_exhaustive()
    }
}

impl Authorize for Asker<'_> {
    fn decide(&self, service_account: Option<(&str, &str)>, question: &Question) -> Decision {
        let account;
        let user = match service_account {
            None => self.user,
            Some((namespace, name)) => {
                let groups = [
                    "system:serviceaccounts".to_string(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".into(),
                ];
                account = User::new(format!("system:serviceaccount:{namespace}:{name}"), groups);
                &account
            }
        };
        let verdict = match question {
            Question::Path { path, verb } => self.authorization.judge(&Attributes::for_path(user, verb, path)),
            Question::Resource(asked) => self.authorization.judge(&Attributes {
                subresource: &asked.subresource,
                namespace: &asked.namespace,
                name: &asked.name,
                label_selector: Some(asked.label_selector.as_str()).filter(|selector| !selector.is_empty()),
                field_selector: Some(asked.field_selector.as_str()).filter(|selector| !selector.is_empty()),
                ..Attributes::for_resource(user, &asked.verb, &asked.group, &asked.resource)
            }),
        };
        let error = verdict.error;
        match verdict.decision {
            Opinion::Allow => Decision { allowed: true, error, ..Decision::default() },
            Opinion::Deny(reason) | Opinion::NoOpinion(reason) => Decision { allowed: false, reason, error },
        }
    }
}
