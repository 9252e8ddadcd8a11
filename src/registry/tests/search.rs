//! Search over damaged rows: told where they belong, hiding nobody.

use super::*;
use crate::engine::Tree;

fn numbers(page: &VersionPage) -> Vec<u32> {
    page.versions.iter().map(|version| version.version).collect()
}

fn damaged(page: &VersionPage) -> Vec<&str> {
    page.damaged.iter().map(|row| row.key.as_str()).collect()
}

#[test]
fn a_damaged_row_is_told_once_whatever_the_filter_and_comes_last_where_its_place_is_not_known() {
    let room = Room::new();
    for stage in ["c", "a", "b"] {
        room.registry.register_version("m", NewVersion::new().stage(stage).tag("team", "mail")).unwrap();
    }
    room.engine.plant(Tree::ModelVersions, b"m@v2", Some(b"nonsense"));
    let asked = [
        (SearchRequest::new().order_by("stage"), vec![3, 1]),
        (SearchRequest::new().order_by("stage desc"), vec![1, 3]),
        (SearchRequest::new().filter("tags.team = 'mail'"), vec![1, 3]),
        (SearchRequest::new().filter("stage = 'c'"), vec![1]),
        (SearchRequest::new().filter("archived = true"), vec![]),
    ];
    for (request, expected) in asked {
        let page = room.registry.search_versions(&request).unwrap();
        let told = if expected == [1] { vec![] } else { vec!["m@v2"] };
        assert_eq!((numbers(&page), damaged(&page)), (expected, told), "{request:?}");
    }
    let (mut told, mut request) = (Vec::new(), SearchRequest::new().order_by("stage").page_size(1));
    loop {
        let page = room.registry.search_versions(&request).unwrap();
        assert_eq!(page.versions.len() + page.damaged.len(), 1);
        told.push(numbers(&page).first().copied());
        let Some(token) = page.next_page_token else { break };
        request = request.page_token(token);
    }
    assert_eq!(told, [Some(3), Some(1), None]);
}

#[test]
fn a_page_ends_early_when_its_rows_are_heavy_and_the_next_one_goes_on() {
    let room = Room::new();
    let heavy = || NewVersion::new().stage("a").tag("bulk", "x".repeat(1_000_000));
    for _ in 0..40 {
        room.registry.register_version("m", heavy().make_active(false)).unwrap();
    }
    for request in [SearchRequest::new(), SearchRequest::new().order_by("stage desc")] {
        let first = room.registry.search_versions(&request).unwrap();
        assert!((30..40).contains(&first.versions.len()), "{}", first.versions.len());
        let rest = room.registry.search_versions(&request.page_token(first.next_page_token.clone().unwrap())).unwrap();
        assert_eq!([numbers(&first), numbers(&rest)].concat(), (1..=40).collect::<Vec<_>>());
    }
}
