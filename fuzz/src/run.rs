//! The test: runs the targets, each in a process of its own.

use std::process::ExitCode;

use mk8s_fuzz::campaign;

fn main() -> ExitCode {
    campaign::main(std::env::args().skip(1).collect())
}
