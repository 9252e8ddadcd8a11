//! What `explain` says: which index, what is asked of each record, how much was looked at.

use ml_persistence::registry::{NewVersion, Plan, SearchRequest};

use crate::room::Room;

/// Three models of 40 versions; every eighth version is tagged, one has a run.
fn room() -> Room {
    let room = Room::new();
    for number in 1..=40 {
        for model in ["a", "b", "c"] {
            let mut new = NewVersion::new().stage(if number == 40 { "prod" } else { "dev" });
            if number % 8 == 0 {
                new = new.tag("team", "mail");
            }
            if number == 7 && model == "b" {
                new = new.run_id("run-7");
            }
            room.db.registry().register_version(model, new).unwrap();
        }
        room.clock.advance(10);
    }
    room
}

fn plan(room: &Room, request: SearchRequest) -> (Plan, usize) {
    let page = room.db.registry().search_versions(&request.explain(true).page_size(10)).unwrap();
    (page.plan.unwrap(), page.versions.len())
}

fn filter(text: &str) -> SearchRequest {
    SearchRequest::new().filter(text)
}

#[test]
fn the_index_that_fits_best_is_read_and_the_rest_is_asked_of_the_records() {
    let room = room();
    for (request, index, by_index, filtered, in_order, examined, rows) in [
        (filter(""), "version by model and number", "", "", true, 11, 10),
        (filter("archived = false"), "version by model and number", "", "archived = false", true, 11, 10),
        (filter("tags.team = 'mail'"), "version by tag", "tags.team = 'mail'", "", true, 11, 10),
        (
            filter("stage = 'prod' and tags.team = 'mail'"),
            "version by tag",
            "tags.team = 'mail'",
            "stage = 'prod'",
            true,
            15,
            3,
        ),
        (
            filter("tags.team = 'mail' and run_id = 'run-7'"),
            "version by run",
            "run_id = 'run-7'",
            "tags.team = 'mail'",
            true,
            1,
            0,
        ),
        (filter("(stage = 'prod')"), "version by stage", "(stage = 'prod')", "", true, 3, 3),
        (filter("stage in ('prod', 'none')"), "version by stage", "stage in ('prod', 'none')", "", false, 3, 3),
        (filter("tags.team like 'ma%'"), "version by tag", "tags.team like 'ma%'", "", false, 15, 10),
        (
            filter("model = 'b' and version >= 39"),
            "version by model and number",
            "model = 'b'|version >= 39",
            "",
            true,
            2,
            2,
        ),
        (
            filter("model = 'b' and version = 7"),
            "version by model and number",
            "model = 'b'|version = 7",
            "",
            true,
            1,
            1,
        ),
        (
            filter("model = 'b' and tags.team = 'mail'"),
            "version by tag",
            "model = 'b'|tags.team = 'mail'",
            "",
            true,
            5,
            5,
        ),
        (
            filter("model in ('a', 'c') and version = 3"),
            "version by model and number",
            "model in ('a', 'c')",
            "version = 3",
            false,
            80,
            2,
        ),
        (filter("model like 'b%'"), "version by model and number", "model like 'b%'", "", true, 11, 10),
        (filter("created_at >= 1380"), "version by creation", "created_at >= 1380", "", false, 6, 6),
        (
            filter("created_at between 1380 and 1385 and version > 2"),
            "version by creation",
            "created_at between 1380 and 1385",
            "version > 2",
            false,
            3,
            3,
        ),
        (
            filter("version = 3 or version = 4"),
            "version by model and number",
            "",
            "version = 3 or version = 4",
            true,
            120,
            6,
        ),
        (filter("not tags.team = 'mail'"), "version by model and number", "", "not tags.team = 'mail'", true, 120, 0),
        (filter("").order_by("created_at desc"), "version by creation", "", "", true, 11, 10),
        (filter("stage = 'dev'").order_by("created_at desc"), "version by stage", "stage = 'dev'", "", false, 117, 10),
        (filter("archived = false").order_by("updated_at"), "version by update", "", "archived = false", true, 11, 10),
        (
            filter("created_at > 1100").order_by("created_at desc"),
            "version by creation",
            "created_at > 1100",
            "",
            true,
            11,
            10,
        ),
        (filter("").order_by("stage"), "version by model and number", "", "", false, 120, 10),
        (filter("version > 38").in_model("c"), "version by model and number", "version > 38", "", true, 2, 2),
        (
            filter("tags.team = 'mail' and version > 30").in_model("c"),
            "version by tag",
            "tags.team = 'mail'|version > 30",
            "",
            true,
            2,
            2,
        ),
        (filter("").in_model("c").order_by("created_at desc"), "version by model and number", "", "", false, 40, 10),
        (filter("").in_model("c").order_by("version desc"), "version by model and number", "", "", true, 11, 10),
        (filter("model = 'a'").in_model("c"), "version by model and number", "", "model = 'a'", true, 40, 0),
        (
            filter("version > 5 and version < 3").in_model("c"),
            "version by model and number",
            "version > 5|version < 3",
            "",
            true,
            0,
            0,
        ),
    ] {
        let (found, found_rows) = plan(&room, request.clone());
        let texts = |text: &str| text.split('|').filter(|text| !text.is_empty()).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found.index, index, "{request:?}");
        assert_eq!((&found.by_index, &found.filtered), (&texts(by_index), &texts(filtered)), "{request:?}");
        assert_eq!((found.in_index_order, found.examined, found_rows), (in_order, examined, rows), "{request:?}");
    }
}

#[test]
fn a_full_scan_is_called_one() {
    let room = room();
    for (request, full) in [
        (filter(""), true),
        (filter("archived = true"), true),
        (filter("").order_by("created_at"), true),
        (filter("").in_model("a"), false),
        (filter("stage = 'dev'"), false),
    ] {
        let (found, _) = plan(&room, request.clone());
        assert_eq!(found.full_scan, full, "{request:?}");
    }
    let page = room.db.registry().search_versions(&SearchRequest::new()).unwrap();
    assert_eq!(page.plan, None, "unasked, nothing is explained");
    let models = SearchRequest::new().filter("tags.team = 'mail'").explain(true);
    let page = room.db.registry().search_models(&models).unwrap();
    assert_eq!(page.plan.unwrap().index, "model by tag");
}
