//! The command line on its own.
fn main() -> std::process::ExitCode {
    mk8s_cli::main(std::env::args_os().collect())
}
