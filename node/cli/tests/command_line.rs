//! The program as its callers meet it: exit codes, standard error, pipes.

#![allow(clippy::unwrap_used, reason = "a test has nobody to report to")]

use std::io::Write as _;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::process::{Command, Output, Stdio};

fn reckon() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reckon"));
    for name in ["RECKON_ENDPOINTS", "RECKON_OUTPUT", "RECKON_TIMEOUT"] {
        command.env_remove(name);
    }
    command
}

fn ended(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

/// An address where nobody listens: it was free a moment ago.
fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn mistakes_in_usage_end_with_2() {
    for arguments in [
        &["fly"] as &[&str],
        &["append", "s"],
        &["read"],
        &["read", "s", "--endpoint", "no-port"],
        &["append", "s", "--type", "T", "--data", "{oops"],
        &["append", "--file", "/does/not/exist"],
    ] {
        let (code, stdout, stderr) = ended(reckon().args(arguments));
        assert_eq!(code, 2, "{arguments:?}: {stderr}");
        assert!(stdout.is_empty() && !stderr.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_store_that_is_not_there_ends_with_3_and_a_hint() {
    for arguments in [&["read", "s"] as &[&str], &["members"], &["status"]] {
        let (code, _, stderr) =
            ended(reckon().args(arguments).args(["--timeout", "200ms", "-e", &nobody()]));
        assert_eq!(code, 3, "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("hint: "), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "colours are for terminals: {stderr}");
    }
}

#[test]
fn a_program_is_told_in_json_what_went_wrong() {
    let (code, stdout, stderr) = ended(
        reckon()
            .args(["streams", "--output", "json", "--timeout", "200ms"])
            .env("RECKON_ENDPOINTS", format!("{},{}", nobody(), nobody())),
    );
    assert_eq!((code, stdout.as_str()), (3, ""));
    let object: serde_json::Value = serde_json::from_str(&stderr).unwrap();
    assert_eq!(object["error"]["retryable"], true);
    assert_eq!(object["error"]["exit_code"], 3);
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = reckon()
        .args(["completions", "bash"])
        .stdout(writer)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn every_shell_gets_completions() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, stdout, stderr) = ended(reckon().args(["completions", shell]));
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.contains("read-all"), "{shell}");
    }
}

#[test]
fn a_mistake_on_a_line_is_named_before_anything_is_sent() {
    let mut child = reckon()
        .args(["append", "--file", "-", "-e", &nobody()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"{\"stream\": \"s\"}\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("line 1") && stderr.contains("`type`"), "{stderr}");
}

#[test]
fn as_a_plugin_of_kubectl_it_goes_by_that_name() {
    let folder = std::env::temp_dir().join(format!("reckon-plugin-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let plugin = folder.join("kubectl-reckon");
    symlink(env!("CARGO_BIN_EXE_reckon"), &plugin).unwrap();
    let (code, stdout, _) = ended(Command::new(&plugin).arg("--help"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(code, 0);
    assert!(stdout.contains("Usage: kubectl reckon "), "{stdout}");
}

#[test]
fn its_version_is_the_workspaces() {
    let (code, stdout, _) = ended(reckon().arg("--version"));
    assert_eq!((code, stdout), (0, format!("reckon {}\n", env!("CARGO_PKG_VERSION"))));
}
