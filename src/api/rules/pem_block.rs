//! Blocks of PEM, found as Go finds them: what is no block is passed over, and so is a block that is broken.

use base64::{Engine, engine::general_purpose::STANDARD};

/// A block: what its lines call it, and what it holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PemBlock {
    pub(super) label: String,
    pub(super) contents: Vec<u8>,
}

/// All blocks of a text.
pub(super) fn blocks(text: &[u8]) -> Vec<PemBlock> {
    let text = String::from_utf8_lossy(text);
    let mut found = Vec::new();
    let mut open: Option<(&str, String)> = None;
    for line in text.lines().map(str::trim_end) {
        if let Some(label) = label(line, "-----BEGIN ") {
            open = Some((label, String::new()));
        } else if let Some(label) = label(line, "-----END ") {
            let closed = open.take().filter(|(opened, _)| *opened == label);
            let contents = closed.and_then(|(_, body)| STANDARD.decode(body).ok());
            found.extend(contents.map(|contents| PemBlock { label: label.to_owned(), contents }));
        } else if let Some((_, body)) = &mut open {
            let is_header = body.is_empty() && line.contains(':');
            if !is_header {
                body.extend(line.chars().filter(|c| !matches!(c, ' ' | '\t')));
            }
        }
    }
    found
}

fn label<'a>(line: &'a str, start: &str) -> Option<&'a str> {
    line.strip_prefix(start)?.strip_suffix("-----")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_block_is_passed_over() {
        let text = "Bag Attributes\n\
            -----BEGIN A-----\r\nProc-Type: 4,ENCRYPTED\r\n\r\nAQ I\r\nDBA==\r\n-----END A-----  \r\n\
            -----BEGIN B-----\n%%%%\n-----END B-----\n\
            -----BEGIN C-----\n-----BEGIN D-----\nAQ==\n-----END D-----\n\
            -----BEGIN E-----\nAQ==\n-----END F-----\n\
            x-----BEGIN G-----\nAQ==\n-----END G-----\n\
            -----BEGIN H-----\n-----END H-----\n\
            -----BEGIN I-----\nAQ==";
        let found: Vec<(String, Vec<u8>)> =
            blocks(text.as_bytes()).into_iter().map(|block| (block.label, block.contents)).collect();
        let expected =
            [("A", vec![1u8, 2, 3, 4]), ("D", vec![1]), ("H", vec![])].map(|(label, held)| (label.to_owned(), held));
        assert_eq!(found, expected);
        assert!(blocks(b"\xff\xfe").is_empty());
    }
}
