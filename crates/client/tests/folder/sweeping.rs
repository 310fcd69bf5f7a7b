//! What is left by processes that ended, and what goes when.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use dmls_client::{Folder, Place, Swept, Transport};

use crate::common::{DAY, GROUP, LIMIT, files, folder, modified, parcel, path, publish, put, texts};

#[test]
fn left_over_files_go_after_a_day() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "whole");
    let left = folder.root().join("tmp/~syncthing~dmls-4711-0.tmp");
    put(&left, b"who");
    let written = modified(&left);
    assert_eq!(folder.statistics().unwrap().temporary.files, 1);
    assert_eq!(texts(&mut folder, GROUP), ["whole"], "nobody takes it for a parcel");

    let swept = |temporary| Swept { temporary, directories: 0 };
    assert_eq!(folder.sweep(written + DAY).unwrap(), swept(0));
    assert_eq!(folder.sweep(written - DAY).unwrap(), swept(0), "its time is in the future");
    assert_eq!(folder.sweep(SystemTime::UNIX_EPOCH).unwrap(), swept(0));
    assert!(left.exists());
    assert_eq!(folder.sweep(written + DAY + Duration::from_secs(1)).unwrap(), swept(1));
    assert!(!left.exists());
    assert_eq!(texts(&mut folder, GROUP), ["whole"], "parcels stay, however old");
}

/// What others have in that directory is theirs.
#[test]
fn other_files_stay() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "whole");
    let temporary = folder.root().join("tmp");
    for file in ["~syncthing~other.tmp", ".syncthing.x.tmp", "notes.txt", "~syncthing~dmls-1-1"] {
        put(&temporary.join(file), b"");
    }
    fs::create_dir(temporary.join("~syncthing~dmls-1-2.tmp")).unwrap();
    let before = files(folder.root());
    let now = modified(&temporary) + 3 * DAY;
    assert_eq!(folder.sweep(now).unwrap(), Swept::default());
    assert_eq!(files(folder.root()), before);
}

/// A crashed process had the name that we would take next.
#[test]
fn a_left_over_name_is_not_used_again() {
    let (_directory, mut folder) = folder();
    let temporary = folder.root().join("tmp");
    fs::create_dir(&temporary).unwrap();
    for counter in 0..10_000 {
        let path = temporary.join(format!("~syncthing~dmls-{}-{counter}.tmp", std::process::id()));
        fs::write(path, b"left").unwrap();
    }
    publish(&mut folder, GROUP, "whole");
    assert_eq!(texts(&mut folder, GROUP), ["whole"]);
    let left = files(&temporary);
    assert_eq!(left.len(), 10_000);
    assert!(left.values().all(|content| content == b"left"));
}

/// Directories that became empty go, so that groups that ended leave nothing; but not at once, others may write there.
#[test]
fn empty_directories_go_after_a_day() {
    let (_directory, mut folder) = folder();
    let shard = publish(&mut folder, GROUP, "gone").parent().unwrap().to_owned();
    let group = shard.parent().unwrap();
    publish(&mut folder, Place::People, "stays");
    folder.remove(GROUP, &parcel(GROUP, "gone").name()).unwrap();

    let emptied = modified(&shard);
    assert_eq!(folder.sweep(emptied + DAY).unwrap(), Swept::default());
    assert!(shard.exists());

    let later = emptied + 2 * DAY;
    assert_eq!(folder.sweep(later).unwrap().directories, 2, "the shard, and then its group");
    assert!(!group.exists());
    assert_eq!(texts(&mut folder, Place::People), ["stays"]);

    publish(&mut folder, GROUP, "again");
    assert_eq!(texts(&mut folder, GROUP), ["again"]);
}

#[test]
fn full_directories_stay() {
    let (_directory, mut folder) = folder();
    let path = publish(&mut folder, GROUP, "whole");
    let foreign = path.parent().unwrap().with_file_name("00");
    put(&foreign.join("foreign"), b"");
    let now = modified(&path) + 9 * DAY;
    assert_eq!(folder.sweep(now).unwrap(), Swept::default());
    assert!(path.exists() && foreign.join("foreign").exists());
}

/// Who publishes while another sweeps with a clock that is far ahead writes it again.
#[test]
fn publishing_while_sweeping() {
    let (directory, mut folder) = folder();
    let far = modified(folder.root()) + 1_000 * DAY;
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let sweeper = threads.spawn(|| {
            let mut folder = Folder::open(directory.path(), LIMIT).unwrap();
            let mut swept = Swept::default();
            while !done.load(Ordering::Relaxed) {
                let more = folder.sweep(far).unwrap();
                swept.temporary += more.temporary;
                swept.directories += more.directories;
                std::thread::sleep(Duration::from_millis(20));
            }
            swept
        });
        let mut failed = Vec::new();
        for i in 0..300 {
            let content = parcel(GROUP, &format!("message {i}"));
            failed.extend(folder.publish(&content).err());
            assert!(path(folder.root(), &content).exists() || !failed.is_empty());
            folder.remove(GROUP, &content.name()).unwrap();
        }
        done.store(true, Ordering::Relaxed);
        let swept = sweeper.join().unwrap();
        assert!(failed.is_empty(), "{swept:?}, {failed:?}");
        assert!(swept.temporary + swept.directories > 0, "nobody was disturbed");
    });
    assert_eq!(texts(&mut folder, GROUP), [""; 0]);
}
