//! What is said when there is no folder, or nothing can be written in it.

use std::fs;
use std::path::Path;

use dmls_client::{Folder, FolderError, Name, Place, Transport};

use crate::common::{LIMIT, PLACES, files, folder, parcel, publish, texts};

#[test]
fn a_missing_directory_is_not_made() {
    let (directory, _) = folder();
    let missing = directory.path().join("stick");
    for result in [Folder::create(&missing, LIMIT), Folder::open(&missing, LIMIT)] {
        assert!(matches!(result, Err(FolderError::NotFound(path)) if path == missing));
    }
    assert!(!missing.exists());
    assert!(matches!(Folder::open(Path::new(""), LIMIT), Err(FolderError::NotFound(_))));
}

#[test]
fn a_file_is_no_directory() {
    let (directory, _) = folder();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("inside")] {
        for result in [Folder::create(&path, LIMIT), Folder::open(&path, LIMIT)] {
            assert!(matches!(result, Err(FolderError::NotADirectory(_))), "{result:?}");
        }
    }
}

/// A stick that is not mounted is an empty directory: that must not pass as an empty folder.
#[test]
fn an_empty_directory_is_no_folder() {
    let directory = tempfile::tempdir().unwrap();
    let result = Folder::open(directory.path(), LIMIT);
    assert!(matches!(result, Err(FolderError::NoFolder(path)) if path == directory.path()));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "looking makes nothing");
}

/// The same while it is used: what is published then would reach nobody.
#[test]
fn the_folder_goes_away() {
    let (directory, mut folder) = folder();
    publish(&mut folder, Place::People, "anna");
    fs::remove_dir_all(folder.root()).unwrap();

    let no_folder = |result: Result<(), FolderError>| {
        assert!(matches!(result, Err(FolderError::NoFolder(path)) if path == directory.path()));
    };
    let name = Name([0; 32]);
    no_folder(folder.publish(&parcel(Place::People, "bert")));
    no_folder(folder.remove(Place::People, &name));
    no_folder(folder.arrived(Place::People, &|_| false, &mut |_, _| unreachable!()).map(drop));
    no_folder(folder.statistics().map(drop));
    no_folder(folder.sweep(std::time::UNIX_EPOCH).map(drop));
    no_folder(folder.try_writing());
    assert!(!folder.root().exists());

    fs::remove_dir(directory.path()).unwrap();
    let result = folder.publish(&parcel(Place::People, "bert"));
    assert!(matches!(result, Err(FolderError::NotFound(path)) if path == directory.path()));
}

#[test]
fn a_folder_is_made_once() {
    let (directory, mut first) = folder();
    publish(&mut first, Place::People, "anna");
    let mut second = Folder::create(directory.path(), LIMIT).unwrap();
    assert_eq!(texts(&mut second, Place::People), ["anna"]);
    let mut third = Folder::open(directory.path(), LIMIT).unwrap();
    assert_eq!(texts(&mut third, Place::People), ["anna"]);
}

/// It shares its directory with other things, also with folders of later formats.
#[test]
fn others_live_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    for path in ["dmls-2/people/ab", "dmls-1x", ".stfolder", "photos"] {
        fs::create_dir_all(directory.path().join(path)).unwrap();
    }
    fs::write(directory.path().join("dmls-2/people/ab/later"), "later").unwrap();
    fs::write(directory.path().join("photos/1.jpg"), "photo").unwrap();
    assert!(matches!(Folder::open(directory.path(), LIMIT), Err(FolderError::NoFolder(_))));
    let before = files(directory.path());

    let mut folder = Folder::create(directory.path(), LIMIT).unwrap();
    fs::create_dir_all(folder.root().join("rooms/ab")).unwrap();
    for place in PLACES {
        assert_eq!(texts(&mut folder, place), [""; 0]);
    }
    assert_eq!(folder.statistics().unwrap().faults, []);
    let path = publish(&mut folder, Place::People, "anna");
    fs::remove_file(path).unwrap();
    assert_eq!(files(directory.path()), before);
}

#[test]
fn sizes() {
    let (directory, mut folder) = folder();
    let largest = "x".repeat(LIMIT);
    publish(&mut folder, Place::People, &largest);
    assert!(texts(&mut folder, Place::People).iter().eq([&largest]));

    let before = files(directory.path());
    for content in [String::new(), largest + "x"] {
        let result = folder.publish(&parcel(Place::People, &content));
        assert!(
            matches!(result, Err(FolderError::Size { size, limit: LIMIT }) if size == content.len()),
            "{result:?}"
        );
    }
    assert_eq!(files(directory.path()), before);
}

#[test]
fn trying_leaves_nothing() {
    let (directory, folder) = folder();
    folder.try_writing().unwrap();
    assert!(files(directory.path()).is_empty());
}

/// For root there is nothing that is not permitted.
#[cfg(unix)]
#[test]
fn no_permission() {
    use std::os::unix::fs::PermissionsExt;

    let (directory, mut folder) = folder();
    publish(&mut folder, Place::People, "anna");
    let probe = directory.path().join("probe");
    fs::create_dir(&probe).unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    mode(&probe, 0o000);
    let is_root = fs::read_dir(&probe).is_ok();
    mode(&probe, 0o700);
    if is_root {
        eprintln!("SKIPPED: root may do anything");
        return;
    }

    let temporary = folder.root().join("tmp");
    mode(&temporary, 0o500);
    for result in [folder.try_writing(), folder.publish(&parcel(Place::People, "bert"))] {
        assert!(
            matches!(&result, Err(FolderError::Denied(path)) if path.starts_with(&temporary)),
            "{result:?}"
        );
    }
    folder.publish(&parcel(Place::People, "anna")).unwrap();
    assert_eq!(texts(&mut folder, Place::People), ["anna"], "what is there can be read");
    mode(&temporary, 0o700);

    mode(directory.path(), 0o000);
    assert!(matches!(Folder::open(directory.path(), LIMIT), Err(FolderError::Denied(_))));
    mode(directory.path(), 0o700);
}
