//! What others put into a folder, by accident or not: it is told or ignored, and stops nothing.

use std::fs::{self, File};
use std::path::Path;

use dmls_client::{FolderError, Name, Place, Transport, Why};

use crate::common::{GROUP, LIMIT, arrived, fault, folder, parcel, path, publish, put, texts};

/// Each is told, and the parcel beside it arrives.
#[test]
fn what_is_foreign() {
    let (_directory, mut folder) = folder();
    let whole = publish(&mut folder, GROUP, "whole");
    let shard = whole.parent().unwrap();
    let place = shard.parent().unwrap();
    let name = whole.file_name().unwrap().to_str().unwrap();
    let other = parcel(GROUP, "other").name().to_string();
    let mut expected = Vec::new();

    // The content fits each name as far as that goes: only the name is wrong.
    for file in [
        format!("{name}.sync-conflict-20260101-120000-ABCDEFG"),
        format!("{name} (Anna's conflicted copy 2026-01-01)"),
        format!("{name}-DESKTOP"),
        name.to_uppercase(),
        name[..63].to_owned(),
        format!("{name}0"),
        "notes.txt".to_owned(),
    ] {
        put(&shard.join(&file), b"whole");
        expected.push(fault(&shard.join(file), Why::Foreign));
    }
    // In another's shard.
    assert_ne!(other[..2], name[..2]);
    put(&shard.join(&other), b"other");
    expected.push(fault(&shard.join(&other), Why::Foreign));
    // Directories, also with a name of ours.
    let inside = Name([whole_byte(name); 32]).to_string();
    for directory in ["deeper", &inside] {
        put(&shard.join(directory).join("file"), b"whole");
        expected.push(fault(&shard.join(directory), Why::Foreign));
    }
    // Where a shard belongs.
    for (directory, content) in [("ABC", name), ("zz", name)] {
        put(&place.join(directory).join(content), b"whole");
        expected.push(fault(&place.join(directory), Why::Foreign));
    }
    put(&place.join("00"), b"a file");
    expected.push(fault(&place.join("00"), Why::Foreign));

    expected.sort();
    let (all, faults) = arrived(&mut folder, GROUP);
    assert_eq!(faults, expected);
    assert!(all.into_values().eq([b"whole"]));
    assert_eq!(arrived(&mut folder, GROUP).1, expected, "the same each time");
    assert_eq!(folder.statistics().unwrap().faults, expected);
}

fn whole_byte(name: &str) -> u8 {
    u8::from_str_radix(&name[..2], 16).unwrap()
}

#[test]
fn nobody_hears_of_what_systems_leave() {
    let (_directory, mut folder) = folder();
    let whole = publish(&mut folder, GROUP, "whole");
    let shard = whole.parent().unwrap();
    let root = folder.root().to_owned();
    for directory in [shard, shard.parent().unwrap(), &root.join("groups"), &root.join("tmp"), &root] {
        for file in
            [".DS_Store", "desktop.ini", "Thumbs.db", ".syncthing.abc.tmp", "._x", ".gitignore", ".nfs01"]
        {
            put(&directory.join(file), b"whatever");
        }
        fs::create_dir_all(directory.join(".stversions/ab")).unwrap();
        fs::create_dir_all(directory.join(".git")).unwrap();
    }
    assert_eq!(texts(&mut folder, GROUP), ["whole"]);
    let statistics = folder.statistics().unwrap();
    assert_eq!(statistics.faults, []);
    assert_eq!(statistics.temporary.files, 0);
}

#[test]
fn damaged_empty_and_large() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "whole");
    let root = folder.root().to_owned();
    let damaged = path(&root, &parcel(GROUP, "one"));
    let empty = path(&root, &parcel(GROUP, "two"));
    let large = parcel(GROUP, &"x".repeat(LIMIT + 1));
    let large_path = path(&root, &large);
    put(&damaged, b"onE");
    put(&empty, b"");
    put(&large_path, &large.bytes);
    let mut expected =
        vec![fault(&damaged, Why::Damaged), fault(&empty, Why::Empty), fault(&large_path, Why::TooLarge)];
    expected.sort();
    let (all, faults) = arrived(&mut folder, GROUP);
    assert_eq!(faults, expected);
    assert!(all.into_values().eq([b"whole"]));

    // Without reading, damage is not seen.
    let statistics = folder.statistics().unwrap();
    expected.retain(|fault| fault.why != Why::Damaged);
    assert_eq!(statistics.faults, expected);
    assert_eq!(statistics.places[&GROUP].files, 4);
    assert_eq!(statistics.places[&GROUP].bytes, "whole".len() as u64 + 3 + LIMIT as u64 + 1);
    assert_eq!(statistics.places[&Place::People].files, 0);
}

/// A file of a terabyte that takes no room. That it is not read is tested where it is read.
#[test]
fn huge() {
    let (_directory, mut folder) = folder();
    publish(&mut folder, GROUP, "whole");
    let path = path(folder.root(), &parcel(GROUP, "huge"));
    put(&path, b"");
    if File::options().write(true).open(&path).unwrap().set_len(1 << 40).is_err() {
        eprintln!("SKIPPED: no such files here");
        return;
    }
    let (all, faults) = arrived(&mut folder, GROUP);
    assert_eq!(faults, [fault(&path, Why::TooLarge)]);
    assert_eq!(all.len(), 1);
}

/// Garbage fills the folder, not our memory.
#[test]
fn faults_have_an_end() {
    let (_directory, mut folder) = folder();
    let whole = publish(&mut folder, GROUP, "whole");
    for i in 0..1_100 {
        put(&whole.with_file_name(format!("garbage {i}")), b"");
    }
    let (all, faults) = arrived(&mut folder, GROUP);
    assert_eq!((all.len(), faults.len()), (1, 1_000));
    assert_eq!(folder.statistics().unwrap().faults.len(), 1_000);
}

/// Something else stands where we would write.
#[test]
fn in_the_way() {
    let (_directory, mut folder) = folder();
    let new = parcel(GROUP, "new");
    let path = path(folder.root(), &new);
    let in_the_way = |result: Result<(), FolderError>, path: &Path| {
        assert!(matches!(&result, Err(FolderError::InTheWay(is)) if is == path), "{result:?}");
    };

    fs::create_dir_all(path.join("full")).unwrap();
    in_the_way(folder.publish(&new), &path);
    assert_eq!(folder.statistics().unwrap().temporary.files, 0, "nothing is left of the try");
    fs::remove_dir_all(&path).unwrap();

    let shard = path.parent().unwrap();
    fs::remove_dir(shard).unwrap();
    fs::write(shard, "").unwrap();
    in_the_way(folder.publish(&new), shard);
    in_the_way(folder.remove(GROUP, &new.name()), shard);

    let people = folder.root().join("people");
    fs::write(&people, "").unwrap();
    in_the_way(folder.publish(&parcel(Place::People, "anna")), &people);
    assert_eq!(arrived(&mut folder, Place::People).1, [fault(&people, Why::Foreign)]);
}

/// Links that lead out of the folder, at each step of the way. What is outside is named and shaped as ours would be, so
/// only the link is wrong.
#[cfg(unix)]
mod links {
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[test]
    fn are_not_followed() {
        let content = parcel(GROUP, "outside");
        let (_outside, mut elsewhere) = folder();
        elsewhere.publish(&content).unwrap();
        let target = path(elsewhere.root(), &content);

        for depth in 0..=3 {
            let (_directory, mut folder) = folder();
            // The file, its shard, the group, all groups.
            let link = path(folder.root(), &content).ancestors().nth(depth).unwrap().to_owned();
            fs::create_dir_all(link.parent().unwrap()).unwrap();
            symlink(target.ancestors().nth(depth).unwrap(), &link).unwrap();

            let (all, faults) = arrived(&mut folder, GROUP);
            assert!(all.is_empty(), "{depth}");
            assert_eq!(faults, [fault(&link, Why::Foreign)]);
            assert_eq!(folder.statistics().unwrap().faults, [fault(&link, Why::Foreign)]);

            // A link at the last step goes, or is replaced by the parcel; one before it is in the way.
            if depth == 0 {
                folder.publish(&content).unwrap();
                assert!(fs::symlink_metadata(&link).unwrap().is_file());
                fs::remove_file(&link).unwrap();
                symlink(&target, &link).unwrap();
                folder.remove(GROUP, &content.name()).unwrap();
                assert!(fs::symlink_metadata(&link).is_err());
            } else {
                for result in [folder.publish(&content), folder.remove(GROUP, &content.name())] {
                    assert!(
                        matches!(&result, Err(FolderError::InTheWay(path)) if *path == link),
                        "{result:?}"
                    );
                }
            }
            folder.sweep(crate::common::modified(&target) + 3 * crate::common::DAY).unwrap();
            assert_eq!(texts(&mut elsewhere, GROUP), ["outside"], "nothing happened there");
            assert_eq!(crate::common::files(elsewhere.root()).len(), 1);
        }
    }

    #[test]
    fn the_root_is_no_link() {
        let (outside, _elsewhere) = folder();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("dmls-1");
        symlink(outside.path().join("dmls-1"), &root).unwrap();
        for result in [
            dmls_client::Folder::open(directory.path(), LIMIT),
            dmls_client::Folder::create(directory.path(), LIMIT),
        ] {
            assert!(matches!(&result, Err(FolderError::InTheWay(path)) if *path == root), "{result:?}");
        }
    }

    /// What a person chooses may be one: sticks and shares are often reached by a link.
    #[test]
    fn the_directory_that_was_chosen_may_be_one() {
        let (directory, mut direct) = folder();
        let elsewhere = tempfile::tempdir().unwrap();
        let link = elsewhere.path().join("stick");
        symlink(directory.path(), &link).unwrap();
        publish(&mut dmls_client::Folder::open(&link, LIMIT).unwrap(), GROUP, "hello");
        assert_eq!(texts(&mut direct, GROUP), ["hello"]);
    }

    /// Files that are being written are made inside, and old ones are removed inside.
    #[test]
    fn the_place_for_writing_is_no_link() {
        let outside = tempfile::tempdir().unwrap();
        let victim = outside.path().join("~syncthing~dmls-1-1.tmp");
        fs::write(&victim, "").unwrap();
        let (_directory, mut folder) = folder();
        let temporary = folder.root().join("tmp");
        symlink(outside.path(), &temporary).unwrap();

        for result in [folder.publish(&parcel(GROUP, "new")), folder.try_writing()] {
            assert!(matches!(&result, Err(FolderError::InTheWay(path)) if *path == temporary), "{result:?}");
        }
        folder.sweep(crate::common::modified(&victim) + 3 * crate::common::DAY).unwrap();
        assert!(victim.exists());
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1);

        // A link inside of it goes nowhere either.
        fs::remove_file(&temporary).unwrap();
        fs::create_dir(&temporary).unwrap();
        symlink(&victim, temporary.join("~syncthing~dmls-1-2.tmp")).unwrap();
        folder.sweep(crate::common::modified(&victim) + 3 * crate::common::DAY).unwrap();
        assert!(victim.exists());
        assert_eq!(folder.statistics().unwrap().temporary.files, 0);
    }

    /// A file that is exchanged for a link between the moment it is looked at and the moment it is opened.
    #[test]
    fn exchanged_for_a_link() {
        let (_directory, mut folder) = folder();
        let content = parcel(GROUP, "outside");
        let path = path(folder.root(), &content);
        let outside = tempfile::tempdir().unwrap();
        let (target, next) = (outside.path().join("target"), folder.root().join("next"));
        fs::write(&target, "outside").unwrap();
        put(&path, b"within!");

        let done = AtomicBool::new(false);
        std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    symlink(&target, &next).unwrap();
                    fs::rename(&next, &path).unwrap();
                    fs::write(&next, "within!").unwrap();
                    fs::rename(&next, &path).unwrap();
                }
            });
            let read: usize = (0..20_000).map(|_| arrived(&mut folder, GROUP).0.len()).sum();
            done.store(true, Ordering::Relaxed);
            assert_eq!(read, 0, "it was read by the link");
        });
    }

    /// Reading from a pipe would wait for ever.
    #[test]
    fn a_pipe_is_not_opened() {
        let (_directory, mut folder) = folder();
        publish(&mut folder, GROUP, "whole");
        let pipe = path(folder.root(), &parcel(GROUP, "pipe"));
        fs::create_dir_all(pipe.parent().unwrap()).unwrap();
        if !std::process::Command::new("mkfifo").arg(&pipe).status().is_ok_and(|status| status.success()) {
            eprintln!("SKIPPED: no mkfifo here");
            return;
        }
        let (all, faults) = arrived(&mut folder, GROUP);
        assert_eq!(all.len(), 1);
        assert_eq!(faults, [fault(&pipe, Why::Foreign)]);
        publish(&mut folder, GROUP, "pipe");
        assert_eq!(texts(&mut folder, GROUP), ["pipe", "whole"]);
    }

    /// For root there is nothing that can't be read.
    #[test]
    fn unreadable() {
        use std::os::unix::fs::PermissionsExt;

        let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let (_directory, mut folder) = folder();
        publish(&mut folder, GROUP, "whole");
        let secret = publish(&mut folder, GROUP, "secret");
        mode(&secret, 0o000);
        if File::open(&secret).is_ok() {
            eprintln!("SKIPPED: root may do anything");
            return;
        }
        let (all, faults) = arrived(&mut folder, GROUP);
        assert!(all.into_values().eq([b"whole"]));
        assert_eq!(faults, [fault(&secret, Why::Unreadable)]);

        let shard = secret.parent().unwrap();
        assert!(!path(folder.root(), &parcel(GROUP, "whole")).starts_with(shard));
        mode(shard, 0o000);
        let (all, faults) = arrived(&mut folder, GROUP);
        assert!(all.into_values().eq([b"whole"]));
        assert_eq!(faults, [fault(shard, Why::Unreadable)]);
        mode(shard, 0o700);
    }
}
