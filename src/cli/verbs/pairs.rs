//! Arguments of the form `TYPE NAME... KEY=VALUE... KEY-...`: what is an object and what is a change.

use anyhow::{Result, bail};

/// Parts objects from changes; objects come first. `what` names the changes in messages.
pub(crate) fn split(args: &[String], what: &str) -> Result<(Vec<String>, Vec<String>)> {
    let is_pair = |arg: &str| (arg.contains('=') && !arg.starts_with('=')) || (arg.ends_with('-') && arg != "-");
    split_by(args, is_pair, |arg| format!("all resources must be specified before {what} changes: {arg}"))
}

pub(crate) fn split_by(
    args: &[String],
    is_pair: impl Fn(&str) -> bool,
    misplaced: impl Fn(&str) -> String,
) -> Result<(Vec<String>, Vec<String>)> {
    let first = args.iter().position(|arg| is_pair(arg)).unwrap_or(args.len());
    let (objects, pairs) = args.split_at(first);
    if let Some(arg) = pairs.iter().find(|arg| !is_pair(arg)) {
        bail!(misplaced(arg));
    }
    Ok((objects.to_vec(), pairs.to_vec()))
}

/// What to set and what to take away. A key set twice has its last value.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    pub(crate) set: Vec<(String, String)>,
    pub(crate) remove: Vec<String>,
}

impl Changes {
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        match self.set.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.to_owned(),
            None => self.set.push((key.to_owned(), value.to_owned())),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    pub(crate) fn sets(&self, key: &str) -> bool {
        self.set.iter().any(|(known, _)| known == key)
    }
}

/// `KEY=VALUE` and, when things can be removed, `KEY-`.
pub(crate) fn parse(pairs: &[String], what: &str, removal: bool) -> Result<Changes> {
    let mut changes = Changes::default();
    let mut invalid: Vec<&str> = Vec::new();
    for pair in pairs {
        match pair.split_once('=') {
            Some((key, value)) if !key.is_empty() => changes.set(key, value),
            _ if removal && pair.ends_with('-') && pair != "-" => {
                changes.remove.push(pair[..pair.len() - 1].to_owned())
            }
            _ => invalid.push(pair),
        }
    }
    if !invalid.is_empty() {
        bail!("invalid {what} format: {}", invalid.join(", "));
    }
    Ok(changes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn objects_come_first() {
        assert_eq!(split(&words("po x a=b c-"), "label").unwrap(), (words("po x"), words("a=b c-")));
        let message = split(&words("po a=b x"), "label").unwrap_err().to_string();
        assert_eq!(message, "all resources must be specified before label changes: x");
    }

    #[test]
    fn pairs_set_and_remove() {
        let changes = parse(&words("a=b=c d- a=e"), "annotation", true).unwrap();
        assert_eq!(changes, Changes { set: vec![("a".into(), "e".into())], remove: vec!["d".into()] });
        assert_eq!(parse(&words("=x d-"), "image", false).unwrap_err().to_string(), "invalid image format: =x, d-");
    }
}
