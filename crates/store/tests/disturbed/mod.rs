//! Processes of a test that `interpose.c` disturbs: it stands between them and their files. For the tests of the store and of the client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// A directory in memory where there is one: thousands of files are written, and nothing is to be kept.
pub fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

/// Every how many calls one is tried.
pub fn stride(default: usize) -> usize {
    std::env::var("DMLS_CRASH_STRIDE").map_or(default, |stride| stride.parse().unwrap())
}

/// The library for LD_PRELOAD, or none without a C compiler.
pub fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<(tempfile::TempDir, PathBuf)>> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let directory = scratch();
        let library = directory.path().join("interpose.so");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../store/tests/interpose.c");
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
        let arguments = ["-shared", "-fPIC", "-O1", "-o"];
        let compiled = Command::new(compiler).args(arguments).arg(&library).args([source, "-ldl"]).status();
        compiled.ok().filter(|status| status.success()).map(|_| (directory, library))
    });
    if library.is_none() {
        println!("SKIPPED: no C compiler for interpose.c");
    }
    library.as_ref().map(|(_, library)| library.as_path())
}

/// Runs the script in a process of its own, in a directory, with calls disturbed.
pub fn run_disturbed(library: &Path, directory: &Path, settings: &[(&str, String)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "the_process", "--nocapture", "--test-threads=1"]);
    command.env("LD_PRELOAD", library).env("INTERPOSE_DIR", directory).env("DMLS_CRASH_DIRECTORY", directory);
    command.envs(settings.iter().map(|(name, value)| (name, value)));
    command.output().unwrap()
}

/// How many calls the process made, if it came to an end.
pub fn interposed(output: &Output) -> usize {
    let errors = String::from_utf8_lossy(&output.stderr);
    let line = errors.lines().find_map(|line| line.strip_prefix("interposed "));
    line.unwrap_or_else(|| panic!("{errors}")).parse().unwrap()
}
