//! The definitions build.rs made, as they lie in the executable: compressed, one a line, read when they are asked for.

use std::io::Read;

use flate2::read::GzDecoder;
use serde_json::Value;

/// What requests are checked with: no prose, our own extensions.
pub(crate) fn schemas() -> Lines {
    Lines::read(include_bytes!(concat!(env!("OUT_DIR"), "/schemas.gz")))
}

/// What clients download: `components.schemas` of OpenAPI v3, of all built-in kinds.
pub(crate) fn definitions() -> Lines {
    Lines::read(include_bytes!(concat!(env!("OUT_DIR"), "/openapi.gz")))
}

/// Unpacked definitions. As text they are small; as values they would be ten times that.
pub(crate) struct Lines(String);

/// One definition.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    kinds: &'a str,
    json: &'a str,
}

impl Lines {
    fn read(compressed: &[u8]) -> Lines {
        let mut text = String::new();
        GzDecoder::new(compressed).read_to_string(&mut text).expect("build.rs wrote it");
        Lines(text)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Line<'_>> {
        self.0.lines().filter_map(|line| {
            let (name, rest) = line.split_once('\t')?;
            let (kinds, json) = rest.split_once('\t')?;
            Some(Line { name, kinds, json })
        })
    }
}

impl<'a> Line<'a> {
    pub(crate) fn schema(self) -> Value {
        serde_json::from_str(self.json).expect("build.rs wrote it")
    }

    /// Group, version and kind of what the definition describes.
    pub(crate) fn kinds(self) -> impl Iterator<Item = [String; 3]> + 'a {
        self.kinds.split(',').filter_map(|kind| {
            let mut parts = kind.split('/').map(str::to_owned);
            Some([parts.next()?, parts.next()?, parts.next()?])
        })
    }
}
