//! Pages: tokens, and walks while others write.

use std::collections::BTreeMap;
use std::sync::mpsc::{SyncSender, sync_channel};

use ml_persistence::ErrorKind;
use ml_persistence::registry::{Change, NewModel, NewVersion, SearchRequest, VersionUpdate};

use crate::room::Room;

#[test]
fn a_token_is_bound_to_filter_order_and_model_but_not_to_the_size() {
    let room = Room::new();
    for model in ["a", "b"] {
        for _ in 0..5 {
            room.db.registry().register_version(model, NewVersion::new().tag("team", "mail")).unwrap();
        }
    }
    let registry = room.db.registry();
    let request = SearchRequest::new().filter("tags.team = 'mail'").order_by("version desc").in_model("a");
    let token = registry.search_versions(&request.clone().page_size(2)).unwrap().next_page_token.unwrap();
    let rest = registry.search_versions(&request.clone().page_token(&token).page_size(1000)).unwrap();
    assert_eq!(rest.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(rest.next_page_token, None);
    let base = || SearchRequest::new().page_token(&token);
    let same = || base().filter("tags.team = 'mail'");
    registry.search_versions(&same().order_by("version DESC").in_model("a")).expect("the same order in other letters");
    for other in [
        same().order_by("version desc").in_model("b"),
        same().order_by("version desc"),
        same().order_by("version").in_model("a"),
        same().in_model("a"),
        base().filter("tags.team = 'mail' or version = 1").order_by("version desc").in_model("a"),
        base().order_by("version desc").in_model("a"),
    ] {
        assert_eq!(registry.search_versions(&other).unwrap_err().kind(), ErrorKind::Invalid, "{other:?}");
    }
    assert_eq!(registry.search_models(&same()).unwrap_err().kind(), ErrorKind::Invalid);
    // The row that the token names may go, and its neighbours change: the walk goes on behind its place.
    registry.delete_version("a", 4, &Change::new()).unwrap();
    registry.update_version("a", 3, VersionUpdate::new().delete_tag("team")).unwrap();
    let rest = registry.search_versions(&request.page_token(&token)).unwrap();
    assert_eq!(rest.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn hundreds_of_rows_of_one_time_are_walked_in_the_order_of_their_keys() {
    let room = Room::new();
    let numbers = [3, 700, 2, 300];
    for count in numbers {
        let registered = room.db.transact(|txn| {
            for _ in 0..count {
                txn.registry().register_version("m", NewVersion::new().make_active(false))?;
            }
            Ok(())
        });
        registered.unwrap();
        room.clock.advance(1);
    }
    let mut expected: Vec<(u64, u32)> = Vec::new();
    let mut next = 1;
    for (time, count) in numbers.iter().enumerate() {
        expected.extend((next..next + count).map(|number| (1_000 + time as u64, number)));
        next += count;
    }
    for (order, size) in
        [("created_at desc", 7), ("created_at desc", 1000), ("created_at", 64), ("updated_at desc", 256)]
    {
        let found = room.versions(&SearchRequest::new().order_by(order), size);
        let found: Vec<(u64, u32)> = found.iter().map(|version| (version.created_at, version.version)).collect();
        let mut expected = expected.clone();
        if order.ends_with("desc") {
            expected.sort_by_key(|(time, number)| (std::cmp::Reverse(*time), *number));
        }
        assert_eq!(found, expected, "{order} in pages of {size}");
    }
}

/// Versions that stand the whole time are even; odd ones come and go, and everything unrelated changes.
#[test]
fn a_walk_under_concurrent_writes_neither_skips_nor_repeats_what_stood_the_whole_time() {
    const VERSIONS: u32 = 120;
    let room = Room::new();
    let registry = room.db.registry();
    for number in 1..=VERSIONS {
        let tag = if number % 2 == 0 { "stays" } else { "goes" };
        let new = NewVersion::new().tag("fate", tag).tag("all", "yes").stage("dev").make_active(false);
        registry.register_version("m", new).unwrap();
        room.clock.advance(1);
    }
    let stands: Vec<u32> = (1..=VERSIONS).filter(|number| number % 2 == 0).collect();
    let requests = [
        SearchRequest::new(),
        SearchRequest::new().in_model("m").order_by("version desc"),
        SearchRequest::new().filter("tags.all = 'yes'"),
        SearchRequest::new().filter("tags.fate in ('stays', 'goes')"),
        SearchRequest::new().filter("metrics.none is null").order_by("created_at desc"),
        SearchRequest::new().filter("stage = 'dev'").order_by("created_at"),
        SearchRequest::new().filter("model = 'm' and (tags.all = 'yes' or version > 3)"),
    ];
    // Each page allows each writer a few more turns, so that nobody outruns the other.
    std::thread::scope(|scope| {
        let writers: Vec<SyncSender<()>> = (0..2u32)
            .map(|seed| {
                let (allow, allowed) = sync_channel::<()>(2);
                let (registry, clock) = (registry, &room.clock);
                scope.spawn(move || {
                    for (turn, ()) in (seed..).zip(allowed) {
                        let number = (turn * 7 % (VERSIONS / 2)) * 2 + 1;
                        let new = NewVersion::new().tag("all", "yes").tag("fate", "goes").stage("dev");
                        let away = VersionUpdate::new().stage("x").delete_tag("all");
                        let changed = match turn % 5 {
                            0 => registry.delete_version("m", number, &Change::new()).map(drop),
                            1 | 2 => registry.register_version("m", new.make_active(false)).map(drop),
                            3 => registry.update_version("m", number, away).map(drop),
                            // What the walks are not ordered by may change of those that stand.
                            _ => {
                                let update = VersionUpdate::new().description("new");
                                registry.update_version("m", number + 1, update).map(drop)
                            }
                        };
                        if let Err(error) = changed {
                            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
                        }
                        clock.advance(1);
                    }
                });
                allow
            })
            .collect();
        for (round, request) in (0..2).flat_map(|_| &requests).enumerate() {
            let mut seen: BTreeMap<u32, usize> = BTreeMap::new();
            let mut next = request.clone().page_size(5 + round % 11);
            loop {
                let page = registry.search_versions(&next).unwrap();
                page.versions.iter().for_each(|version| *seen.entry(version.version).or_default() += 1);
                let Some(token) = page.next_page_token else { break };
                next = next.page_token(token);
                writers.iter().for_each(|writer| writer.send(()).unwrap());
            }
            for number in &stands {
                assert_eq!(seen.get(number), Some(&1), "version {number} in {request:?}");
            }
        }
    });
    room.assert_clean();
}

#[test]
fn a_page_of_models_goes_on_behind_a_model_that_has_gone_elsewhere_in_the_order() {
    let room = Room::new();
    let registry = room.db.registry();
    for name in ["a", "b", "c", "d", "e"] {
        registry.create_model(name, NewModel::new()).unwrap();
        room.clock.advance(1);
    }
    let request = SearchRequest::new().order_by("updated_at").page_size(2);
    let page = registry.search_models(&request).unwrap();
    registry.register_version("b", NewVersion::new()).unwrap();
    let rest = registry.search_models(&request.page_token(page.next_page_token.unwrap()).page_size(10)).unwrap();
    let names: Vec<&str> = rest.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["c", "d", "e", "b"], "what moves behind the place comes again, where it is now");
}
