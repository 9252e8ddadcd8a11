//! What is refused, with the place and what to do about it.

use ml_persistence::ErrorKind;
use ml_persistence::registry::{
    FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_LIST_MAX, FILTER_TESTS_MAX, NewVersion, PATTERN_BYTES_MAX, SearchRequest,
};

use crate::room::Room;

/// Queries over versions, and how the first line of the refusal goes on behind `filter: `.
const REFUSED: &[(&str, &str)] = &[
    // Names.
    ("nmae = 'x'", "unknown field `nmae` at column 1 (byte 0); did you mean `stage`?"),
    ("modle = 'x'", "unknown field `modle` at column 1 (byte 0); did you mean `model`?"),
    ("version = 1 and Stage = 'x'", "unknown field `Stage` at column 17 (byte 16); did you mean `stage`?"),
    ("metric.f1 > 0", "unknown field `metric` at column 1 (byte 0); did you mean `metrics.key`?"),
    ("hyperparameters.lr > 0", "unknown field `hyperparameters` at column 1 (byte 0); did you mean `hyperparams.key`?"),
    ("tag.a = 'x'", "unknown field `tag` at column 1 (byte 0); did you mean `tags.key`?"),
    ("creation = 1", "unknown field `creation` at column 1 (byte 0); did you mean `version`?"),
    ("created = 1", "unknown field `created` at column 1 (byte 0); did you mean `created_by`?"),
    ("description = 'x'", "unknown field `description` at column 1 (byte 0)"),
    ("tags = 'x'", "`tags` without a key at column 1 (byte 0); write `tags.key`"),
    ("stage.x = 'x'", "`stage` takes no key at column 1 (byte 0); write `stage`"),
    ("tags. = 'x'", "a key must follow the dot at column 5 (byte 4)"),
    ("tags.`` = 'x'", "a key must follow the dot at column 5 (byte 4)"),
    ("tags..a = 'x'", "a dot without a name beside it at column 6 (byte 5)"),
    ("tags.a. = 'x'", "a dot without a name beside it at column 6 (byte 5)"),
    ("tags.my-key = 'x'", "unexpected `-` at column 8 (byte 7)"),
    ("tags.my key = 'x'", "expected a comparison such as"),
    ("`tags.a` = 'x'", "unknown field `tags.a` at column 1 (byte 0)"),
    ("`tags = 'x'", "name without its closing ``` at column 1 (byte 0)"),
    // Values.
    ("stage = prod", "expected a value, found a name at column 9 (byte 8); a text stands in single quotes"),
    ("stage = \"prod\"", "expected a value, found a name at column 9 (byte 8); a text stands in single quotes"),
    ("stage = null", "expected a value, found a name at column 9 (byte 8); ask `is null`"),
    ("stage in ('a', NULL)", "expected a value, found a name at column 16 (byte 15); ask `is null`"),
    ("stage = 'prod", "text without its closing `'` at column 9 (byte 8)"),
    ("stage = 'it's'", "text without its closing `'` at column 14 (byte 13)"),
    ("stage = 'it' s", "expected `and`, `or` or the end, found `s` at column 14"),
    ("stage =", "expected a value, found the end at column 8 (byte 7)"),
    ("version = 1.", "a number without digits behind its point at column 11"),
    ("version = .5", "unexpected `.` at column 11"),
    ("version = 1e", "a number without digits in its exponent at column 11"),
    ("version = 1e999", "a number beyond the range of f64 at column 11"),
    ("version = 1x", "neither a number nor a name at column 11"),
    ("version = 0x10", "neither a number nor a name at column 11"),
    ("version = 1.2.3", "neither a number nor a name at column 11"),
    ("version = - 1", "unexpected `-` at column 11"),
    ("version = 1 + 1", "unexpected `+` at column 13"),
    // Shapes.
    ("version", "expected a comparison such as"),
    ("archived", "expected a comparison such as"),
    ("= 1", "expected a field, found `=` at column 1"),
    ("'spam' = model", "expected a field, found `'spam'` at column 1 (byte 0); a name stands bare"),
    ("1 = 1", "expected a field, found `1` at column 1"),
    ("true", "expected a field, found `true` at column 1"),
    ("version == 1", "unexpected `==` at column 9 (byte 8); write `=`"),
    ("version <> 1", "unexpected `<>` at column 9 (byte 8); write `!=`"),
    ("version ! 1", "unexpected `!` at column 9"),
    ("version = 1;", "unexpected `;` at column 12"),
    ("version = 1 -- all", "unexpected `-` at column 13"),
    ("version = 1 /* all */", "unexpected `/` at column 13"),
    ("version = 1 and", "expected a field, found the end at column 16"),
    ("and version = 1", "expected a field, found `and` at column 1"),
    ("version = 1 version = 2", "expected `and`, `or` or the end, found `version` at column 13"),
    ("version = 1 && version = 2", "unexpected `&` at column 13"),
    ("(version = 1", "expected `and`, `or` or `)`, found the end at column 13"),
    ("version = 1)", "expected `and`, `or` or the end, found `)` at column 12"),
    ("()", "expected a field, found `)` at column 2"),
    ("version in ()", "expected a value, found `)` at column 13"),
    ("version in 1", "expected `(` and a list of values, found `1` at column 12"),
    ("version in (1", "expected `,` or `)`, found the end at column 14"),
    ("version in (1,)", "expected a value, found `)` at column 15"),
    ("version in (select 1)", "expected a value, found a name at column 13"),
    ("version between 1", "expected `and` and the upper end of `between`, found the end"),
    ("version between 1 or 2", "expected `and` and the upper end of `between`, found `or`"),
    ("version is 1", "expected `null`, found `1` at column 12"),
    ("version is not 1", "expected `null`, found `1` at column 16"),
    ("version not = 1", "expected `like`, `ilike`, `in` or `between`, found `=` at column 13"),
    ("stage like prod", "expected a pattern in single quotes, found `prod` at column 12"),
    ("stage like 1", "expected a pattern in single quotes, found `1` at column 12"),
    ("stage like 'a\\'", "a pattern that ends in its escape at column 12"),
    ("модель = 'x'", "unknown field `модель` at column 1 (byte 0)"),
    ("tags.ключ = 'x' and нет = 1", "unknown field `нет` at column 21 (byte 24)"),
    ("stage = 'a' or\n  sage = 'b'", "unknown field `sage` at column 18 (byte 17); did you mean `stage`?"),
];

fn refusal(room: &Room, request: &SearchRequest) -> String {
    let error = room.db.registry().search_versions(request).expect_err("must be refused");
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    error.to_string()
}

#[test]
fn every_refusal_names_the_place_and_marks_it() {
    let room = Room::new();
    for (filter, expected) in REFUSED {
        let message = refusal(&room, &SearchRequest::new().filter(*filter));
        let first = message.strip_prefix("filter: ").unwrap_or_else(|| panic!("{message}"));
        assert!(first.starts_with(expected), "{filter}: {message}");
        let lines: Vec<&str> = message.lines().collect();
        assert_eq!(lines.len(), 3, "{message}");
        let column: usize = first.split("at column ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
        assert_eq!(lines[2].chars().position(|mark| mark == '^'), Some(column + 1), "{message}");
    }
    assert!(refusal(&room, &SearchRequest::new().filter("stgae = 'x'")).ends_with(
        "did you mean `stage`? (known: model, version, stage, source, run_id, created_by, archived, created_at, \
             updated_at, tags, properties, metrics, hyperparams)\n  stgae = 'x'\n  ^^^^^"
    ));
}

#[test]
fn every_limit_lets_its_last_value_through_and_refuses_the_next() {
    let room = Room::new();
    room.db.registry().register_version("m", NewVersion::new().stage("a")).unwrap();
    let padded = |bytes: usize| format!("version = 1{}", " ".repeat(bytes - 11));
    let nested = |depth: usize| format!("{}version = 1{}", "(".repeat(depth), ")".repeat(depth));
    let denied = |depth: usize| format!("{}version = 1", "not ".repeat(depth));
    let tests = |count: usize| vec!["version = 1"; count].join(" and ");
    let list = |count: usize| format!("version in ({})", vec!["1"; count].join(","));
    let pattern = |bytes: usize| format!("stage like '{}%'", "_".repeat(bytes - 1));
    let key = |bytes: usize| format!("tags.{} is null", "k".repeat(bytes));
    let limits: [(&str, &dyn Fn(usize) -> String, usize); 7] = [
        ("bytes", &padded, FILTER_BYTES_MAX),
        ("parentheses", &nested, FILTER_DEPTH_MAX),
        ("not", &denied, FILTER_DEPTH_MAX),
        ("tests", &tests, FILTER_TESTS_MAX),
        ("list", &list, FILTER_LIST_MAX),
        ("pattern", &pattern, PATTERN_BYTES_MAX),
        ("key", &key, 256),
    ];
    for (what, filter, most) in limits {
        room.versions(&SearchRequest::new().filter(filter(most)), 10);
        let message = refusal(&room, &SearchRequest::new().filter(filter(most + 1)));
        assert!(message.starts_with("filter: "), "{what}: {message}");
    }
    // Far beyond the limits nothing overflows.
    refusal(&room, &SearchRequest::new().filter(nested(30_000)));
    refusal(&room, &SearchRequest::new().filter("(".repeat(60_000)));
    refusal(&room, &SearchRequest::new().filter("not ".repeat(16_000)));
}

#[test]
fn an_order_that_cannot_be_kept_is_refused_and_told_what_can() {
    let room = Room::new();
    for (terms, expected) in [
        (
            &["source"] as &[&str],
            "order_by[0]: source has no index to be ordered by; these have: model, version, stage, run_id, created_at, updated_at",
        ),
        (&["model", "crated_at"], "order_by[1]: unknown field \"crated_at\"; did you mean created_at?"),
        (&["model", "stage", "model desc"], "order_by[2]: model is given twice"),
        (&["model down"], "order_by[0]: asc or desc behind the field, got \"down\""),
        (&["model asc, version"], "order_by[0]: asc or desc behind the field, got \"asc,\""),
        (&["model asc version"], "order_by[0]: one field, and asc or desc behind it, got \"version\" besides"),
        (&[""], "order_by[0]: a field, and asc or desc behind it, got nothing"),
        (&["tags.team"], "order_by[0]: unknown field \"tags.team\""),
    ] {
        let request = terms.iter().fold(SearchRequest::new(), |request, term| request.order_by(*term));
        let message = refusal(&room, &request);
        assert!(message.starts_with(expected), "{message}");
    }
    let models = room.db.registry().search_models(&SearchRequest::new().order_by("model")).unwrap_err();
    assert!(models.to_string().contains("indexed: name, created_at, updated_at"), "{models}");
    let models = room.db.registry().search_models(&SearchRequest::new().in_model("m")).unwrap_err();
    assert_eq!(models.kind(), ErrorKind::Invalid);
}

#[test]
fn a_missing_model_is_not_found_when_it_is_asked_for_and_no_row_when_it_is_filtered_for() {
    let room = Room::new();
    let missing = room.db.registry().search_versions(&SearchRequest::new().in_model("none")).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
    assert_eq!(room.versions(&SearchRequest::new().filter("model = 'none'"), 10), []);
    let bad = room.db.registry().search_versions(&SearchRequest::new().in_model("")).unwrap_err();
    assert_eq!(bad.kind(), ErrorKind::Invalid);
    assert!(refusal(&room, &SearchRequest::new().page_size(1001)).starts_with("page_size: 1..=1000"));
    assert!(refusal(&room, &SearchRequest::new().page_token("x")).starts_with("page_token: "));
}
