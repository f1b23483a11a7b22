//! Deleting all objects of a kind, page by page: however many there are, a page of them is held at a time.

use super::failure::unless_gone;
use form_urlencoded::Serializer;
use mk8s_client::kube::{
    self, Api, Client,
    api::{DeleteParams, ListParams},
    core::{DynamicObject, ListMeta, ObjectList, PartialObjectMeta},
};
use serde::Deserialize;

/// Objects that are looked at, or deleted, at a time.
const PAGE: u32 = 500;

/// The server deletes a page with each request, and answers with no more of it than names.
pub(crate) async fn delete_all(client: &Client, api: &Api<DynamicObject>, params: &DeleteParams) -> kube::Result<()> {
    let options = serde_json::to_vec(params).map_err(kube::Error::SerdeError)?;
    let mut query = format!("limit={PAGE}");
    loop {
        let request = http::Request::delete(format!("{}?{query}", api.resource_url()))
            .header(http::header::ACCEPT, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(options.clone());
        let deleted: Deleted = match client.request(request.map_err(kube::Error::HttpError)?).await {
            Err(error) if is_expired(&error) => return Ok(()),
            deleted => deleted?,
        };
        match deleted.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => {
                query = Serializer::new(format!("limit={PAGE}")).append_pair("continue", &token).finish();
            }
            None => return Ok(()),
        }
    }
}

/// What is answered to the deletion of a page.
#[derive(Deserialize)]
struct Deleted {
    #[serde(default)]
    metadata: ListMeta,
}

/// The same where the server deletes no collections of the kind.
pub(crate) async fn delete_each(api: &Api<DynamicObject>, params: &DeleteParams) -> kube::Result<()> {
    let mut pages = Pages::default();
    while let Some(page) = pages.next(api).await? {
        for object in &page.items {
            let name = object.metadata.name.as_deref().unwrap_or_default();
            unless_gone(api.delete(name, params).await)?;
        }
    }
    Ok(())
}

pub(crate) async fn is_empty(api: &Api<DynamicObject>) -> kube::Result<bool> {
    Ok(api.list_metadata(&ListParams::default().limit(1)).await?.items.is_empty())
}

/// A list, page by page.
#[derive(Default)]
pub(crate) struct Pages {
    token: Option<String>,
    ended: bool,
}

impl Pages {
    pub(crate) async fn next(
        &mut self,
        api: &Api<DynamicObject>,
    ) -> kube::Result<Option<ObjectList<PartialObjectMeta<DynamicObject>>>> {
        if self.ended {
            return Ok(None);
        }
        let params = ListParams { limit: Some(PAGE), continue_token: self.token.take(), ..ListParams::default() };
        let page = match api.list_metadata(&params).await {
            // It took long. Whatever is left is looked for again.
            Err(error) if is_expired(&error) => return Ok(None),
            page => page?,
        };
        self.token = page.metadata.continue_.clone().filter(|token| !token.is_empty());
        self.ended = self.token.is_none();
        Ok(Some(page))
    }
}

fn is_expired(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 410)
}
