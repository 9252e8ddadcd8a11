//! Random filters over random versions: what search answers is what the oracle selects, in its order, over pages of
//! any size, with an index and without; and an oracle that is wrong in one way is noticed.

use std::collections::BTreeMap;

use ml_persistence::registry::{Change, NewVersion, Property, SearchRequest, VersionUpdate};
use ml_persistence::{Json, Version};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};

use crate::oracle::{self, Cell, Decimal, Expr, Literal, Planted, Row, Style};
use crate::room::Room;

const MODELS: [&str; 3] = ["a", "a@v1", "ab"];
const TEXTS: [&str; 16] =
    ["", "a", "A", "ab", "aB", "a%b", "a_b", "it's", "b\\c", "σς", "ΣΣ", "é", "É", "mail", "zz", "a@v1"];
const NUMBERS: [&str; 27] = [
    "0",
    "-0",
    "1",
    "-1",
    "2",
    "3",
    "7",
    "7.0",
    "0.5",
    "5e-1",
    "0.1",
    "2.5",
    "1e3",
    "1000",
    "2000",
    "3000.5",
    "9007199254740993",
    "9007199254740992.0",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "-9.3e18",
    "1e300",
    "123456789012345678901234567890",
    "1000000000000000000000000000000000000000000",
    "1e42",
    "5e-324",
];
const JSONS: [&str; 10] = ["\"a\"", "\"aB\"", "\"it's\"", "true", "false", "null", "[1]", "{\"a\":1}", "7", "\"7\""];
const FIELDS: [&str; 17] = [
    "model",
    "version",
    "stage",
    "source",
    "run_id",
    "created_by",
    "archived",
    "created_at",
    "updated_at",
    "tags.k",
    "tags.my key",
    "tags.a.b",
    "properties.p",
    "properties.q`\"q",
    "metrics.m",
    "metrics.x/y",
    "hyperparams.h",
];
const ORDERED: [&str; 6] = ["model", "version", "stage", "run_id", "created_at", "updated_at"];

/// A version to register, and what becomes of it.
#[derive(Debug, Clone)]
struct Spec {
    model: &'static str,
    plain: [Option<&'static str>; 4],
    tags: BTreeMap<&'static str, &'static str>,
    properties: BTreeMap<&'static str, Property>,
    metrics: BTreeMap<&'static str, &'static str>,
    hyperparams: BTreeMap<&'static str, String>,
    archived: bool,
    later_stage: Option<&'static str>,
    later_tag: Option<&'static str>,
    ticks: bool,
}

fn text() -> impl Strategy<Value = &'static str> {
    prop::sample::select(TEXTS.to_vec())
}

/// Often one of those that `f64` takes for another.
fn number() -> impl Strategy<Value = &'static str> {
    let near =
        ["9007199254740993", "9007199254740992.0", "9007199254740992", "9223372036854775807", "9223372036854775808"];
    prop_oneof![2 => prop::sample::select(near.to_vec()), 3 => prop::sample::select(NUMBERS.to_vec())]
}

fn some<T: Clone + std::fmt::Debug>(of: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::weighted(0.7, of)
}

fn property() -> impl Strategy<Value = Property> {
    let wholes = [0, 1, -1, 7, i64::MIN, i64::MAX, 9_007_199_254_740_993];
    let floats = [0.0, -0.0, 0.5, 7.0, 0.1, 9_007_199_254_740_992.0, 9_223_372_036_854_775_807.0, -1e300, 5e-324];
    prop_oneof![
        prop::sample::select(wholes.to_vec()).prop_map(Property::I64),
        prop::sample::select(floats.to_vec()).prop_map(Property::F64),
        any::<i64>().prop_map(Property::I64),
        text().prop_map(Property::from),
        any::<bool>().prop_map(Property::Bool),
        Just(Property::Bytes(vec![1, 2])),
        prop::sample::select(JSONS.to_vec()).prop_map(|json| Property::Json(Json::parse(json).unwrap())),
    ]
}

fn map<T: Clone + std::fmt::Debug>(
    keys: &'static [&'static str],
    of: impl Strategy<Value = T>,
) -> impl Strategy<Value = BTreeMap<&'static str, T>> {
    prop::collection::btree_map(prop::sample::select(keys.to_vec()), of, 0..=keys.len())
}

fn spec() -> impl Strategy<Value = Spec> {
    let stage = || text().prop_filter("a stage has a letter", |text| !text.is_empty());
    let by = text().prop_filter("somebody has a name", |text| !text.is_empty());
    let hyperparam =
        prop_oneof![number().prop_map(str::to_owned), prop::sample::select(JSONS.to_vec()).prop_map(str::to_owned),];
    let flags = (any::<bool>(), any::<bool>());
    (
        prop::sample::select(MODELS.to_vec()),
        (some(stage()), some(text()), some(text()), some(by)),
        map(&["k", "my key", "a.b"], text()),
        map(&["p", "q`\"q"], property()),
        map(&["m", "x/y"], number()),
        map(&["h"], hyperparam),
        flags,
        (prop::option::weighted(0.2, stage()), prop::option::weighted(0.2, text())),
    )
        .prop_map(|(model, plain, tags, properties, metrics, hyperparams, (archived, ticks), later)| Spec {
            model,
            plain: [plain.0, plain.1, plain.2, plain.3],
            tags,
            properties,
            metrics,
            hyperparams,
            archived,
            later_stage: later.0,
            later_tag: later.1,
            ticks,
        })
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        4 => text().prop_map(|text| Literal::Text(text.to_owned())),
        3 => number().prop_map(|text| Literal::Number(text.to_owned())),
        1 => any::<i64>().prop_map(|number| Literal::Number(number.to_string())),
        1 => any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| Literal::Number(format!("{f:e}"))),
        1 => any::<bool>().prop_map(Literal::Bool),
    ]
}

/// A value of the type that the field mostly has, so that most tests are not merely unknown.
fn fitting(field: &str) -> BoxedStrategy<Literal> {
    let whole = |range: std::ops::Range<u32>| range.prop_map(|number| Literal::Number(number.to_string()));
    let fitting = match field {
        "model" => prop::sample::select(MODELS.to_vec()).prop_map(|model| Literal::Text(model.to_owned())).boxed(),
        "version" => whole(0..6).boxed(),
        "created_at" | "updated_at" => whole(0..12)
            .prop_map(|literal| match literal {
                Literal::Number(number) => Literal::Number(format!("{number}000")),
                other => other,
            })
            .boxed(),
        "archived" => any::<bool>().prop_map(Literal::Bool).boxed(),
        _ if field.starts_with("metrics") => number().prop_map(|text| Literal::Number(text.to_owned())).boxed(),
        _ if field.starts_with("properties") || field.starts_with("hyper") => literal().boxed(),
        _ => text().prop_map(|text| Literal::Text(text.to_owned())).boxed(),
    };
    prop_oneof![8 => fitting, 1 => literal()].boxed()
}

fn pattern() -> impl Strategy<Value = String> {
    let pieces = ["a", "A", "b", "%", "_", "\\%", "\\_", "\\\\", "\\a", "é", "É", "Σ", "ς", "'", "mail"];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..5).prop_map(|pieces| pieces.concat())
}

fn test() -> impl Strategy<Value = Expr> {
    prop::sample::select(FIELDS.to_vec()).prop_flat_map(|field| {
        let name = || Just(field.to_owned());
        let value = || fitting(field);
        let operators = prop::sample::select(vec!["=", "=", "=", "!=", "<", "<=", ">", ">="]);
        prop_oneof![
            6 => (name(), operators, value()).prop_map(|(field, operator, value)| Expr::Compare(field, operator, value)),
            2 => (name(), any::<bool>(), value(), value()).prop_map(|(f, not, low, high)| Expr::Between(f, not, low, high)),
            2 => (name(), any::<bool>(), prop::collection::vec(value(), 1..4)).prop_map(|(f, not, list)| Expr::In(f, not, list)),
            2 => (name(), any::<bool>(), any::<bool>(), pattern()).prop_map(|(f, not, folds, p)| Expr::Like(f, not, folds, p)),
            1 => (name(), any::<bool>()).prop_map(|(field, negated)| Expr::Null(field, negated)),
        ]
    })
}

fn expr() -> impl Strategy<Value = Expr> {
    test().prop_recursive(5, 24, 2, |inner| {
        prop_oneof![
            4 => (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::And(Box::new(a), Box::new(b))),
            2 => (inner.clone(), inner.clone()).prop_map(|(a, b)| Expr::Or(Box::new(a), Box::new(b))),
            2 => inner.prop_map(|a| Expr::Not(Box::new(a))),
        ]
    })
}

/// A filter with its spelling, an order, a page size, and perhaps one model to search in.
#[derive(Debug, Clone)]
struct Query {
    filter: Expr,
    style: u64,
    order_by: Vec<(&'static str, bool)>,
    size: usize,
    model: Option<&'static str>,
}

/// A test that an index can answer, and that selects something now and then.
fn anchor() -> impl Strategy<Value = Expr> {
    let fields =
        ["model", "stage", "run_id", "tags.k", "tags.my key", "tags.a.b", "created_at", "updated_at", "version"];
    prop::sample::select(fields.to_vec()).prop_flat_map(|field| {
        let name = || Just(field.to_owned());
        let value = || fitting(field);
        let range = prop::sample::select(vec!["<", "<=", ">", ">="]);
        let prefix = prop::sample::select(vec!["a%", "a\\_b%", "é%", "m%", "i%'%"]);
        prop_oneof![
            3 => (name(), value()).prop_map(|(field, value)| Expr::Compare(field, "=", value)),
            2 => (name(), prop::collection::vec(value(), 1..5)).prop_map(|(f, list)| Expr::In(f, false, list)),
            1 => (name(), range, value()).prop_map(|(field, operator, value)| Expr::Compare(field, operator, value)),
            1 => (name(), value(), value()).prop_map(|(f, low, high)| Expr::Between(f, false, low, high)),
            1 => (name(), prefix).prop_map(|(f, prefix)| Expr::Like(f, false, false, prefix.to_owned())),
        ]
    })
}

fn filter() -> impl Strategy<Value = Expr> {
    let and = |(a, b)| Expr::And(Box::new(a), Box::new(b));
    prop_oneof![
        2 => anchor(),
        2 => (anchor(), anchor()).prop_map(and),
        3 => (anchor(), expr()).prop_map(and),
        2 => test(),
        4 => expr(),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let orders = prop::sample::subsequence(ORDERED.to_vec(), 0..3).prop_shuffle();
    let order_by = (orders, any::<[bool; 3]>())
        .prop_map(|(fields, down)| fields.into_iter().zip(down).collect::<Vec<(&'static str, bool)>>());
    let model = prop::option::weighted(0.25, prop::sample::select(MODELS.to_vec()));
    (filter(), any::<u64>(), order_by, 1usize..8, model).prop_map(|(filter, style, order_by, size, model)| Query {
        filter,
        style,
        order_by,
        size,
        model,
    })
}

fn cases() -> impl Strategy<Value = (Vec<Spec>, Vec<Query>)> {
    (prop::collection::vec(spec(), 0..16), prop::collection::vec(query(), 24))
}

/// Registers the versions; answers what they hold as the oracle sees it.
fn fill(room: &Room, specs: &[Spec]) -> Vec<Row> {
    let registry = room.db.registry();
    let mut now: u64 = 1_000;
    let mut rows: Vec<Row> = Vec::new();
    for spec in specs {
        if spec.ticks {
            room.clock.advance(1_000);
            now += 1_000;
        }
        let mut row = Row::new();
        let mut new = NewVersion::new();
        let texts: [fn(NewVersion, String) -> NewVersion; 4] =
            [NewVersion::stage, NewVersion::source, NewVersion::run_id, NewVersion::by];
        for (place, name) in ["stage", "source", "run_id", "created_by"].into_iter().enumerate() {
            if let Some(text) = spec.plain[place] {
                new = texts[place](new, text.to_owned());
                row.insert(name.to_owned(), Cell::Text(text.to_owned()));
            }
        }
        for (key, value) in &spec.tags {
            new = new.tag(*key, *value);
            row.insert(format!("tags.{key}"), Cell::Text((*value).to_owned()));
        }
        for (key, value) in &spec.properties {
            new = new.property(*key, value.clone());
            row.insert(format!("properties.{key}"), cell_of(value));
        }
        for (key, text) in &spec.metrics {
            new = new.metric_json(*key, Json::parse(text).unwrap());
            row.insert(format!("metrics.{key}"), Cell::Number(Decimal::written(text)));
        }
        for (key, text) in &spec.hyperparams {
            new = new.hyperparam(*key, Json::parse(text).unwrap());
            row.insert(format!("hyperparams.{key}"), cell_of_json(text));
        }
        let version = registry.register_version(spec.model, new).expect("registered").version;
        let whole = |number: u64| Cell::Number(Decimal::written(&number.to_string()));
        row.insert("created_at".to_owned(), whole(now));
        if let Some(stage) = spec.later_stage {
            room.clock.advance(1_000);
            now += 1_000;
            registry.update_version(spec.model, version, VersionUpdate::new().stage(stage)).expect("moved");
            row.insert("stage".to_owned(), Cell::Text(stage.to_owned()));
        }
        if let Some(tag) = spec.later_tag {
            let update = VersionUpdate::new().set_tag("k", tag).delete_tag("a.b");
            registry.update_version(spec.model, version, update).expect("tagged");
            row.insert("tags.k".to_owned(), Cell::Text(tag.to_owned()));
            row.remove("tags.a.b");
        }
        if spec.archived {
            registry.archive(spec.model, version, &Change::new()).expect("archived");
        }
        row.insert("updated_at".to_owned(), whole(now));
        row.insert("archived".to_owned(), Cell::Bool(spec.archived));
        row.insert("model".to_owned(), Cell::Text(spec.model.to_owned()));
        row.insert("version".to_owned(), whole(version.into()));
        rows.push(row);
    }
    rows
}

fn cell_of(property: &Property) -> Cell {
    match property {
        Property::Bool(value) => Cell::Bool(*value),
        Property::I64(value) => Cell::Number(Decimal::written(&value.to_string())),
        Property::F64(value) => Cell::Number(Decimal::float(*value)),
        Property::Text(text) => Cell::Text(text.clone()),
        Property::Json(json) => cell_of_json(json.as_str()),
        _ => Cell::Other,
    }
}

fn cell_of_json(text: &str) -> Cell {
    match text {
        "true" => Cell::Bool(true),
        "false" => Cell::Bool(false),
        _ if text.starts_with('"') => Cell::Text(text.trim_matches('"').to_owned()),
        _ if text.starts_with(['[', '{', 'n']) => Cell::Other,
        _ => Cell::Number(Decimal::written(text)),
    }
}

fn name(row: &Row) -> (String, u32) {
    match (&row["model"], &row["version"]) {
        (Cell::Text(model), Cell::Number(version)) => (
            model.clone(),
            format!("{version:?}").chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap(),
        ),
        other => panic!("{other:?}"),
    }
}

fn check(specs: &[Spec], queries: &[Query], planted: Planted, seen: &mut Seen) -> Result<(), TestCaseError> {
    let room = Room::new();
    let rows = fill(&room, specs);
    for query in queries {
        let filter = oracle::print(&query.filter, &mut Style(query.style));
        let there = |model: &str| rows.iter().any(|row| name(row).0 == model);
        let model = query.model.filter(|model| there(model));
        let mut expected: Vec<&Row> = rows.iter().filter(|row| oracle::selects(&query.filter, row, planted)).collect();
        expected.retain(|row| model.is_none_or(|model| name(row).0 == model));
        expected.sort_by(|a, b| oracle::in_order(a, b, &query.order_by, planted));
        let expected: Vec<(String, u32)> = expected.into_iter().map(name).collect();
        let mut request = SearchRequest::new().filter(&filter);
        for (field, descending) in &query.order_by {
            request = request.order_by(format!("{field}{}", if *descending { " desc" } else { "" }));
        }
        if let Some(model) = model {
            request = request.in_model(model);
        }
        let found = |request: &SearchRequest| -> Vec<(String, u32)> {
            let row = |version: Version| (version.model, version.version);
            room.versions(request, query.size).into_iter().map(row).collect()
        };
        prop_assert_eq!(found(&request), expected.clone(), "{} of {:?}", &filter, rows);
        let scanned = request.clone().filter(format!("({filter}) or ({filter})"));
        prop_assert_eq!(found(&scanned), expected.clone(), "without an index: {} of {:?}", &filter, rows);
        let page = room.db.registry().search_versions(&request.explain(true)).unwrap();
        seen.note(&page.plan.unwrap().by_index, !expected.is_empty());
    }
    room.assert_clean();
    Ok(())
}

/// How often what was seen, so that a generator that has run dry is noticed.
#[derive(Debug, Default)]
struct Seen {
    queries: u32,
    with_rows: u32,
    by_index: u32,
    by_index_with_rows: u32,
}

impl Seen {
    fn note(&mut self, by_index: &[String], rows: bool) {
        let index = !by_index.is_empty();
        self.queries += 1;
        self.with_rows += u32::from(rows);
        self.by_index += u32::from(index);
        self.by_index_with_rows += u32::from(index && rows);
    }
}

fn run(cases_wanted: u32, planted: Planted) -> (Result<(), String>, Seen) {
    let config = Config {
        max_shrink_iters: if planted == Planted::Nothing { 400 } else { 0 },
        ..Config::with_cases(cases_wanted)
    };
    let seen = std::cell::RefCell::new(Seen::default());
    let mut runner = match planted {
        Planted::Nothing => TestRunner::new(config),
        // What is to be noticed is noticed on every day.
        _ => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    };
    let outcome = runner.run(&cases(), |(specs, queries)| check(&specs, &queries, planted, &mut seen.borrow_mut()));
    (outcome.map_err(|error| error.to_string()), seen.into_inner())
}

#[test]
fn random_filters_select_and_order_as_the_oracle_does_with_an_index_and_without() {
    let (outcome, seen) = run(64, Planted::Nothing);
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert!(seen.queries >= 1_500, "{seen:?}");
    assert!(seen.with_rows * 6 >= seen.queries, "the filters must select something now and then: {seen:?}");
    assert!(seen.by_index * 5 >= seen.queries && seen.by_index_with_rows >= 40, "indexes must be used: {seen:?}");
}

#[test]
fn an_oracle_that_is_wrong_in_one_way_is_noticed() {
    for planted in
        [Planted::NotOfUnknown, Planted::RoundedIntegers, Planted::OpenBetween, Planted::NoEscape, Planted::AbsentFirst]
    {
        let (outcome, seen) = run(200, planted);
        assert!(outcome.is_err(), "{planted:?} went unnoticed: {seen:?}");
    }
}
