//! What form of an answer the client asks for.

use http::{HeaderMap, header};
use mk8s_api::status::Status;

/// The text an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Json,
    Yaml,
}

/// What of the objects is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    #[default]
    Whole,
    Table,
    Metadata,
    MetadataList,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    pub encoding: Encoding,
    pub view: View,
}

/// The media types an object can be had in.
pub const SUPPORTED: [&str; 2] = ["application/json", "application/yaml"];

/// The first form that the client accepts and this server has.
pub fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Form::default()) };
    let accept = accept.to_str().unwrap_or_default();
    if matches!(accept, "application/json" | "*/*" | "") {
        return Ok(Form::default());
    }
    accept.split(',').find_map(read).ok_or_else(|| Status::not_acceptable(&SUPPORTED))
}

/// One media range; `None` when it asks for what this server has not.
fn read(range: &str) -> Option<Form> {
    let mut parts = range.split(';').map(str::trim);
    let encoding = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "application/json" | "*/*" | "application/*" => Encoding::Json,
        "application/yaml" => Encoding::Yaml,
        _ => return None,
    };
    let (mut shown, mut version, mut group) = ("", "", "");
    for part in parts {
        match part.split_once('=') {
            Some(("as", value)) => shown = value,
            Some(("v", value)) => version = value,
            Some(("g", value)) => group = value,
            Some(("q", "0" | "0.0")) => return None,
            _ => {}
        }
    }
    let view = match (shown, version, group) {
        ("", _, _) => View::Whole,
        ("Table", "v1", "meta.k8s.io") => View::Table,
        ("PartialObjectMetadata", "v1", "meta.k8s.io") => View::Metadata,
        ("PartialObjectMetadataList", "v1", "meta.k8s.io") => View::MetadataList,
        _ => return None,
    };
    Some(Form { encoding, view })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn forms_are_chosen_in_order() {
        let whole = |encoding| Some(Form { encoding, view: View::Whole });
        let json = |view| Some(Form { encoding: Encoding::Json, view });
        let cases = [
            ("", whole(Encoding::Json)),
            ("*/*", whole(Encoding::Json)),
            ("application/yaml", whole(Encoding::Yaml)),
            ("application/vnd.kubernetes.protobuf, application/json", whole(Encoding::Json)),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                json(View::Table),
            ),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", json(View::Metadata)),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                json(View::MetadataList),
            ),
            ("application/json;stream=watch", whole(Encoding::Json)),
            ("text/html, */*;q=0.8", whole(Encoding::Json)),
            ("application/vnd.kubernetes.protobuf", None),
            ("application/json;as=Chair;v=v1;g=meta.k8s.io", None),
        ];
        for (accept, expected) in cases {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(form(&headers).ok(), expected, "{accept}");
        }
    }
}
