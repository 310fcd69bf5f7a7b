//! The key of a profile in a real keyring: GNOME Keyring in a D-Bus session of the test's own. Without the two programs
//! (`dbus-run-session`, `gnome-keyring-daemon`) it says `SKIPPED`.

#![cfg(all(feature = "keyring", target_os = "linux"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// All that there is in a session, in one script: what fails ends it.
const SCRIPT: &str = r#"
unlocked() { printf secret | gnome-keyring-daemon --unlock --components=secrets --foreground >daemon.log 2>&1 & daemon=$!; sleep 1; }
dmls() { "$DMLS" --profile "$profile" "$@"; }
profile=alice
if ! unlocked || ! kill -0 $daemon; then echo unusable; exit 0; fi

echo "== init"; dmls init --name Alice --folder shared --keyring --json
echo "== use"; dmls group create friends; dmls doctor
echo "== export"; dmls export file --phrase-file slip
ls alice
echo "== import"; profile=new; dmls import file --phrase-file slip --keyring
dmls group list
echo "== stopped"; kill $daemon; wait $daemon || true; dmls heads || echo "code $?"
echo "== started again"; unlocked; dmls heads
echo "== locked"; dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
  org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >/dev/null
timeout 20 "$DMLS" --profile new heads || echo "code $?"
echo "== deleted"; kill $daemon; wait $daemon || true; rm -r "$XDG_DATA_HOME/keyrings"; unlocked; dmls heads || echo "code $?"
kill $daemon
"#;

fn session(home: &Path) -> Option<Output> {
    for program in ["dbus-run-session", "gnome-keyring-daemon"] {
        if Command::new(program).arg("--version").output().is_err() {
            println!("SKIPPED: no {program}");
            return None;
        }
    }
    fs::create_dir(home.join("run")).unwrap();
    let mut permissions = fs::metadata(home.join("run")).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o700);
    fs::set_permissions(home.join("run"), permissions).unwrap();
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "-e", "-c", SCRIPT]).current_dir(home).env("DMLS", env!("CARGO_BIN_EXE_dmls"));
    command
        .env("HOME", home)
        .env("XDG_DATA_HOME", home.join("data"))
        .env("XDG_RUNTIME_DIR", home.join("run"));
    command
        .env_remove("DMLS_PROFILE")
        .env_remove("DMLS_PASSPHRASE_FILE")
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY");
    Some(command.output().unwrap())
}

#[test]
fn a_keyring_keeps_the_key() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("shared")).unwrap();
    let Some(output) = session(home.path()) else { return };
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if out.starts_with("unusable") {
        return println!("SKIPPED: gnome-keyring-daemon does not start");
    }
    let part = |title: &str| {
        let part =
            out.split(&format!("== {title}\n")).nth(1).unwrap_or_else(|| panic!("no {title}: {out}{err}"));
        part.split("== ").next().unwrap().trim_end()
    };
    let told = |text: &str| assert!(err.contains(text), "{text}: {err}");
    assert!(part("init").ends_with("\"key\":\"keyring\"}"), "{out}");
    assert!(part("use").starts_with("You created friends.") && !part("use").contains("passphrase"), "{out}");
    // Neither a key nor the name of one is left.
    assert!(part("export").ends_with("left here.\nlock\nprofile.db\nseen"), "{out}");
    assert!(
        part("import").contains("The keyring of this computer has the key")
            && part("import").ends_with("friends: Alice"),
        "{out}"
    );
    assert_eq!(part("stopped"), "code 1");
    told("the keyring does not answer");
    assert!(part("started again").starts_with("friends: epoch 0"), "{out}");
    assert_eq!(part("locked"), "code 1");
    told("the keyring is locked");
    assert_eq!(part("deleted"), "code 1");
    told("the keyring has no entry");
}
