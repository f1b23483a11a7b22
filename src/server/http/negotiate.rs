//! What form of an answer the client asks for: apiserver's reading of `Accept`.
//!
//! The ranges of the header are sorted (quality, then how exact they are), and the first that this server has for the
//! resource is taken. A range of a form that is not known here, `as=Chair`, counts as not there.

use http::{HeaderMap, header};
use mk8s_api::{protobuf, status::Status};

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    #[default]
    Json,
    Yaml,
    Protobuf,
}

impl Encoding {
    /// In the order in which `*/*` finds them.
    const ALL: [Encoding; 3] = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];

    pub const fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => protobuf::MEDIA_TYPE,
        }
    }

    /// YAML cannot be streamed.
    fn streams(self) -> bool {
        self != Encoding::Yaml
    }
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

/// The version of `meta.k8s.io` that tables and bare metadata are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MetaVersion {
    #[default]
    V1,
    V1beta1,
}

impl MetaVersion {
    pub const fn as_str(self) -> &'static str {
        match self {
            MetaVersion::V1 => "meta.k8s.io/v1",
            MetaVersion::V1beta1 => "meta.k8s.io/v1beta1",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Form {
    pub encoding: Encoding,
    pub view: View,
    pub meta: MetaVersion,
}

/// What a resource can be answered with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Its objects have a protobuf message.
    pub protobuf: bool,
    /// Its objects can be listed, so there are columns for them.
    pub table: bool,
    /// A watch is asked for.
    pub watch: bool,
    /// Several objects are asked for, in a list or a watch.
    pub many: bool,
}

/// The media types an object can be had in.
pub const SUPPORTED: [&str; 3] = ["application/json", "application/yaml", protobuf::MEDIA_TYPE];
const STREAMS: [&str; 2] = ["application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch"];

/// The first form that the client accepts and this server has.
pub fn form(headers: &HeaderMap, offer: Offer) -> Result<Form, Status> {
    let accept = accepted(headers);
    if matches!(accept, "application/json" | "*/*" | "") {
        return Ok(Form::default());
    }
    if choose(accept, |_, _| Some(())).is_none() {
        return Err(unavailable(offer));
    }
    let found = choose(accept, |encoding, range| range.form(encoding, offer));
    match found {
        Some(form) if offer.watch && !form.encoding.streams() => Err(Status::not_acceptable(&STREAMS)),
        Some(form) => Ok(form),
        None => Err(Status::not_acceptable(if offer.watch { &STREAMS } else { &SUPPORTED })),
    }
}

/// Nothing that the client accepts is there at all, whatever form it asks for.
fn unavailable(offer: Offer) -> Status {
    let streams = if offer.many { &STREAMS[..] } else { &[] };
    let types: Vec<&str> = SUPPORTED.iter().chain(streams).copied().collect();
    let why = format!("406: Not Acceptable\n\nAvailable representations: {}", types.join(", "));
    Status::failure(406, "NotAcceptable", why)
}

/// How a Status is written, which nobody has to accept.
pub fn of_status(headers: &HeaderMap) -> Encoding {
    choose(accepted(headers), |encoding, range| range.as_kind.is_none().then_some(encoding)).unwrap_or_default()
}

/// The encoding of a discovery document, and whether its aggregated form is wanted.
pub fn of_document(headers: &HeaderMap, aggregates: bool) -> Result<(Encoding, bool), Status> {
    let wanted = |encoding, range: &Range<'_>| match range.as_kind {
        None => Some((encoding, false)),
        Some(("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList")) if aggregates => Some((encoding, true)),
        _ => None,
    };
    match accepted(headers) {
        "" => Ok((Encoding::Json, false)),
        accept => choose(accept, wanted).ok_or_else(|| Status::not_acceptable(&SUPPORTED)),
    }
}

/// The first media range that means something to the caller, who sees its two parts.
pub fn first_of<T>(headers: &HeaderMap, meaning: impl Fn(&str, &str) -> Option<T>) -> Option<T> {
    let accept = Some(accepted(headers)).filter(|accept| !accept.is_empty()).unwrap_or("*/*");
    sorted(accept.split(',').filter_map(Range::read).collect()).iter().find_map(|range| meaning(range.kind, range.sub))
}

fn accepted(headers: &HeaderMap) -> &str {
    headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default()
}

fn choose<T>(accept: &str, take: impl Fn(Encoding, &Range<'_>) -> Option<T>) -> Option<T> {
    let ranges = sorted(accept.split(',').filter_map(Range::read).collect());
    ranges.iter().find_map(|range| {
        Encoding::ALL.into_iter().filter(|encoding| range.covers(*encoding)).find_map(|encoding| take(encoding, range))
    })
}

/// One media range of the header.
struct Range<'a> {
    kind: &'a str,
    sub: &'a str,
    quality: f32,
    /// Group, version and kind of `as=`, if any of the three is said.
    as_kind: Option<(&'a str, &'a str, &'a str)>,
    stream: &'a str,
    server_version: &'a str,
}

impl<'a> Range<'a> {
    fn read(text: &'a str) -> Option<Range<'a>> {
        let (media, parameters) = text.split_once(';').unwrap_or((text, ""));
        let (kind, sub) = match media.trim_matches(' ').split_once('/') {
            Some((_, sub)) if sub.contains('/') => return None,
            Some((kind, sub)) if !sub.is_empty() => (kind.trim_matches(' '), sub.trim_matches(' ')),
            _ if media.trim_matches([' ', '/']) == "*" => ("*", "*"),
            _ => return None,
        };
        let mut range = Range { kind, sub, quality: 1.0, as_kind: None, stream: "", server_version: "" };
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=').filter(|(_, value)| !value.is_empty()) else {
                continue;
            };
            if value.contains('=') {
                continue;
            }
            let (name, trimmed) = (name.trim_matches(' '), value.trim_matches(' '));
            match name {
                "q" => range.quality = value.parse().unwrap_or(0.0),
                "as" => range.as_kind.get_or_insert_default().2 = trimmed,
                "g" => range.as_kind.get_or_insert_default().0 = trimmed,
                "v" => range.as_kind.get_or_insert_default().1 = trimmed,
                "stream" => range.stream = trimmed,
                "sv" => range.server_version = trimmed,
                _ => {}
            }
        }
        Some(range)
    }

    fn covers(&self, encoding: Encoding) -> bool {
        let (kind, sub) = encoding.media_type().split_once('/').unwrap_or_default();
        match (self.kind, self.sub) {
            ("*", "*") => true,
            (own, "*") => own == kind,
            (own, own_sub) => own == kind && own_sub == sub,
        }
    }

    /// Whether `self` stands before `other`, as the library has it that apiserver reads the header with.
    fn before(&self, other: &Range<'_>) -> bool {
        self.quality > other.quality || (self.kind != "*" && other.kind == "*") || (self.sub != "*" && other.sub == "*")
    }

    fn form(&self, encoding: Encoding, offer: Offer) -> Option<Form> {
        let stream_known = self.stream.is_empty() || (self.stream == "watch" && encoding.streams());
        if !stream_known || !matches!(self.server_version, "" | "v1") {
            return None;
        }
        let Some((group, version, kind)) = self.as_kind else {
            let had = encoding != Encoding::Protobuf || offer.protobuf;
            return had.then_some(Form { encoding, ..Form::default() });
        };
        let meta = match (group, version) {
            ("meta.k8s.io", "v1") => MetaVersion::V1,
            ("meta.k8s.io", "v1beta1") => MetaVersion::V1beta1,
            _ => return None,
        };
        let view = match kind {
            "Table" if encoding != Encoding::Protobuf && offer.table => View::Table,
            "PartialObjectMetadata" => View::Metadata,
            "PartialObjectMetadataList" => View::MetadataList,
            _ => return None,
        };
        Some(Form { encoding, view, meta })
    }
}

/// Sorts by insertion: the order is no strict one, so how it is sorted shows.
fn sorted(mut ranges: Vec<Range<'_>>) -> Vec<Range<'_>> {
    for end in 1..ranges.len() {
        let mut at = end;
        while at > 0 && ranges[at].before(&ranges[at - 1]) {
            ranges.swap(at, at - 1);
            at -= 1;
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const BUILT_IN: Offer = Offer { protobuf: true, table: true, watch: false, many: false };
    const CUSTOM: Offer = Offer { protobuf: false, table: true, watch: false, many: false };
    const WATCH: Offer = Offer { protobuf: true, table: true, watch: true, many: true };

    fn asked(accept: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))])
    }

    fn show(form: Result<Form, Status>) -> String {
        match form {
            Ok(Form { encoding, view, meta }) => format!("{encoding:?} {view:?} {meta:?}"),
            Err(status) => status.message,
        }
    }

    #[test]
    fn forms_are_chosen_as_apiserver_does() {
        let all = "only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let streams = "only the following media types are accepted: application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let none = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf";
        let none_of_many = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf, application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch";
        let cases = [
            ("", BUILT_IN, "Json Whole V1"),
            ("*/*", BUILT_IN, "Json Whole V1"),
            ("application/*", BUILT_IN, "Json Whole V1"),
            ("application/yaml", BUILT_IN, "Yaml Whole V1"),
            ("application/yaml", WATCH, streams),
            ("application/vnd.kubernetes.protobuf", BUILT_IN, "Protobuf Whole V1"),
            ("application/vnd.kubernetes.protobuf", CUSTOM, all),
            ("application/vnd.kubernetes.protobuf,application/json", CUSTOM, "Json Whole V1"),
            ("application/vnd.kubernetes.protobuf, application/json", BUILT_IN, "Protobuf Whole V1"),
            ("application/json;q=0.5,application/vnd.kubernetes.protobuf;q=0.9", BUILT_IN, "Protobuf Whole V1"),
            (
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json",
                BUILT_IN,
                "Json Table V1",
            ),
            ("application/json;as=Table;v=v1beta1;g=meta.k8s.io", BUILT_IN, "Json Table V1beta1"),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", BUILT_IN, all),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", Offer { table: false, ..BUILT_IN }, all),
            ("application/yaml;as=Table;v=v1;g=meta.k8s.io", BUILT_IN, "Yaml Table V1"),
            ("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", BUILT_IN, "Json Metadata V1"),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                CUSTOM,
                "Protobuf MetadataList V1",
            ),
            ("application/json;stream=watch", WATCH, "Json Whole V1"),
            ("application/json;stream=chat", BUILT_IN, all),
            ("application/vnd.kubernetes.protobuf;stream=watch", WATCH, "Protobuf Whole V1"),
            ("text/html, */*;q=0.8", BUILT_IN, "Json Whole V1"),
            ("text/html", BUILT_IN, none),
            ("text/html", WATCH, none_of_many),
            ("application/json;as=Chair;v=v1;g=meta.k8s.io", BUILT_IN, all),
            ("application/json;v=v1", BUILT_IN, all),
            ("application/json;sv=v2", BUILT_IN, all),
        ];
        for (accept, offer, expected) in cases {
            assert_eq!(show(form(&asked(accept), offer)), expected, "{accept}");
        }
    }

    #[test]
    fn documents_are_aggregated_for_those_who_ask() {
        let both = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
        let cases = [
            (both, true, Some((Encoding::Json, true))),
            (both, false, Some((Encoding::Json, false))),
            (
                "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
                true,
                Some((Encoding::Json, false)),
            ),
            ("application/vnd.kubernetes.protobuf", true, Some((Encoding::Protobuf, false))),
            ("text/html", true, None),
            ("", true, Some((Encoding::Json, false))),
        ];
        for (accept, aggregates, expected) in cases {
            assert_eq!(of_document(&asked(accept), aggregates).ok(), expected, "{accept}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_read(accept in "[a-z*/;=,. 0-9]{0,80}") {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_str(&accept).expect("ASCII"))]);
            let _ = (form(&headers, WATCH), of_status(&headers), of_document(&headers, true));
        }
    }
}
