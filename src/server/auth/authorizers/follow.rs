//! The file is read again when it has changed.

use std::{collections::BTreeSet, path::PathBuf};

use tokio_util::sync::CancellationToken;

use super::read;
use crate::{
    auth::{
        Authorization, AuthorizerOptions,
        reload::{ConfigFile, LOOK, Unfit, Words},
    },
    webhook::Client,
};

const WORDS: Words =
    Words { renewed: "reloaded authorization config", failed: "reloading authorization config failed" };

/// The file, and what may be in it.
pub(super) struct Followed {
    file: ConfigFile,
    /// The kinds beside webhooks at the start: all stay, and of Node and RBAC none is added.
    kinds: BTreeSet<&'static str>,
}

impl Followed {
    pub(super) fn new(file: (PathBuf, String), authorizers: &[AuthorizerOptions]) -> Followed {
        Followed { file: ConfigFile::new(file, WORDS), kinds: kinds(authorizers) }
    }
}

/// The authorizers of a text, which may take the place of those of these kinds.
fn of_text(text: &str, before: &BTreeSet<&'static str>) -> Result<Vec<AuthorizerOptions>, String> {
    let new = read(text).map_err(|error| error.to_string())?;
    let kinds = kinds(&new);
    let missing: Vec<&str> = before.difference(&kinds).copied().collect();
    if !missing.is_empty() {
        return Err(format!("missing required types: [{}]", missing.join(" ")));
    }
    match kinds.difference(before).find(|kind| ["Node", "RBAC"].contains(kind)) {
        Some(kind) => {
            Err(format!("authorizer type {kind} is not allowed if it was not enabled at initial server startup"))
        }
        None => Ok(new),
    }
}

fn kinds(authorizers: &[AuthorizerOptions]) -> BTreeSet<&'static str> {
    authorizers.iter().map(AuthorizerOptions::kind).filter(|kind| *kind != "Webhook").collect()
}

/// Obeys the file, which at the start named these authorizers, until `stop`.
pub async fn keep(
    authorization: Authorization,
    file: (PathBuf, String),
    authorizers: Vec<AuthorizerOptions>,
    client: Client,
    stop: CancellationToken,
) {
    let mut followed = Followed::new(file, &authorizers);
    while stop.run_until_cancelled(tokio::time::sleep(LOOK)).await.is_some() {
        renew(&mut followed, &authorization, &client).await;
    }
}

/// Obeys the file, if it is another one and good. Whether that changed anything.
pub(super) async fn renew(followed: &mut Followed, authorization: &Authorization, client: &Client) -> bool {
    let Followed { file, kinds } = followed;
    let read = async |text: &str| of_text(text, kinds).map_err(Unfit::Bad);
    let Some(new) = file.renew(authorization.reloads(), read).await else { return false };
    authorization.ask(new, client);
    true
}
