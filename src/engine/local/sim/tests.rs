//! Each behaviour of the simulated disk, and that it produces every outcome that it says a power cut can have.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

const SEEDS: std::ops::Range<u64> = 0..500;

fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    let file = disk.open(Path::new(path), false).ok()?;
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
    Some(bytes)
}

/// A recording disk with the durable file `/f`, holding `bytes`.
fn with_file(bytes: &[u8]) -> (SimDisk, Box<dyn DiskFile>) {
    let disk = SimDisk::recording();
    let file = disk.create(Path::new("/f")).unwrap();
    file.write_at(0, bytes).unwrap();
    file.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    (disk, file)
}

#[test]
fn synced_bytes_under_a_synced_name_survive_every_power_cut() {
    let (disk, _file) = with_file(b"kept");
    for seed in SEEDS {
        assert_eq!(read(&disk.crash(seed), "/f").unwrap(), b"kept");
    }
}

#[test]
fn synced_bytes_under_an_unsynced_name_are_lost_by_some_power_cuts() {
    let disk = SimDisk::recording();
    let file = disk.create(Path::new("/f")).unwrap();
    file.write_at(0, b"kept").unwrap();
    file.sync_data().unwrap();
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| read(&disk.crash(seed), "/f")).collect();
    assert_eq!(outcomes, BTreeSet::from([None, Some(b"kept".to_vec())]));
}

#[test]
fn an_unsynced_write_is_dropped_kept_torn_or_scattered_and_no_sector_tears() {
    let sectors = 6;
    let (disk, file) = with_file(&vec![1; sectors * SECTOR_BYTES]);
    file.write_at(0, &vec![2; sectors * SECTOR_BYTES]).unwrap();
    let mut outcomes = BTreeSet::new();
    for seed in SEEDS {
        let bytes = read(&disk.crash(seed), "/f").unwrap();
        assert_eq!(bytes.len(), sectors * SECTOR_BYTES);
        let landed: Vec<u8> = bytes
            .chunks(SECTOR_BYTES)
            .map(|sector| {
                assert!(sector.iter().all(|byte| byte == &sector[0]), "a sector tore at seed {seed}");
                sector[0]
            })
            .collect();
        outcomes.insert(landed);
    }
    assert!(outcomes.contains(&vec![1; sectors]), "never dropped");
    assert!(outcomes.contains(&vec![2; sectors]), "never kept");
    assert!(outcomes.contains(&vec![2, 2, 2, 1, 1, 1]), "never torn in the middle");
    assert!(outcomes.iter().any(|landed| landed.windows(2).any(|pair| pair == [1, 2])), "never out of order");
}

#[test]
fn of_two_unsynced_writes_the_later_one_may_land_alone_but_not_within_one_sector() {
    let (disk, file) = with_file(&[0; 2 * SECTOR_BYTES]);
    file.write_at(0, &[1; 10]).unwrap();
    file.write_at(10, &[2; 10]).unwrap();
    file.write_at(SECTOR_BYTES as u64, &[3; 10]).unwrap();
    let outcomes: BTreeSet<_> = SEEDS
        .map(|seed| {
            let bytes = read(&disk.crash(seed), "/f").unwrap();
            (bytes[0], bytes[10], bytes[SECTOR_BYTES])
        })
        .collect();
    assert!(outcomes.contains(&(0, 0, 3)), "the last write never landed alone");
    assert!(outcomes.contains(&(1, 0, 0)), "the first write never landed alone");
    assert!(!outcomes.iter().any(|(first, second, _)| (*first, *second) == (0, 2)), "a sector from no moment");
}

#[test]
fn a_write_that_grows_a_file_may_leave_zeros_in_its_place() {
    let (disk, file) = with_file(b"");
    file.write_at(0, &[7; 4 * SECTOR_BYTES]).unwrap();
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| read(&disk.crash(seed), "/f").unwrap()).collect();
    assert!(outcomes.contains(&Vec::new()));
    assert!(outcomes.contains(&vec![0; 4 * SECTOR_BYTES]));
    assert!(outcomes.contains(&vec![7; 4 * SECTOR_BYTES]));
}

#[test]
fn a_crash_repeats_for_its_seed_and_leaves_the_first_disk_alone() {
    let (disk, file) = with_file(&[0; 64 * SECTOR_BYTES]);
    file.write_at(0, &[1; 64 * SECTOR_BYTES]).unwrap();
    for seed in SEEDS {
        assert_eq!(read(&disk.crash(seed), "/f"), read(&disk.crash(seed), "/f"));
    }
    assert_eq!(read(&disk, "/f").unwrap(), vec![1; 64 * SECTOR_BYTES]);
    let crashed = disk.crash(1);
    file.write_at(0, &[9; SECTOR_BYTES]).unwrap();
    assert_ne!(read(&crashed, "/f").unwrap()[0], 9);
}

#[test]
fn an_unsynced_rename_leaves_the_old_file_or_the_new_one_and_never_neither() {
    let (disk, _old) = with_file(b"old");
    let next = disk.create(Path::new("/next")).unwrap();
    next.write_at(0, b"new").unwrap();
    next.sync_data().unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.rename(Path::new("/next"), Path::new("/f")).unwrap();
    let outcomes: BTreeSet<_> =
        SEEDS.map(|seed| disk.crash(seed)).map(|disk| (read(&disk, "/f"), read(&disk, "/next"))).collect();
    let (old, new) = (Some(b"old".to_vec()), Some(b"new".to_vec()));
    assert_eq!(outcomes, BTreeSet::from([(old, new.clone()), (new.clone(), None)]));
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).all(|disk| read(&disk, "/f") == new));
}

#[test]
fn unsynced_operations_on_different_names_land_in_any_order() {
    let disk = SimDisk::recording();
    for name in ["/a", "/b", "/c"] {
        disk.create(Path::new(name)).unwrap();
    }
    disk.remove(Path::new("/b")).unwrap();
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| disk.crash(seed).list(Path::new("/")).unwrap()).collect();
    let every = ["", "a", "b", "c", "a b", "a c", "b c", "a b c"];
    let every = every.map(|names| names.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(outcomes, BTreeSet::from(every));
}

#[test]
fn a_sync_of_one_folder_says_nothing_about_its_own_name_or_its_neighbours() {
    let disk = SimDisk::recording();
    for folder in ["/kept", "/lost"] {
        disk.create_dir(Path::new(folder)).unwrap();
    }
    disk.create(Path::new("/kept/f")).unwrap();
    disk.create(Path::new("/lost/f")).unwrap();
    disk.sync_dir(Path::new("/kept")).unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).any(|disk| disk.list(Path::new("/kept")).is_err()));
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).all(|disk| read(&disk, "/kept/f").is_some()));
    assert!(SEEDS.map(|seed| disk.crash(seed)).any(|disk| read(&disk, "/lost/f").is_none()));
}

#[test]
fn a_folder_removed_with_all_that_is_in_it_may_come_back_in_part() {
    let disk = SimDisk::recording();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/a")).unwrap();
    disk.create(Path::new("/d/b")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.sync_dir(Path::new("/")).unwrap();
    disk.remove_dir_all(Path::new("/d")).unwrap();
    assert!(disk.list(Path::new("/d")).is_err());
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| disk.crash(seed).list(Path::new("/d")).ok()).collect();
    assert!(outcomes.contains(&None) && outcomes.contains(&Some(vec!["b".to_owned()])), "{outcomes:?}");
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).all(|disk| disk.list(Path::new("/d")).is_err()));
}

#[test]
fn after_a_failed_sync_a_later_one_does_not_make_the_same_bytes_durable() {
    let outcomes: BTreeSet<_> = SEEDS
        .map(|seed| {
            let (disk, file) = with_file(b"old");
            let disk = disk.with_seed(seed);
            disk.fail_after(1, Fault::io().only(Call::Sync));
            file.write_at(0, b"new").unwrap();
            assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::Unavailable);
            file.sync_data().unwrap();
            assert_eq!(read(&disk, "/f").unwrap(), b"new");
            let left: BTreeSet<_> = (0..20).map(|seed| read(&disk.crash(seed), "/f").unwrap()).collect();
            assert_eq!(left.len(), 1, "what a failed sync left is settled");
            left.into_iter().next().unwrap()
        })
        .collect();
    assert_eq!(outcomes, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
}

#[test]
fn after_a_failed_folder_sync_a_later_one_does_not_make_the_same_name_durable() {
    let outcomes: BTreeSet<_> = SEEDS
        .map(|seed| {
            let disk = SimDisk::recording().with_seed(seed);
            disk.create(Path::new("/f")).unwrap();
            disk.fail_after(1, Fault::io());
            assert!(disk.sync_dir(Path::new("/")).is_err());
            disk.sync_dir(Path::new("/")).unwrap();
            read(&disk.crash(seed), "/f").is_some()
        })
        .collect();
    assert_eq!(outcomes, BTreeSet::from([false, true]));
}

#[test]
fn a_fault_meets_the_call_it_was_planned_for_once_or_for_ever() {
    let disk = SimDisk::new();
    disk.fail_after(2, Fault::full());
    let file = disk.create(Path::new("/f")).unwrap();
    assert_eq!(file.write_at(0, b"x").unwrap_err().kind(), ErrorKind::Full);
    file.write_at(0, b"x").unwrap();
    disk.fail_after(2, Fault::io().only(Call::Sync).on("f").forever());
    file.write_at(0, b"y").unwrap();
    file.sync_data().unwrap();
    disk.create(Path::new("/g")).unwrap().sync_data().unwrap();
    for _ in 0..3 {
        assert_eq!(file.sync_data().unwrap_err().kind(), ErrorKind::Unavailable);
    }
    file.write_at(0, b"z").unwrap();
    disk.fail_after(1, Fault::io().only(Call::Read));
    assert!(file.read_at(0, &mut [0]).is_err());
    assert_eq!(file.read_at(0, &mut [0]).unwrap(), 1);
}

#[test]
fn a_failed_write_may_leave_some_of_its_sectors() {
    let lengths: BTreeSet<_> = SEEDS
        .map(|seed| {
            let disk = SimDisk::new().with_seed(seed);
            let file = disk.create(Path::new("/f")).unwrap();
            disk.fail_after(1, Fault::io());
            file.write_at(0, &[1; 2 * SECTOR_BYTES]).unwrap_err();
            file.len().unwrap() as usize
        })
        .collect();
    assert_eq!(lengths, BTreeSet::from([0, SECTOR_BYTES, 2 * SECTOR_BYTES]));
}

#[test]
fn once_the_power_goes_every_call_fails_and_the_last_one_may_have_landed() {
    let (disk, file) = with_file(b"old");
    disk.crash_at(2);
    file.write_at(0, b"new").unwrap();
    assert!(file.sync_data().is_err(), "the call that the power goes in");
    assert!(disk.is_off());
    assert!(file.write_at(0, b"x").is_err() && file.read_at(0, &mut [0]).is_err() && file.len().is_err());
    assert!(disk.open(Path::new("/f"), false).is_err() && disk.list(Path::new("/")).is_err());
    assert!(disk.create(Path::new("/g")).is_err() && disk.sync_dir(Path::new("/")).is_err());
    assert!(disk.lock(Path::new("/")).is_err());
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| read(&disk.crash(seed), "/f").unwrap()).collect();
    assert_eq!(outcomes, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
}

#[test]
fn a_rename_that_the_power_goes_in_may_have_happened() {
    let (disk, _file) = with_file(b"x");
    disk.crash_at(1);
    assert!(disk.rename(Path::new("/f"), Path::new("/g")).is_err());
    let outcomes: BTreeSet<_> = SEEDS.map(|seed| disk.crash(seed).list(Path::new("/")).unwrap()).collect();
    assert_eq!(outcomes, BTreeSet::from([vec!["f".to_owned()], vec!["g".to_owned()]]));
}

#[test]
fn the_end_of_a_process_keeps_what_was_written_and_makes_none_of_it_durable() {
    let (disk, file) = with_file(b"old");
    file.write_at(0, b"new").unwrap();
    disk.create(Path::new("/g")).unwrap();
    let next = disk.kill();
    assert_eq!(read(&next, "/f").unwrap(), b"new");
    let outcomes: BTreeSet<_> = SEEDS
        .map(|seed| next.crash(seed))
        .map(|disk| (read(&disk, "/f").unwrap(), read(&disk, "/g").is_some()))
        .collect();
    assert_eq!(outcomes.len(), 4, "{outcomes:?}");
    let file = next.open(Path::new("/f"), true).unwrap();
    file.sync_data().unwrap();
    assert_eq!(read(&next.crash(0), "/f").unwrap(), b"new");
}

#[test]
fn a_full_disk_refuses_growth_allows_rewriting_and_counts_removed_files_until_they_are_closed() {
    let disk = SimDisk::new().with_capacity(10);
    let file = disk.create(Path::new("/f")).unwrap();
    file.write_at(0, &[1; 10]).unwrap();
    assert_eq!(file.write_at(5, &[2; 6]).unwrap_err().kind(), ErrorKind::Full);
    file.write_at(5, &[2; 5]).unwrap();
    assert_eq!(disk.create(Path::new("/g")).unwrap_err().kind(), ErrorKind::Full);
    disk.remove(Path::new("/f")).unwrap();
    assert_eq!(disk.used_bytes(), 10);
    drop(file);
    assert_eq!(disk.used_bytes(), 0);
    disk.create(Path::new("/g")).unwrap().write_at(0, &[1; 10]).unwrap();
    disk.set_capacity(None);
    disk.create(Path::new("/h")).unwrap().write_at(0, &[1; 99]).unwrap();
    assert_eq!((disk.used_bytes(), disk.crash(0).used_bytes()), (109, 109));
}

#[test]
fn calls_are_counted_by_kind() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create_dir(Path::new("/d")).unwrap();
    let file = disk.create(Path::new("/d/f")).unwrap();
    file.write_at(0, b"abc").unwrap();
    file.sync_data().unwrap();
    disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
    disk.remove(Path::new("/d/absent")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.remove_dir_all(Path::new("/d")).unwrap();
    let counts = Counts {
        create_dirs: 1,
        creates: 1,
        writes: 1,
        written_bytes: 3,
        syncs: 1,
        renames: 1,
        removes: 1,
        sync_dirs: 1,
    };
    assert_eq!(disk.counts(), counts);
    assert_eq!(counts.mutations(), 7);
}

#[test]
fn a_crash_frees_the_lock() {
    let disk = SimDisk::recording();
    let _guard = disk.lock(Path::new("/")).unwrap();
    assert_eq!(disk.lock(Path::new("/")).unwrap_err().kind(), ErrorKind::Unavailable);
    disk.crash(0).lock(Path::new("/")).unwrap();
}

#[test]
fn a_disk_that_ignores_syncs_is_caught_by_a_power_cut() {
    let (disk, file) = with_file(b"old");
    disk.ignore_sync(true);
    file.write_at(0, b"new").unwrap();
    file.sync_data().unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).any(|disk| read(&disk, "/f").unwrap() == b"old"));
}

#[test]
fn a_plain_disk_keeps_everything_over_a_crash_and_damage_reaches_both_halves() {
    let disk = SimDisk::new();
    disk.create(Path::new("/f")).unwrap().write_at(0, b"abc").unwrap();
    assert_eq!(read(&disk.crash(3), "/f").unwrap(), b"abc");
    let (disk, _file) = with_file(b"abc");
    disk.damage(Path::new("/f"), |bytes| bytes[1] ^= 1).unwrap();
    assert_eq!(read(&disk, "/f").unwrap(), b"acc");
    assert_eq!(read(&disk.crash(3), "/f").unwrap(), b"acc");
}

#[test]
fn a_renamed_folder_takes_its_files_along() {
    let disk = SimDisk::recording();
    disk.create_dir(Path::new("/d")).unwrap();
    disk.create(Path::new("/d/f")).unwrap();
    disk.sync_dir(Path::new("/d")).unwrap();
    disk.rename(Path::new("/d"), Path::new("/e")).unwrap();
    assert!(read(&disk, "/e/f").is_some() && disk.list(Path::new("/d")).is_err());
    disk.sync_dir(Path::new("/")).unwrap();
    assert!(SEEDS.map(|seed| disk.crash(seed)).all(|disk| read(&disk, "/e/f").is_some()));
}
