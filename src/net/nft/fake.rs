//! Tables in memory: refuses what the kernel would refuse, and prints whole rulesets.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;

use super::{Command, Nft, NftError, Table, Transaction};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FakeTable {
    sets: BTreeMap<String, FakeSet>,
    chains: BTreeMap<String, FakeChain>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FakeSet {
    is_map: bool,
    declaration: String,
    elements: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct FakeChain {
    hook: String,
    rules: Vec<String>,
}

/// An nftables that lives in memory.
#[derive(Debug, Default)]
pub struct FakeNft {
    state: Mutex<FakeState>,
}

#[derive(Debug, Default)]
struct FakeState {
    tables: BTreeMap<Table, FakeTable>,
    refuse_next: bool,
}

impl FakeNft {
    /// Fails the next transaction, as when something else removed the table.
    pub fn refuse_next(&self) {
        self.state.lock().refuse_next = true;
    }

    /// Forgets everything, as a reboot does.
    pub fn wipe(&self) {
        self.state.lock().tables.clear();
    }

    /// The whole ruleset, in a fixed order.
    pub fn dump(&self) -> String {
        self.to_string()
    }
}

impl Nft for FakeNft {
    fn apply(&self, transaction: &Transaction) -> Result<(), NftError> {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.refuse_next) {
            return refused("told to refuse");
        }
        let mut tables = state.tables.clone();
        for command in transaction.commands() {
            apply_one(&mut tables, transaction.table(), command)?;
        }
        check_references(&tables)?;
        state.tables = tables;
        Ok(())
    }

    fn has_table(&self, table: &Table) -> Result<bool, NftError> {
        Ok(self.state.lock().tables.contains_key(table))
    }

    fn forward_drops(&self) -> Result<Vec<String>, NftError> {
        Ok(Vec::new())
    }
}

fn refused<T>(message: impl Into<String>) -> Result<T, NftError> {
    Err(NftError::Refused { message: message.into() })
}

fn apply_one(tables: &mut BTreeMap<Table, FakeTable>, table: &Table, command: &Command) -> Result<(), NftError> {
    match command {
        Command::AddTable => {
            tables.entry(table.clone()).or_default();
            return Ok(());
        }
        Command::DeleteTable => {
            return match tables.remove(table) {
                Some(_) => Ok(()),
                None => refused(format!("no table {table}")),
            };
        }
        _ => {}
    }
    let Some(content) = tables.get_mut(table) else { return refused(format!("no table {table}")) };
    match command {
        Command::AddTable | Command::DeleteTable => {}
        Command::AddSet { name, declaration } | Command::AddMap { name, declaration } => {
            let set = content.sets.entry(name.clone()).or_default();
            set.is_map = matches!(command, Command::AddMap { .. });
            set.declaration.clone_from(declaration);
        }
        Command::FlushSet { name } | Command::FlushMap { name } => {
            let set = set(content, name)?;
            if set.is_map != matches!(command, Command::FlushMap { .. }) {
                return refused(format!("{name} is of the other kind"));
            }
            set.elements.clear();
        }
        Command::DeleteSet { name } => {
            if content.sets.remove(name).is_none() {
                return refused(format!("no set {name}"));
            }
        }
        Command::AddChain { name, hook } => {
            content.chains.entry(name.clone()).or_default().hook.clone_from(hook);
        }
        Command::FlushChain { name } => chain(content, name)?.rules.clear(),
        Command::DeleteChain { name } => {
            if content.chains.remove(name).is_none() {
                return refused(format!("no chain {name}"));
            }
        }
        Command::AddRule { chain: name, rule } => chain(content, name)?.rules.push(rule.clone()),
        Command::AddElement { set: name, key, value } => {
            let elements = &mut set(content, name)?.elements;
            if elements.get(key).is_some_and(|present| present != value) {
                return refused(format!("element {key} of {name} exists with another value"));
            }
            elements.insert(key.clone(), value.clone());
        }
        Command::DeleteElement { set: name, key } => {
            if set(content, name)?.elements.remove(key).is_none() {
                return refused(format!("no element {key} in {name}"));
            }
        }
    }
    Ok(())
}

fn set<'a>(table: &'a mut FakeTable, name: &str) -> Result<&'a mut FakeSet, NftError> {
    table.sets.get_mut(name).map_or_else(|| refused(format!("no set {name}")), Ok)
}

fn chain<'a>(table: &'a mut FakeTable, name: &str) -> Result<&'a mut FakeChain, NftError> {
    table.chains.get_mut(name).map_or_else(|| refused(format!("no chain {name}")), Ok)
}

/// A verdict or an `@set` must lead somewhere, as the kernel demands of what it commits.
fn check_references(tables: &BTreeMap<Table, FakeTable>) -> Result<(), NftError> {
    for table in tables.values() {
        let values = table.sets.values().flat_map(|set| set.elements.values().flatten());
        for text in values.chain(table.chains.values().flat_map(|chain| &chain.rules)) {
            let mut words = text.split_whitespace().peekable();
            while let Some(word) = words.next() {
                let word = word.trim_end_matches(',');
                let known = match word {
                    "goto" | "jump" => {
                        words.peek().is_none_or(|to| table.chains.contains_key(to.trim_end_matches(',')))
                    }
                    _ => word.strip_prefix('@').is_none_or(|name| table.sets.contains_key(name)),
                };
                if !known {
                    return refused(format!("{text:?} refers to what does not exist"));
                }
            }
        }
    }
    Ok(())
}

impl fmt::Display for FakeNft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, content) in &self.state.lock().tables {
            writeln!(f, "table {table} {{")?;
            for (name, set) in &content.sets {
                writeln!(f, "  {} {name} {{ {} }}", if set.is_map { "map" } else { "set" }, set.declaration)?;
                for (key, value) in &set.elements {
                    match value {
                        Some(value) => writeln!(f, "    {key} : {value}")?,
                        None => writeln!(f, "    {key}")?,
                    }
                }
            }
            for (name, chain) in &content.chains {
                writeln!(f, "  chain {name} {{ {} }}", chain.hook)?;
                for rule in &chain.rules {
                    writeln!(f, "    {rule}")?;
                }
            }
            writeln!(f, "}}")?;
        }
        Ok(())
    }
}
