//! Figures of one cluster, or of two side by side.

use std::time::Duration;

/// One line of the table.
pub(crate) struct Measure {
    pub(crate) name: String,
    pub(crate) value: f64,
    pub(crate) unit: &'static str,
}

impl Measure {
    pub(crate) fn new(name: impl Into<String>, value: f64, unit: &'static str) -> Measure {
        Measure { name: name.into(), value, unit }
    }

    pub(crate) fn ms(name: impl Into<String>, took: Duration) -> Measure {
        Measure::new(name, took.as_secs_f64() * 1e3, "ms")
    }
}

/// With a second column the ratio is printed beside it: how many times better the first is.
pub(crate) fn print(files: &[String], columns: &[Vec<Measure>]) {
    println!();
    print!("{:46}", "");
    for file in files {
        print!("{file:>28}");
    }
    println!();
    let rows = columns.first().map_or(0, Vec::len);
    for row in 0..rows {
        print!("{:46}", columns[0][row].name);
        for column in columns {
            print!("{:>28}", format!("{:.1} {}", column[row].value, column[row].unit));
        }
        if let [ours, peer, ..] = columns {
            let (ours, peer) = (&ours[row], &peer[row]);
            let ratio = if ours.unit.ends_with("/s") { ours.value / peer.value } else { peer.value / ours.value };
            print!("   {ratio:.2}x");
        }
        println!();
    }
}
