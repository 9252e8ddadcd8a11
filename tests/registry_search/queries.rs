//! A table of queries and what they answer, over seven versions and three models. Each is asked in pages of two and in
//! one page, and once more so that no index can help.

use ml_persistence::Json;
use ml_persistence::registry::{Change, NewModel, NewVersion, Property, SearchRequest, VersionUpdate};

use crate::room::Room;

fn json(text: &str) -> Json {
    Json::parse(text).unwrap()
}

/// Versions `s1 s2 s3 s4` of `spam`, `h1 h2` of `ham`, `u1` of `модель`; created at 1000, 2000 … 7000 in this order.
fn versions() -> Room {
    let room = Room::new();
    let register = |model: &str, new: NewVersion| {
        room.db.registry().register_version(model, new).unwrap();
        room.clock.advance(1000);
    };
    let s1 = NewVersion::new().stage("prod").source("s3://bucket/a_b").run_id("run-1").by("ann");
    let s1 = s1.tag("team", "mail").tag("k.with.dots", "x").tag("my key", "v 1").tag("note", "it's").tag("a`b\"c", "q");
    let s1 = s1.property("acc", 0.5).property("n", 7i64).property("ok", true).property("big", i64::MAX);
    let s1 = s1.property("raw", vec![1u8, 2]).property("js", Property::from(json("{\"a\":1}")));
    let s1 = s1.metric_json("f1", json("0.91")).metric_json("loss", json("1")).metric_json("val/auc", json("0.5"));
    let s1 = s1.metric_json("big", json("123456789012345678901234567890"));
    let s1 = s1.hyperparam("lr", json("0.1")).hyperparam("depth", json("6")).hyperparam("opt", json("\"adam\""));
    let s1 = s1.hyperparam("nested", json("{\"a\":1}")).hyperparam("none", json("null"));
    register("spam", s1.hyperparam("flag", json("true")));
    let s2 = NewVersion::new().stage("dev").source("s3://bucket/axb").run_id("run-2").by("bob");
    let s2 = s2.tag("team", "mail").tag("note", "100%").property("acc", 1.0).property("n", 9_007_199_254_740_993i64);
    let s2 = s2.property("ok", false).metric_json("f1", json("0.5")).metric_json("loss", json("2"));
    register(
        "spam",
        s2.hyperparam("lr", json("0.01")).hyperparam("depth", json("\"6\"")).hyperparam("opt", json("\"SGD\"")),
    );
    let s3 = NewVersion::new().run_id("").by("ann").tag("team", "ads").tag("note", "a\\b");
    let s3 = s3.property("acc", "high").property("n", -3i64).metric_json("f1", json("1"));
    register("spam", s3.metric_json("loss", json("1e2")).property("min", i64::MIN));
    register("spam", NewVersion::new().stage("Prod"));
    let h1 = NewVersion::new().stage("prod").tag("team", "Mail").tag("lang", "Σίσυφος").property("n", 7.0);
    register("ham", h1.metric_json("f1", json("0.95")).property("acc", -0.5));
    let h2 = NewVersion::new().stage("canary").tag("team", "mail").tag("lang", "straße").tag("note", "");
    register("ham", h2.metric_json("f1", json("9007199254740993")).property("n", 9_007_199_254_740_992.0));
    register("модель", NewVersion::new().stage("прод").tag("team", "почта").tag("lang", "日本"));
    for (model, number) in [("spam", 2), ("ham", 2)] {
        room.db.registry().archive(model, number, &Change::new()).unwrap();
    }
    room
}

const VERSIONS: &[(&str, &str)] = &[
    // Everything.
    ("", "h1 h2 s1 s2 s3 s4 u1"),
    (" \t\n", "h1 h2 s1 s2 s3 s4 u1"),
    // Plain fields.
    ("model = 'spam'", "s1 s2 s3 s4"),
    ("model != 'spam'", "h1 h2 u1"),
    ("model = 'модель'", "u1"),
    ("model = 'none'", ""),
    ("model < 'i'", "h1 h2"),
    ("model >= 'spam'", "s1 s2 s3 s4 u1"),
    ("version = 1", "h1 s1 u1"),
    ("version > 2", "s3 s4"),
    ("version >= 2 and version < 4", "h2 s2 s3"),
    ("version <= 1", "h1 s1 u1"),
    ("version != 1", "h2 s2 s3 s4"),
    ("stage = 'prod'", "h1 s1"),
    ("stage = 'PROD'", ""),
    ("stage != 'prod'", "h2 s2 s4 u1"),
    ("archived = true", "h2 s2"),
    ("archived = FALSE", "h1 s1 s3 s4 u1"),
    ("archived != true", "h1 s1 s3 s4 u1"),
    ("archived < true", "h1 s1 s3 s4 u1"),
    ("created_by = 'ann'", "s1 s3"),
    ("run_id = ''", "s3"),
    ("run_id = 'run-1'", "s1"),
    ("source = 's3://bucket/a_b'", "s1"),
    ("created_at >= 6000", "h2 u1"),
    ("created_at < 1e3", ""),
    ("created_at = 1000.0", "s1"),
    ("created_at > 5999.5", "h2 u1"),
    ("created_at > -1", "h1 h2 s1 s2 s3 s4 u1"),
    ("created_at < 99999999999999999999999999", "h1 h2 s1 s2 s3 s4 u1"),
    ("created_at < 1e300", "h1 h2 s1 s2 s3 s4 u1"),
    ("updated_at = 8000", "h2 s2"),
    // Words of the language in any case, space of any kind.
    ("STAGE = 'prod'", "!unknown field"),
    ("stage = 'prod' AND Archived = true", "!unknown field"),
    ("stage = 'dev' AND archived = TRUE", "s2"),
    ("stage='prod'aNd version=1", "h1 s1"),
    ("stage\n=\t'prod'\r\nOr stage = 'dev'", "h1 s1 s2"),
    ("NOT stage = 'prod'", "h2 s2 s4 u1"),
    // Precedence: not before and before or.
    ("version = 1 or version = 2 and model = 'ham'", "h1 h2 s1 u1"),
    ("(version = 1 or version = 2) and model = 'ham'", "h1 h2"),
    ("version = 2 and model = 'ham' or version = 1", "h1 h2 s1 u1"),
    ("not version = 1 and model = 'ham'", "h2"),
    ("not (version = 1 and model = 'ham')", "h2 s1 s2 s3 s4 u1"),
    ("not version = 1 or model = 'ham'", "h1 h2 s2 s3 s4"),
    ("not not version = 1", "h1 s1 u1"),
    ("not not not version = 1", "h2 s2 s3 s4"),
    ("((((version = 4))))", "s4"),
    ("version = 1 and version = 2", ""),
    ("version = 1 or version = 2 or version = 3", "h1 h2 s1 s2 s3 u1"),
    ("version = 1 and not (model = 'ham' or model = 'spam')", "u1"),
    ("model = 'spam' and (stage = 'dev' or stage is null) and version > 1", "s2 s3"),
    // Quotes and escapes.
    ("tags.note = 'it''s'", "s1"),
    ("tags.note = ''", "h2"),
    ("tags.note = '100%'", "s2"),
    ("tags.note = 'a\\b'", "s3"),
    ("tags.`my key` = 'v 1'", "s1"),
    ("tags.\"my key\" = 'v 1'", "s1"),
    ("tags.k.with.dots = 'x'", "s1"),
    ("tags.`k.with.dots` = 'x'", "s1"),
    ("`tags`.\"k.with.dots\" = 'x'", "s1"),
    ("tags.`a``b\"c` = 'q'", "s1"),
    ("tags.\"a`b\"\"c\" = 'q'", "s1"),
    ("\"model\" = 'ham' and `version` = 2", "h2"),
    ("metrics.`val/auc` >= 0.5", "s1"),
    ("tags.in = 'x' or tags.and is not null", ""),
    ("tags.Team = 'mail'", ""),
    // Tags, and what is absent.
    ("tags.team = 'mail'", "h2 s1 s2"),
    ("tags.team != 'mail'", "h1 s3 u1"),
    ("not tags.team = 'mail'", "h1 s3 u1"),
    ("tags.team is null", "s4"),
    ("tags.team is not null", "h1 h2 s1 s2 s3 u1"),
    ("not tags.team is null", "h1 h2 s1 s2 s3 u1"),
    ("not tags.team is not null", "s4"),
    ("tags.team = 'mail' or tags.team is null", "h2 s1 s2 s4"),
    ("stage is null", "s3"),
    ("source is null", "h1 h2 s3 s4 u1"),
    ("run_id is not null", "s1 s2 s3"),
    ("version is null", ""),
    ("archived is not null and version = 4", "s4"),
    ("tags.none = 'x' or version = 4", "s4"),
    ("tags.none = 'x' and version = 4", ""),
    ("not (tags.none = 'x' and version = 4)", "h1 h2 s1 s2 s3 u1"),
    ("not (tags.none = 'x' or version = 4)", ""),
    ("tags.team >= 'mail'", "h2 s1 s2 u1"),
    ("tags.team < 'b'", "h1 s3"),
    // like.
    ("tags.team like 'mail'", "h2 s1 s2"),
    ("tags.team like 'm%'", "h2 s1 s2"),
    ("tags.team like '%ai%'", "h1 h2 s1 s2"),
    ("tags.team like '_ail'", "h1 h2 s1 s2"),
    ("tags.team like '%'", "h1 h2 s1 s2 s3 u1"),
    ("tags.team like ''", ""),
    ("tags.note like ''", "h2"),
    ("tags.team like '____'", "h1 h2 s1 s2"),
    ("tags.lang like '__'", "u1"),
    ("tags.lang like '日_'", "u1"),
    ("tags.team not like 'm%'", "h1 s3 u1"),
    ("not tags.team like 'm%'", "h1 s3 u1"),
    ("source like 's3://bucket/a_b'", "s1 s2"),
    ("source like 's3://bucket/a\\_b'", "s1"),
    ("tags.note like '%\\%'", "s2"),
    ("tags.note like 'a\\\\b'", "s3"),
    ("tags.note like 'a\\b'", ""),
    ("tags.note like 'it''%'", "s1"),
    ("model like 'мод%'", "u1"),
    ("model like '%m'", "h1 h2 s1 s2 s3 s4"),
    ("version like '1'", ""),
    ("version not like '1'", ""),
    // ilike.
    ("tags.team ilike 'MAIL'", "h1 h2 s1 s2"),
    ("tags.team ILIKE 'M%'", "h1 h2 s1 s2"),
    ("stage ilike 'prod'", "h1 s1 s4"),
    ("stage ilike 'ПРОД'", "u1"),
    ("tags.lang ilike 'σίΣΥΦΟσ'", "h1"),
    ("tags.lang ilike 'STRASSE'", ""),
    ("tags.lang ilike 'STRAẞE'", "h2"),
    ("stage not ilike 'PROD'", "h2 s2 u1"),
    ("source ilike '%A\\_B'", "s1"),
    // in and between.
    ("version in (1)", "h1 s1 u1"),
    ("version in (3, 4, 5)", "s3 s4"),
    ("version not in (1, 2)", "s3 s4"),
    ("not version in (1, 2)", "s3 s4"),
    ("version in (1.0, '2', true)", "h1 s1 u1"),
    ("version not in (1, '2')", ""),
    ("tags.team in ('ads', 'mail', 'ads')", "h2 s1 s2 s3"),
    ("tags.team not in ('ads', 'mail')", "h1 u1"),
    ("tags.team in ('ads', 7)", "s3"),
    ("model in ('ham', 'модель')", "h1 h2 u1"),
    ("archived in (true, false) and version = 4", "s4"),
    ("version between 2 and 3", "h2 s2 s3"),
    ("version between 3 and 2", ""),
    ("version not between 2 and 3", "h1 s1 s4 u1"),
    ("version between 2 and 3 and model = 'ham'", "h2"),
    ("version between 1.5 and 2.5", "h2 s2"),
    ("tags.team between 'a' and 'm'", "s3"),
    ("tags.team between 'a' and 'mail'", "h2 s1 s2 s3"),
    ("created_at between 2000 and 3000 or version = 4", "s2 s3 s4"),
    ("version between 1 and 'x'", ""),
    ("version not between 3 and 'x'", "h1 h2 s1 s2 u1"),
    ("stage between 'd' and 'e' and archived = true", "s2"),
    // Numbers: integers and floats by their exact value.
    ("properties.n = 7", "h1 s1"),
    ("properties.n = 7.0", "h1 s1"),
    ("properties.n = 70e-1", "h1 s1"),
    ("properties.n = +7", "h1 s1"),
    ("properties.n = -3", "s3"),
    ("properties.n = 9007199254740993", "s2"),
    ("properties.n = 9007199254740992", "h2"),
    ("properties.n = 9007199254740992.0", "h2"),
    ("properties.n > 9007199254740992.0", "s2"),
    ("properties.n != 7", "h2 s2 s3"),
    ("properties.big = 9223372036854775807", "s1"),
    ("properties.big < 9223372036854775808", "s1"),
    ("properties.big = 9223372036854775807.0", ""),
    ("properties.big < 9223372036854775807.0", "s1"),
    ("properties.min = -9223372036854775808", "s3"),
    ("properties.min = -9223372036854775808.0", "s3"),
    ("properties.acc between -1 and 1", "h1 s1 s2"),
    ("properties.acc > 0", "s1 s2"),
    ("metrics.f1 > 0.9", "h1 h2 s1 s3"),
    ("metrics.f1 = 0.91", "s1"),
    ("metrics.f1 = 1.0", "s3"),
    ("metrics.f1 = 9007199254740993", "h2"),
    ("metrics.f1 = 9007199254740992.0", ""),
    ("metrics.loss = 100", "s3"),
    ("metrics.loss in (1, 2.0)", "s1 s2"),
    ("metrics.big = 123456789012345678901234567890", "s1"),
    ("metrics.big = 123456789012345678901234567891", ""),
    ("metrics.big > 123456789012345678901234567889", "s1"),
    ("metrics.big > 1e29 and metrics.big < 1e30", "s1"),
    ("hyperparams.lr = 0.1", "s1"),
    ("hyperparams.lr < 0.1", "s2"),
    // Types: a text is never a number, and what has no order is unknown.
    ("hyperparams.depth = 6", "s1"),
    ("hyperparams.depth = '6'", "s2"),
    ("hyperparams.depth != 6", ""),
    ("hyperparams.depth != 7", "s1"),
    ("hyperparams.depth != '7'", "s2"),
    ("hyperparams.opt = 'adam'", "s1"),
    ("hyperparams.opt ilike 'sgd'", "s2"),
    ("hyperparams.flag = true", "s1"),
    ("hyperparams.flag = 'true'", ""),
    ("hyperparams.flag = 1", ""),
    ("hyperparams.nested = 'x' or hyperparams.nested != 'x'", ""),
    ("hyperparams.nested is not null", "s1"),
    ("hyperparams.none is not null", "s1"),
    ("hyperparams.none is null", "h1 h2 s2 s3 s4 u1"),
    ("properties.raw is not null", "s1"),
    ("properties.raw = 'AQI='", ""),
    ("properties.js is not null and not properties.js = 1", ""),
    ("properties.acc = 'high'", "s3"),
    ("properties.acc != 'low'", "s3"),
    ("properties.ok = true", "s1"),
    ("properties.ok != true", "s2"),
    ("properties.ok > false", "s1"),
    ("version = '1'", ""),
    ("version != '1'", ""),
    ("model = 1", ""),
    ("not model = 1", ""),
    ("stage > 1 or version = 4", "s4"),
    ("created_at = 'now'", ""),
    // What looks like an attack is a text like any other.
    ("model = 'x'' or ''1''=''1'", ""),
    ("model = '''; drop table versions; --'", ""),
    ("tags.`team = 'mail' or 1=1 --` = 'x'", ""),
    ("tags.team = '\u{0}'", ""),
    ("tags.team like '%\u{0}%'", ""),
    ("model = '%'", ""),
    ("model like '\\%'", ""),
];

fn names(versions: &[ml_persistence::Version]) -> String {
    let name = |version: &ml_persistence::Version| {
        let model = match version.model.as_str() {
            "spam" => "s",
            "ham" => "h",
            _ => "u",
        };
        format!("{model}{}", version.version)
    };
    versions.iter().map(name).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_query_over_versions_answers_what_the_table_says() {
    let room = versions();
    for (filter, expected) in VERSIONS {
        if let Some(refusal) = expected.strip_prefix('!') {
            let error = room.db.registry().search_versions(&SearchRequest::new().filter(*filter)).unwrap_err();
            assert!(error.to_string().contains(refusal), "{filter}: {error}");
            continue;
        }
        let request = SearchRequest::new().filter(*filter);
        assert_eq!(names(&room.versions(&request, 1000)), *expected, "{filter}");
        assert_eq!(names(&room.versions(&request, 2)), *expected, "{filter}, in pages");
        if !filter.trim().is_empty() {
            let scanned = SearchRequest::new().filter(format!("({filter}) or ({filter})"));
            assert_eq!(names(&room.versions(&scanned, 1000)), *expected, "{filter}, without an index");
        }
        let in_spam: Vec<&str> = expected.split(' ').filter(|name| name.starts_with('s')).collect();
        assert_eq!(names(&room.versions(&request.in_model("spam"), 2)), in_spam.join(" "), "{filter}, in one model");
    }
    room.assert_clean();
}

/// Orders and the names in that order; a version has no stage where there is none, and two times are equal.
const ORDERS: &[(&[&str], &str)] = &[
    (&[], "h1 h2 s1 s2 s3 s4 u1"),
    (&["model"], "h1 h2 s1 s2 s3 s4 u1"),
    (&["model desc"], "u1 s1 s2 s3 s4 h1 h2"),
    (&["model desc", "version desc"], "u1 s4 s3 s2 s1 h2 h1"),
    (&["model", "version desc"], "h2 h1 s4 s3 s2 s1 u1"),
    (&["version"], "h1 s1 u1 h2 s2 s3 s4"),
    (&["version DESC"], "s4 s3 h2 s2 h1 s1 u1"),
    (&["created_at"], "s1 s2 s3 s4 h1 h2 u1"),
    (&["created_at desc"], "u1 h2 h1 s4 s3 s2 s1"),
    (&["updated_at desc"], "h2 s2 u1 h1 s4 s3 s1"),
    (&["updated_at desc", "version desc"], "h2 s2 u1 h1 s4 s3 s1"),
    (&["updated_at  asc"], "s1 s3 s4 h1 u1 h2 s2"),
    (&["stage"], "s4 h2 s2 h1 s1 u1 s3"),
    (&["stage desc"], "u1 h1 s1 s2 h2 s4 s3"),
    (&["stage desc", "created_at desc"], "u1 h1 s1 s2 h2 s4 s3"),
    (&["stage", "version desc"], "s4 h2 s2 h1 s1 u1 s3"),
    (&["run_id"], "s3 s1 s2 h1 h2 s4 u1"),
    (&["run_id desc", "model desc"], "s2 s1 s3 u1 s4 h1 h2"),
];

#[test]
fn every_order_is_kept_over_pages_of_any_size() {
    let room = versions();
    for (order, expected) in ORDERS {
        let request = order.iter().fold(SearchRequest::new(), |request, term| request.order_by(*term));
        for size in 1..=8 {
            assert_eq!(names(&room.versions(&request, size)), *expected, "{order:?}, pages of {size}");
        }
        let spam = expected.split(' ').filter(|name| name.starts_with('s')).collect::<Vec<_>>().join(" ");
        assert_eq!(names(&room.versions(&request.in_model("spam"), 2)), spam, "{order:?} in one model");
    }
}

const MODELS: &[(&str, &str)] = &[
    ("", "Spam ham spam модель"),
    ("name = 'spam'", "spam"),
    ("name != 'spam'", "Spam ham модель"),
    ("name in ('spam', 'none', 'ham')", "ham spam"),
    ("name like '%am'", "Spam ham spam"),
    ("name like 's%'", "spam"),
    ("name ilike 'S%'", "Spam spam"),
    ("name between 'a' and 'i'", "ham"),
    ("name > 'ham'", "spam модель"),
    ("description = 'good mail'", "ham"),
    ("description is null", "Spam модель"),
    ("description like '%mail%' and not name = 'ham'", "spam"),
    ("active_version is null", "Spam модель"),
    ("active_version = 2", "spam"),
    ("active_version >= 1", "ham spam"),
    ("archived = true", "ham"),
    ("tags.team = 'mail'", "ham spam"),
    ("tags.team is null", "Spam модель"),
    ("properties.quota > 10", "spam"),
    ("properties.quota <= 10.0", "ham"),
    ("created_at = 1000", "ham spam"),
    ("created_at >= 2000 and created_at <= 3000", "Spam модель"),
    ("updated_at > 1000", "Spam spam модель"),
    ("model = 'spam'", "!did you mean"),
    ("metrics.f1 > 0.5", "!unknown field `metrics`"),
];

#[test]
fn every_query_over_models_answers_what_the_table_says() {
    let room = Room::new();
    let registry = room.db.registry();
    let ham = NewModel::new().description("good mail").tag("team", "mail").property("quota", 10i64);
    registry.create_model("ham", ham).unwrap();
    registry
        .create_model("spam", NewModel::new().description("bad mail").tag("team", "mail").property("quota", 10.5))
        .unwrap();
    registry.register_version("ham", NewVersion::new()).unwrap();
    room.clock.advance(1000);
    registry.create_model("Spam", NewModel::new()).unwrap();
    registry.register_version("spam", NewVersion::new()).unwrap();
    registry.register_version("spam", NewVersion::new()).unwrap();
    room.clock.advance(1000);
    registry.create_model("модель", NewModel::new()).unwrap();
    registry.update_model("ham", ml_persistence::registry::ModelUpdate::new().archived(true)).unwrap();
    for (filter, expected) in MODELS {
        let request = SearchRequest::new().filter(*filter);
        if let Some(refusal) = expected.strip_prefix('!') {
            let error = registry.search_models(&request).unwrap_err();
            assert!(error.to_string().contains(refusal), "{filter}: {error}");
            continue;
        }
        for (size, request) in [(1000, request.clone()), (1, request.clone()), (2, request.clone().order_by("name"))] {
            let found: Vec<String> = room.models(&request, size).into_iter().map(|model| model.name).collect();
            assert_eq!(found.join(" "), *expected, "{filter}");
        }
        let found: Vec<String> =
            room.models(&request.order_by("name desc"), 2).into_iter().map(|model| model.name).collect();
        assert_eq!(found.into_iter().rev().collect::<Vec<_>>().join(" "), *expected, "{filter}, backwards");
    }
    let order = |term: &str| {
        let found = room.models(&SearchRequest::new().order_by(term), 2);
        found.into_iter().map(|model| model.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(order("created_at desc"), "модель Spam ham spam");
    assert_eq!(order("updated_at"), "ham Spam spam модель");
    room.assert_clean();
}

#[test]
fn the_tables_are_long_enough_to_mean_something() {
    assert!(VERSIONS.len() + MODELS.len() + ORDERS.len() >= 120);
    let twice = VERSIONS
        .iter()
        .enumerate()
        .find(|(place, (filter, _))| VERSIONS[..*place].iter().any(|(other, _)| other == filter));
    assert_eq!(twice, None);
}

#[test]
fn the_longest_tags_runs_and_names_are_indexed_and_found() {
    let room = Room::new();
    let (name, key) = ("n".repeat(256), "\0".repeat(256));
    let (long, longer) = ("\0".repeat(50_000), "\0".repeat(50_001));
    let new = NewVersion::new().tag(&key, &long).tag("other", &longer).run_id("\0".repeat(256)).stage("s".repeat(64));
    room.db.registry().register_version(&name, new).unwrap();
    room.db.registry().register_version(&name, NewVersion::new().tag(&key, &longer)).unwrap();
    let found = |filter: String| {
        room.versions(&SearchRequest::new().filter(filter), 10).iter().map(|v| v.version).collect::<Vec<_>>()
    };
    assert_eq!(found(format!("tags.`{key}` = '{long}'")), [1]);
    assert_eq!(found(format!("tags.`{key}` = '{longer}'")), [2]);
    assert_eq!(found(format!("tags.`{key}` like '{}%'", "\0".repeat(1000))), [1, 2]);
    assert_eq!(found(format!("run_id = '{}'", "\0".repeat(256))), [1]);
    room.db.registry().update_version(&name, 1, VersionUpdate::new().delete_tag(&key).clear_stage()).unwrap();
    assert_eq!(found(format!("tags.`{key}` = '{long}'")), [] as [u32; 0]);
    room.assert_clean();
}
