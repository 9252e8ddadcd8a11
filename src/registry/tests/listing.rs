//! Listings, pages and names that look like each other's keys.

use super::*;

const NAMES: [&str; 10] = ["a", "a@", "a@v", "a@v1", "a@v1@v2", "a:b/c", "ab", "a b", "🦀", "模型"];

fn all_pages<T>(mut next: impl FnMut(PageRequest) -> (Vec<T>, Option<String>)) -> Vec<T> {
    let mut request = PageRequest::new().size(4);
    let mut rows = Vec::new();
    loop {
        let (page, token) = next(request.clone());
        assert!(page.len() == 4 || token.is_none());
        rows.extend(page);
        match token {
            Some(token) => request = request.token(token),
            None => return rows,
        }
    }
}

#[test]
fn versions_come_in_the_order_of_their_numbers() {
    let room = Room::new();
    for _ in 0..12 {
        room.register("m");
    }
    room.register("l");
    room.register("n");
    let numbers = all_pages(|request| {
        let page = room.registry.list_versions("m", &request).unwrap();
        (page.versions.iter().map(|version| version.version).collect(), page.next_page_token)
    });
    assert_eq!(numbers, (1..=12).collect::<Vec<_>>());
    assert_eq!(kind(room.registry.list_versions("none", &PageRequest::new())), ErrorKind::NotFound);
    room.assert_clean();
}

#[test]
fn names_that_look_like_keys_of_each_other_live_side_by_side() {
    let room = Room::new();
    for (place, name) in NAMES.iter().enumerate() {
        for _ in 0..=place {
            room.registry.register_version(name, NewVersion::new().description(*name).label("same")).map_or_else(
                |error| assert_eq!(error.kind(), ErrorKind::AlreadyExists),
                |version| assert_eq!(version.version, 1),
            );
            room.registry.register_version(name, NewVersion::new().description(*name)).unwrap();
        }
    }
    for (place, name) in NAMES.iter().enumerate() {
        let count = place as u32 + 2;
        assert_eq!((room.model(name).versions, room.model(name).active_version), (count, Some(count)), "{name}");
        let page = room.registry.list_versions(name, &PageRequest::new()).unwrap();
        assert_eq!(
            page.versions.iter().map(|version| version.version).collect::<Vec<_>>(),
            (1..=count).collect::<Vec<_>>()
        );
        assert!(page.versions.iter().all(|version| version.model == *name));
        assert!(page.versions.iter().all(|version| version.description.as_deref() == Some(*name)));
        assert_eq!(room.version(name, VersionRef::latest()).version, count);
        assert_eq!(room.registry.version_counts(name).unwrap().total, u64::from(count));
    }
    let mut sorted = NAMES.map(str::to_owned);
    sorted.sort_unstable();
    let models = all_pages(|request| {
        let page = room.registry.list_models(&request).unwrap();
        (page.models.into_iter().map(|model| model.name).collect(), page.next_page_token)
    });
    assert_eq!(models, sorted);
    let all = all_pages(|request| {
        let page = room.registry.list_all_versions(&request).unwrap();
        (page.versions.into_iter().map(|version| (version.model, version.version)).collect(), page.next_page_token)
    });
    let expected: Vec<(String, u32)> = sorted
        .iter()
        .flat_map(|name| {
            let count = NAMES.iter().position(|other| other == name).unwrap() as u32 + 2;
            (1..=count).map(|number| (name.clone(), number))
        })
        .collect();
    assert_eq!(all, expected);
    room.registry.delete_version("a", 1, &any()).unwrap();
    assert_eq!(room.registry.get_model("a@v1").unwrap().unwrap().versions, 5);
    room.assert_clean();
}

#[test]
fn the_longest_names_fit_every_index() {
    let room = Room::new();
    let name = "n".repeat(NAME_BYTES_MAX);
    let new = NewVersion::new().stage("s".repeat(STAGE_BYTES_MAX)).label("l".repeat(NAME_BYTES_MAX));
    room.registry.create_model(&name, NewModel::new().external_id("e".repeat(SHORT_BYTES_MAX))).unwrap();
    room.registry.register_version(&name, new.external_id("x".repeat(SHORT_BYTES_MAX))).unwrap();
    room.registry.set_alias(&name, &"a".repeat(ALIAS_BYTES_MAX), 1, &any()).unwrap();
    assert_eq!(room.registry.list_versions(&name, &PageRequest::new()).unwrap().versions.len(), 1);
    room.assert_clean();
}

#[test]
fn a_page_token_is_bound_to_its_listing_but_not_to_the_size() {
    let room = Room::new();
    for model in ["a", "b"] {
        for _ in 0..5 {
            room.register(model);
        }
    }
    let first = room.registry.list_versions("a", &PageRequest::new().size(2)).unwrap();
    let token = first.next_page_token.unwrap();
    let rest = room.registry.list_versions("a", &PageRequest::new().size(1000).token(&token)).unwrap();
    assert_eq!(rest.versions.iter().map(|version| version.version).collect::<Vec<_>>(), [3, 4, 5]);
    assert_eq!(rest.next_page_token, None);
    let foreign = PageRequest::new().token(&token);
    assert_eq!(kind(room.registry.list_versions("b", &foreign)), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.list_all_versions(&foreign)), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.list_models(&foreign)), ErrorKind::Invalid);
    assert_eq!(kind(room.registry.list_models(&PageRequest::new().token("nonsense"))), ErrorKind::Invalid);
    for size in [0, 1001] {
        assert_eq!(kind(room.registry.list_models(&PageRequest::new().size(size))), ErrorKind::Invalid);
    }
    room.registry.delete_version("a", 2, &any()).unwrap();
    let rest = room.registry.list_versions("a", &PageRequest::new().token(&token)).unwrap();
    assert_eq!(rest.versions.len(), 3, "a token outlives the version that it names");
    room.assert_clean();
}
