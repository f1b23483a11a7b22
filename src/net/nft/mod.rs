//! The door to nftables: transactions of commands, applied all or nothing.
//!
//! Commands are data with one textual form, the one `nft -f -` reads. The real door pipes that text into the `nft`
//! program; the fake keeps tables in memory, refuses what the kernel refuses, and prints whole rulesets for golden tests.
//!
//! The text form is used rather than JSON because the service maps are keyed by expressions (`typeof`), which the JSON
//! reader of nft 1.0 neither declares nor fills. A transaction costs one spawn, 3 to 5 ms, however many elements are
//! already loaded, because named maps are not read back to add to them. What is asked back (which tables and chains there
//! are) is JSON, in the types of the crate `nftables`.
//!
//! Invariant: every command names its table; nothing here can express "flush ruleset".

mod fake;
mod program;

use std::fmt;

pub use fake::FakeNft;
pub use program::NftProgram;

/// Why a transaction was not applied. None of it was: nftables commits whole batches.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    #[error("cannot run {program}: is nftables installed?")]
    Spawn {
        program: String,
        #[source]
        source: std::io::Error,
    },
    #[error("nft refused the transaction: {message}")]
    Refused { message: String },
}

/// Applies transactions. Blocking: callers on an async runtime use a blocking thread.
pub trait Nft: Send + Sync {
    fn apply(&self, transaction: &Transaction) -> Result<(), NftError>;

    fn has_table(&self, table: &Table) -> Result<bool, NftError>;

    /// The chains of anybody that drop what they do not accept among forwarded packets: `table ip filter, chain FORWARD`.
    fn forward_drops(&self) -> Result<Vec<String>, NftError>;
}

/// An address family with its own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    V4,
    V6,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "ip",
            Self::V6 => "ip6",
        })
    }
}

/// A table's identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Table {
    pub family: Family,
    pub name: String,
}

impl Table {
    pub fn new(family: Family, name: &str) -> Self {
        Self { family, name: name.to_owned() }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.family, self.name)
    }
}

/// One command. Names and expressions are nft's own syntax, already formatted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    AddTable,
    DeleteTable,
    /// `declaration` is what stands between the braces: `type ipv4_addr; flags interval;`.
    AddSet {
        name: String,
        declaration: String,
    },
    AddMap {
        name: String,
        declaration: String,
    },
    FlushSet {
        name: String,
    },
    FlushMap {
        name: String,
    },
    DeleteSet {
        name: String,
    },
    /// `hook` is empty for a regular chain, else `type nat hook prerouting priority dstnat;`.
    AddChain {
        name: String,
        hook: String,
    },
    FlushChain {
        name: String,
    },
    DeleteChain {
        name: String,
    },
    AddRule {
        chain: String,
        rule: String,
    },
    /// `value` is `None` in a set.
    AddElement {
        set: String,
        key: String,
        value: Option<String>,
    },
    DeleteElement {
        set: String,
        key: String,
    },
}

/// Commands on one table, applied in order, all or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    table: Table,
    commands: Vec<Command>,
}

impl Transaction {
    pub fn new(table: Table) -> Self {
        Self { table, commands: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    pub fn table(&self) -> &Table {
        &self.table
    }

    pub fn commands(&self) -> &[Command] {
        &self.commands
    }

    /// Makes the table exist.
    pub fn add_table(&mut self) -> &mut Self {
        self.push(Command::AddTable)
    }

    /// Makes the table exist and be empty, whatever it was before.
    pub fn replace_table(&mut self) -> &mut Self {
        self.push(Command::AddTable).push(Command::DeleteTable).push(Command::AddTable)
    }

    /// Makes the table not exist.
    pub fn remove_table(&mut self) -> &mut Self {
        self.push(Command::AddTable).push(Command::DeleteTable)
    }

    pub fn add_set(&mut self, name: impl Into<String>, declaration: impl Into<String>) -> &mut Self {
        self.push(Command::AddSet { name: name.into(), declaration: declaration.into() })
    }

    pub fn add_map(&mut self, name: impl Into<String>, declaration: impl Into<String>) -> &mut Self {
        self.push(Command::AddMap { name: name.into(), declaration: declaration.into() })
    }

    pub fn flush_set(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::FlushSet { name: name.into() })
    }

    pub fn flush_map(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::FlushMap { name: name.into() })
    }

    pub fn delete_set(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::DeleteSet { name: name.into() })
    }

    pub fn add_chain(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::AddChain { name: name.into(), hook: String::new() })
    }

    pub fn add_base_chain(&mut self, name: impl Into<String>, hook: impl Into<String>) -> &mut Self {
        self.push(Command::AddChain { name: name.into(), hook: hook.into() })
    }

    pub fn flush_chain(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::FlushChain { name: name.into() })
    }

    pub fn delete_chain(&mut self, name: impl Into<String>) -> &mut Self {
        self.push(Command::DeleteChain { name: name.into() })
    }

    pub fn add_rule(&mut self, chain: impl Into<String>, rule: impl Into<String>) -> &mut Self {
        self.push(Command::AddRule { chain: chain.into(), rule: rule.into() })
    }

    pub fn add_element(&mut self, set: impl Into<String>, key: impl Into<String>) -> &mut Self {
        self.push(Command::AddElement { set: set.into(), key: key.into(), value: None })
    }

    pub fn add_mapping(
        &mut self,
        map: impl Into<String>,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> &mut Self {
        self.push(Command::AddElement { set: map.into(), key: key.into(), value: Some(value.into()) })
    }

    pub fn delete_element(&mut self, set: impl Into<String>, key: impl Into<String>) -> &mut Self {
        self.push(Command::DeleteElement { set: set.into(), key: key.into() })
    }

    pub fn push(&mut self, command: Command) -> &mut Self {
        self.commands.push(command);
        self
    }
}

impl fmt::Display for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.table;
        let mut commands = self.commands.iter().peekable();
        while let Some(command) = commands.next() {
            match command {
                Command::AddTable => writeln!(f, "add table {table}")?,
                Command::DeleteTable => writeln!(f, "delete table {table}")?,
                Command::AddSet { name, declaration } => writeln!(f, "add set {table} {name} {{ {declaration} }}")?,
                Command::AddMap { name, declaration } => writeln!(f, "add map {table} {name} {{ {declaration} }}")?,
                Command::FlushSet { name } => writeln!(f, "flush set {table} {name}")?,
                Command::FlushMap { name } => writeln!(f, "flush map {table} {name}")?,
                Command::DeleteSet { name } => writeln!(f, "delete set {table} {name}")?,
                Command::AddChain { name, hook } if hook.is_empty() => writeln!(f, "add chain {table} {name}")?,
                Command::AddChain { name, hook } => writeln!(f, "add chain {table} {name} {{ {hook} }}")?,
                Command::FlushChain { name } => writeln!(f, "flush chain {table} {name}")?,
                Command::DeleteChain { name } => writeln!(f, "delete chain {table} {name}")?,
                Command::AddRule { chain, rule } => writeln!(f, "add rule {table} {chain} {rule}")?,
                // Neighbouring elements of one set share a command: nft parses thousands of them much faster so.
                Command::AddElement { set, key, value } => {
                    write!(f, "add element {table} {set} {{ {}", Element(key, value.as_deref()))?;
                    while let Some(Command::AddElement { set: next, key, value }) = commands.peek()
                        && next == set
                    {
                        write!(f, ", {}", Element(key, value.as_deref()))?;
                        commands.next();
                    }
                    writeln!(f, " }}")?;
                }
                Command::DeleteElement { set, key } => {
                    write!(f, "delete element {table} {set} {{ {key}")?;
                    while let Some(Command::DeleteElement { set: next, key }) = commands.peek()
                        && next == set
                    {
                        write!(f, ", {key}")?;
                        commands.next();
                    }
                    writeln!(f, " }}")?;
                }
            }
        }
        Ok(())
    }
}

struct Element<'a>(&'a str, Option<&'a str>);

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1 {
            Some(value) => write!(f, "{} : {value}", self.0),
            None => f.write_str(self.0),
        }
    }
}
