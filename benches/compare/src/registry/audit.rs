//! What a registry holds, walked page by page; a hole, a repetition or a version with another's data is an error.

use super::{Page, SHARDS, Shop};
use crate::Failure;
use crate::systems::Held;

/// Walks the whole listing and every value of the tag.
pub(super) fn held<S: Shop>(shop: &S) -> Result<Held, Failure> {
    let mut listed = 0;
    walk(
        |after| shop.list(after),
        |number, _| {
            listed += 1;
            if number == listed { Ok(()) } else { Err(format!("version {number} is listed in place {listed}").into()) }
        },
    )?;
    let mut tagged = 0;
    for shard in (0..SHARDS).map(|shard| shard.to_string()) {
        let mut last = 0;
        walk(
            |after| shop.search(&shard, after),
            |number, found| {
                tagged += 1;
                let behind = number > std::mem::replace(&mut last, number);
                if behind && found == shard {
                    Ok(())
                } else {
                    Err(format!("version {number} is no hit of {shard}").into())
                }
            },
        )?;
    }
    let (mark, versions) = shop.marks()?;
    if mark != versions {
        return Err(format!("a mark of {mark} over {versions} versions").into());
    }
    Ok(Held { records: u64::from(listed), entries: tagged, counter: i64::from(mark) })
}

/// Hands number and tag of every version of every page to `each`.
fn walk(
    page: impl Fn(Option<&str>) -> Result<Page, Failure>,
    mut each: impl FnMut(u32, &str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let found = page(after.as_deref())?;
        for version in &found.versions {
            each(version.check()?.number, &version.shard)?;
        }
        match found.next {
            Some(next) => after = Some(next),
            None => return Ok(()),
        }
    }
}
