//! The README's ten lines of folder chat, exactly as they stand there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_ten_lines_of_the_readme_work() {
    let readme = include_str!("../../../README.md");
    let section = readme.split("## Chat over a folder").nth(1).unwrap();
    let script = section.split("```sh\n").nth(1).unwrap().split("```").next().unwrap();
    assert_eq!(script.lines().count(), 10);
    let home = tempfile::tempdir().unwrap();
    let dmls = Path::new(env!("CARGO_BIN_EXE_dmls")).parent().unwrap();
    let path = std::env::join_paths(
        std::iter::once(dmls.to_owned()).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-e", "-c", script]).current_dir(home.path()).env("PATH", path.unwrap());
    let output = shell.env_remove("DMLS_PROFILE").env_remove("DMLS_PASSPHRASE_FILE").output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{err}");
    assert_eq!(err, "");
    assert!(out.contains("Bob: hello Alice"), "{out}");
    assert!(out.contains("Alice: hello Bob"), "{out}");
    assert!(out.contains("you added Bob"), "{out}");
    assert!(out.contains("Alice, Bob"), "{out}");
}
