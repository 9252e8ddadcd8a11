//! The promises of [`Disk`] that can be seen without pulling the plug.

use std::path::{Path, PathBuf};

use super::expect_kind;
use crate::engine::local::disk::{Disk, DiskFile, LOCK_FILE};
use crate::error::{ErrorKind, Result};

/// A promise, as a function of a disk and of a folder on it that exists and holds nothing of the same name as the
/// function.
pub type Check = fn(&dyn Disk, &Path) -> Result<()>;

list! { Check:
    a_folder_may_be_created_twice,
    a_file_is_created_once_and_starts_empty,
    what_does_not_exist_is_not_found,
    a_file_opened_for_reading_is_not_written,
    bytes_are_read_back_where_they_were_written,
    other_handles_see_what_was_written,
    names_are_listed_in_order,
    a_rename_replaces_the_file_at_its_target,
    removing_what_is_absent_is_no_error,
    a_folder_is_removed_with_all_that_is_in_it,
    files_and_folders_can_be_synced,
    a_lock_is_held_by_one_and_its_file_stays,
}

fn sub(disk: &dyn Disk, folder: &Path, name: &str) -> Result<PathBuf> {
    let folder = folder.join(name);
    disk.create_dir(&folder)?;
    Ok(folder)
}

fn read(file: &dyn DiskFile) -> Result<Vec<u8>> {
    let mut bytes = vec![0; file.len()? as usize];
    assert_eq!(file.read_at(0, &mut bytes)?, bytes.len());
    Ok(bytes)
}

fn write_file(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<()> {
    let file = disk.create(path)?;
    file.write_at(0, bytes)?;
    file.sync_data()
}

/// The second creation is no error and keeps what is inside; a missing parent is an error.
pub fn a_folder_may_be_created_twice(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "a_folder_may_be_created_twice")?;
    disk.create(&folder.join("file"))?;
    disk.create_dir(&folder)?;
    assert_eq!(disk.list(&folder)?, ["file"]);
    expect_kind(disk.create_dir(&folder.join("absent/inner")), ErrorKind::Unavailable, "folder in an absent one");
    expect_kind(disk.create_dir(&folder.join("file")), ErrorKind::Unavailable, "folder over a file");
    Ok(())
}

/// The second creation is `AlreadyExists` and leaves the file alone.
pub fn a_file_is_created_once_and_starts_empty(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let path = sub(disk, folder, "a_file_is_created_once_and_starts_empty")?.join("file");
    let file = disk.create(&path)?;
    assert!(file.is_empty()?);
    file.write_at(0, b"x")?;
    expect_kind(disk.create(&path), ErrorKind::AlreadyExists, "second creation");
    assert_eq!(read(&*disk.open(&path, false)?)?, b"x");
    Ok(())
}

/// For `open`, `list` and `rename`.
pub fn what_does_not_exist_is_not_found(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let absent = folder.join("what_does_not_exist");
    expect_kind(disk.open(&absent, false), ErrorKind::NotFound, "open for reading");
    expect_kind(disk.open(&absent, true), ErrorKind::NotFound, "open for writing");
    expect_kind(disk.list(&absent), ErrorKind::NotFound, "list");
    expect_kind(disk.rename(&absent, &folder.join("target")), ErrorKind::NotFound, "rename");
    expect_kind(disk.create(&absent.join("file")), ErrorKind::Unavailable, "create in an absent folder");
    Ok(())
}

/// A handle without `write` refuses.
pub fn a_file_opened_for_reading_is_not_written(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let path = sub(disk, folder, "a_file_opened_for_reading_is_not_written")?.join("file");
    write_file(disk, &path, b"kept")?;
    let file = disk.open(&path, false)?;
    expect_kind(file.write_at(0, b"lost"), ErrorKind::Unavailable, "write");
    assert_eq!(read(&*file)?, b"kept");
    Ok(())
}

/// Also past the end, where what lies between is zero, and across it, where a read is short.
pub fn bytes_are_read_back_where_they_were_written(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let path = sub(disk, folder, "bytes_are_read_back_where_they_were_written")?.join("file");
    let file = disk.create(&path)?;
    file.write_at(0, b"abcdef")?;
    file.write_at(2, b"XY")?;
    file.write_at(9, b"z")?;
    assert_eq!(read(&*file)?, b"abXYef\0\0\0z");
    let mut buffer = [b'.'; 4];
    assert_eq!(file.read_at(8, &mut buffer)?, 2);
    assert_eq!(&buffer, b"\0z..");
    assert_eq!(file.read_at(10, &mut buffer)?, 0);
    assert_eq!(file.read_at(1 << 40, &mut buffer)?, 0);
    assert_eq!(file.read_at(0, &mut [])?, 0);
    Ok(())
}

/// Two handles are of one file.
pub fn other_handles_see_what_was_written(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let path = sub(disk, folder, "other_handles_see_what_was_written")?.join("file");
    let (first, second) = (disk.create(&path)?, disk.open(&path, true)?);
    first.write_at(0, b"ab")?;
    second.write_at(1, b"c")?;
    assert_eq!((read(&*first)?, read(&*second)?), (b"ac".to_vec(), b"ac".to_vec()));
    Ok(())
}

/// Files and folders, sorted.
pub fn names_are_listed_in_order(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "names_are_listed_in_order")?;
    assert_eq!(disk.list(&folder)?, Vec::<String>::new());
    for name in ["10", "2", "1"] {
        disk.create(&folder.join(name))?;
    }
    disk.create_dir(&folder.join("15"))?;
    assert_eq!(disk.list(&folder)?, ["1", "10", "15", "2"]);
    Ok(())
}

/// In one step: the old name is gone, the target is the new file.
pub fn a_rename_replaces_the_file_at_its_target(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "a_rename_replaces_the_file_at_its_target")?;
    let (from, to) = (folder.join("from"), folder.join("to"));
    write_file(disk, &from, b"new")?;
    write_file(disk, &to, b"old")?;
    disk.rename(&from, &to)?;
    disk.sync_dir(&folder)?;
    assert_eq!(disk.list(&folder)?, ["to"]);
    assert_eq!(read(&*disk.open(&to, false)?)?, b"new");
    disk.rename(&to, &from)?;
    assert_eq!(disk.list(&folder)?, ["from"]);
    Ok(())
}

/// For files and for folders.
pub fn removing_what_is_absent_is_no_error(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "removing_what_is_absent_is_no_error")?;
    disk.create(&folder.join("file"))?;
    for _ in 0..2 {
        disk.remove(&folder.join("file"))?;
        disk.remove_dir_all(&folder.join("folder"))?;
    }
    assert_eq!(disk.list(&folder)?, Vec::<String>::new());
    Ok(())
}

/// Folders inside it too; its neighbours stay.
pub fn a_folder_is_removed_with_all_that_is_in_it(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "a_folder_is_removed_with_all_that_is_in_it")?;
    let (gone, kept) = (sub(disk, &folder, "gone")?, sub(disk, &folder, "kept")?);
    disk.create(&sub(disk, &gone, "inner")?.join("file"))?;
    disk.create(&gone.join("file"))?;
    disk.create(&kept.join("file"))?;
    expect_kind(disk.remove(&gone), ErrorKind::Unavailable, "removing a folder as a file");
    disk.remove_dir_all(&gone)?;
    assert_eq!(disk.list(&folder)?, ["kept"]);
    expect_kind(disk.list(&gone), ErrorKind::NotFound, "list of a removed folder");
    assert_eq!(disk.list(&kept)?, ["file"]);
    Ok(())
}

/// Syncs answer; that of an absent folder is an error.
pub fn files_and_folders_can_be_synced(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "files_and_folders_can_be_synced")?;
    write_file(disk, &folder.join("file"), b"x")?;
    disk.open(&folder.join("file"), true)?.sync_data()?;
    disk.sync_dir(&folder)?;
    expect_kind(disk.sync_dir(&folder.join("absent")), ErrorKind::Unavailable, "sync of an absent folder");
    Ok(())
}

/// The second opener is told the folder; a dropped guard frees it.
pub fn a_lock_is_held_by_one_and_its_file_stays(disk: &dyn Disk, folder: &Path) -> Result<()> {
    let folder = sub(disk, folder, "a_lock_is_held_by_one_and_its_file_stays")?;
    for _ in 0..2 {
        let guard = disk.lock(&folder)?;
        match disk.lock(&folder) {
            Ok(_) => panic!("two hold the lock of {}", folder.display()),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                assert!(error.to_string().contains(&*folder.to_string_lossy()), "names no folder: {error}");
            }
        }
        drop(guard);
        assert_eq!(disk.list(&folder)?, [LOCK_FILE]);
    }
    expect_kind(disk.lock(&folder.join("absent")), ErrorKind::Unavailable, "lock of an absent folder");
    Ok(())
}
