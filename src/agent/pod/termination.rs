//! Termination messages: what a container wrote into its file, or failing that the end of its log.

use super::{
    labels,
    view::{Container, Phase, View},
};
use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

const FILE_MAX: u64 = 4096;
const LOG_MAX: u64 = 2048;
const LOG_LINES_MAX: usize = 80;

/// Adds the messages of containers that have ended.
pub(super) fn add_messages(view: &mut View) {
    for container in view.containers.iter_mut().filter(|container| container.phase == Phase::Exited) {
        let message = message_of(container);
        if !message.is_empty() {
            container.message = message;
        }
    }
}

fn message_of(container: &Container) -> String {
    let annotation = |key: &str| container.annotations.get(key).map(String::as_str).unwrap_or_default();
    let file = annotation(labels::TERMINATION_FILE);
    if !file.is_empty()
        && let Ok(text) = tail(Path::new(file), FILE_MAX)
        && !text.is_empty()
    {
        return text;
    }
    let fall_back = annotation(labels::TERMINATION_POLICY) == "FallbackToLogsOnError";
    match fall_back && container.exit_code != 0 {
        true => tail(Path::new(&container.log_path), LOG_MAX * 2).map(|text| of_log(&text)).unwrap_or_default(),
        false => String::new(),
    }
}

/// The last bytes of a file.
fn tail(path: &Path, max: u64) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(max)))?;
    let mut bytes = Vec::new();
    file.take(max).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Log lines without time, stream and tag.
fn of_log(text: &str) -> String {
    let content = |line: &str| line.splitn(4, ' ').nth(3).map(|content| format!("{content}\n"));
    let lines: Vec<String> = text.lines().filter_map(content).collect();
    let mut out: String = lines[lines.len().saturating_sub(LOG_LINES_MAX)..].concat();
    while out.len() as u64 > LOG_MAX {
        let mut cut = out.len() - usize::try_from(LOG_MAX).unwrap_or(0);
        while !out.is_char_boundary(cut) {
            cut += 1;
        }
        out = out.split_off(cut);
    }
    out
}
