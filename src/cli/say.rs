//! Standard output and standard error for every verb.
//!
//! `println!` panics when the reader of a pipe goes away (`kubectl get pods | head`); here that ends the program quietly.

use std::{
    fmt::Arguments,
    io::{ErrorKind, Write},
};

/// Writes to standard output.
pub fn out(text: Arguments<'_>) {
    let mut stream = std::io::stdout().lock();
    finish(stream.write_fmt(text).and_then(|()| stream.flush()));
}

/// Writes bytes as they are to standard output.
pub(crate) fn out_bytes(bytes: &[u8]) {
    let mut stream = std::io::stdout().lock();
    finish(stream.write_all(bytes).and_then(|()| stream.flush()));
}

/// Writes to standard error. Nobody is left to be told when that fails.
pub fn err(text: Arguments<'_>) {
    let _ = std::io::stderr().lock().write_fmt(text);
}

fn finish(result: std::io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            err(format_args!("error: cannot write to standard output: {error}\n"));
            std::process::exit(1);
        }
    }
}

/// Prints a line to standard output.
#[macro_export]
macro_rules! outln {
    () => { $crate::say::out(format_args!("\n")) };
    ($($arg:tt)*) => {{ let line = format!($($arg)*); $crate::say::out(format_args!("{line}\n")) }};
}

/// Prints a line to standard error.
#[macro_export]
macro_rules! errln {
    ($($arg:tt)*) => {{ let line = format!($($arg)*); $crate::say::err(format_args!("{line}\n")) }};
}
