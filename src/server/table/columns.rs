//! How a kind's columns are declared: one line of names, and a function from an object to its cells.
//!
//! In a line, `|` separates columns, `+` marks one that only wide output shows, `:integer` and `:boolean` say the type of one
//! that is not text.

use std::{collections::HashMap, sync::LazyLock};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    apps, batch, cluster, config, extension, networking, nodes, pods, policy, rbac, services, storage, text::name,
    usage,
};

/// One column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    /// `string`, `integer`, `boolean`, `number`, `date`.
    pub kind: String,
    /// `name` for the column that names the object; otherwise usually empty.
    pub format: String,
    pub description: String,
    /// 0 is always shown; others only when asked for.
    pub priority: u32,
}

type Cells = Box<dyn Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync>;

/// The columns of a kind and how an object fills them.
pub struct Printer {
    columns: Vec<Column>,
    cells: Cells,
}

impl Printer {
    pub fn new(
        columns: Vec<Column>,
        cells: impl Fn(&Value, Timestamp) -> Vec<Value> + Send + Sync + 'static,
    ) -> Printer {
        Printer { columns, cells: Box::new(cells) }
    }

    /// From a line as the module describes it.
    pub(super) fn of(line: &str, cells: fn(&Value, Timestamp) -> Vec<Value>) -> Printer {
        Printer::new(line.split('|').map(column).collect(), cells)
    }

    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// One cell a column.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        (self.cells)(object, now)
    }

    /// `columnDefinitions` of the table.
    pub(super) fn definitions(&self) -> Value {
        let define = |column: &Column| {
            json!({
                "name": column.name,
                "type": column.kind,
                "format": column.format,
                "description": column.description,
                "priority": column.priority,
            })
        };
        self.columns.iter().map(define).collect()
    }
}

fn column(text: &str) -> Column {
    let (text, priority) = text.strip_prefix('+').map_or((text, 0), |text| (text, 1));
    let (name, kind) = text.split_once(':').unwrap_or((text, "string"));
    Column {
        name: name.to_string(),
        kind: kind.to_string(),
        format: if name == "Name" { "name".to_string() } else { String::new() },
        description: describe(name).to_string(),
        priority,
    }
}

fn describe(column: &str) -> &'static str {
    match column {
        "Name" => "Name of the object, unique in its namespace",
        "Age" | "Created At" => "Time since the object was created",
        "Ready" => "How many are ready, of how many wanted",
        "Status" => "What state it is in",
        "Restarts" => "How often its containers were restarted, and when last",
        "IP" => "Address of the pod",
        "Node" => "Node it is on",
        "Nominated Node" => "Node where room is being made for it",
        "Readiness Gates" => "How many of its readiness gates are open",
        "Containers" => "Names of the containers of a pod",
        "Images" => "Images of the containers of a pod",
        "Selector" => "Labels of the pods that belong to it",
        "Desired" => "How many are wanted",
        "Current" => "How many exist",
        "Up-to-date" => "How many have the newest template",
        "Available" => "How many have been ready for long enough",
        "Cluster-IP" => "Address inside the cluster",
        "External-IP" => "Addresses outside the cluster",
        "Internal-IP" => "Address inside the cluster's network",
        "Port(s)" | "Ports" => "Ports it listens on",
        "Endpoints" => "Addresses of the pods behind it",
        "Roles" => "Roles of the node, from its labels",
        "Version" => "Version of the node's agent",
        "Last Seen" => "When it happened last",
        "First Seen" => "When it happened first",
        "Count" => "How often it happened",
        "Reason" => "Why, in one word",
        "Message" => "What happened",
        "Object" => "What it is about",
        "Data" => "How many entries it has",
        "Holder" => "Who holds it",
        "cpu" => "Cores it uses",
        "memory" => "Memory it uses",
        "Window" => "How long it was measured",
        "Role" => "Role that is granted",
        _ => "",
    }
}

/// The columns of a built-in kind, if it has some of its own.
pub(super) fn find(group: &str, kind: &str) -> Option<&'static Printer> {
    static BY_GROUP_AND_KIND: LazyLock<HashMap<&'static str, HashMap<&'static str, Printer>>> = LazyLock::new(|| {
        let mut all: HashMap<&'static str, HashMap<&'static str, Printer>> = HashMap::new();
        let rooms = [
            apps::printers(),
            batch::printers(),
            cluster::printers(),
            config::printers(),
            extension::printers(),
            networking::printers(),
            nodes::printers(),
            pods::printers(),
            policy::printers(),
            rbac::printers(),
            services::printers(),
            storage::printers(),
            usage::printers(),
        ];
        for (group, kind, printer) in rooms.into_iter().flatten() {
            all.entry(group).or_default().insert(kind, printer);
        }
        all
    });
    BY_GROUP_AND_KIND.get(group)?.get(kind)
}

/// What a group of kinds declares: group, kind, printer.
pub(super) type Declared = Vec<(&'static str, &'static str, Printer)>;

/// For kinds without columns of their own.
pub(super) fn generic() -> &'static Printer {
    static GENERIC: LazyLock<Printer> = LazyLock::new(|| {
        Printer::of("Name|Created At:date", |object, _| {
            vec![name(object), object["metadata"]["creationTimestamp"].clone()]
        })
    });
    &GENERIC
}
