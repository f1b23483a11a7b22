//! One entry of a log.

use jiff::Timestamp;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// As written.
    pub time: &'a [u8],
    pub stream: Stream,
    /// The text goes on in the next entry.
    pub partial: bool,
    pub content: &'a [u8],
}

/// An entry without its line break. `None`: it is not one.
pub fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let (time, stream, tags) = (parts.next()?, parts.next()?, parts.next()?);
    let content = parts.next().unwrap_or_default();
    let stream = match stream {
        b"stdout" => Stream::Stdout,
        b"stderr" => Stream::Stderr,
        _ => return None,
    };
    let partial = match tags.split(|byte| *byte == b':').next()? {
        b"P" => true,
        b"F" => false,
        _ => return None,
    };
    Some(Line { time, stream, partial, content })
}

impl Line<'_> {
    pub fn timestamp(&self) -> Option<Timestamp> {
        std::str::from_utf8(self.time).ok()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parsed() {
        let line = parse(b"2016-10-06T00:17:09.669794202Z stdout F The content 1").expect("an entry");
        assert_eq!((line.stream, line.partial, line.content), (Stream::Stdout, false, b"The content 1".as_slice()));
        assert!(line.timestamp().is_some());
        let line = parse(b"2016-10-06T00:17:09.669794202Z stderr P:x ").expect("an entry");
        assert_eq!((line.stream, line.partial, line.content), (Stream::Stderr, true, b"".as_slice()));
        for bad in ["", "x", "t stdout", "t stdlog F x", "t stdout X x"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }
}
