//! Writes a corpus for the target `snapshot`: small files of both kinds, from real stores, to begin with.
//!
//! `cargo run --manifest-path fuzz/Cargo.toml --example seeds -- fuzz/corpus/snapshot`

use std::path::PathBuf;

use ml_persistence::{MlPersistence, NewJob, NewVersion};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let folder = PathBuf::from(std::env::args().nth(1).ok_or("which folder?")?);
    std::fs::create_dir_all(&folder)?;
    for entry in std::fs::read_dir(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().filter(|_| path.extension().is_some_and(|ending| ending == "mlsnap")) {
            std::fs::copy(&path, folder.join(name))?;
        }
    }

    let db = MlPersistence::in_memory().open()?;
    let empty = db.export_snapshot(folder.join("empty"), None)?;
    let values = db.namespace("n")?;
    values.put("k", "v")?;
    let one = db.export_snapshot(folder.join("one-value"), None)?;
    db.export_snapshot(folder.join("delta-of-one"), Some(empty.cursor))?;
    values.delete("k")?;
    db.export_snapshot(folder.join("delta-of-a-removal"), Some(one.cursor))?;
    db.export_snapshot(folder.join("delta-of-nothing"), Some(db.sync()?))?;
    db.jobs().enqueue(NewJob::new("train", "fit"))?;
    db.registry().register_version("spam", NewVersion::new().metric("f1", 0.5).artifact(vec![7; 100]))?;
    db.export_snapshot(folder.join("some-of-everything"), None)?;
    // More than one chunk, each of them well packed, so that the file stays short.
    for number in 0..40 {
        values.put(&format!("long {number}"), &"x".repeat(12_000))?;
    }
    db.export_snapshot(folder.join("chunks"), None)?;
    db.export_snapshot(folder.join("delta-of-chunks"), Some(one.cursor))?;
    Ok(())
}
