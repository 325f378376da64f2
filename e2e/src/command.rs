//! Other programs, run to their end: their output, or an error that quotes what they complained about.

use std::{
    ffi::OsStr,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, bail};

/// How much of a failed program's complaint an error quotes, in bytes from its end.
const COMPLAINT_BYTES_MAX: usize = 4096;

/// Runs `program` and returns its standard output. Blocks; meant for programs that take milliseconds.
pub fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program.as_ref());
    command.args(arguments).stdin(Stdio::null());
    let output = command.output().with_context(|| format!("cannot run {}", describe(&command)))?;
    succeeded(&describe(&command), &output)
}

/// Like [`run`], with `input` on standard input.
pub fn run_with_input(command: &mut Command, input: &str) -> Result<String> {
    let description = describe(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("cannot run {description}"))?;
    let mut stdin = child.stdin.take().expect("standard input was asked for");
    let input = input.to_owned();
    // Written beside the reading, so that neither side waits for the other's full pipe.
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    // A program that ended early says why itself.
    drop(writer.join());
    succeeded(&description, &output)
}

/// Like [`run`], without blocking the runtime; the program ends when the future is dropped.
pub async fn run_async(command: &mut tokio::process::Command) -> Result<String> {
    let description = describe(command.as_std());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.with_context(|| format!("cannot run {description}"))?;
    succeeded(&description, &output)
}

fn describe(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(OsStr::to_string_lossy)
        .collect::<Vec<_>>()
        .join(" ")
}

fn succeeded(description: &str, output: &Output) -> Result<String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    let from = complaint.len().saturating_sub(COMPLAINT_BYTES_MAX);
    let from = (from..=complaint.len()).find(|at| complaint.is_char_boundary(*at)).unwrap_or(0);
    bail!("`{description}` failed ({}): {}", output.status, complaint[from..].trim())
}
