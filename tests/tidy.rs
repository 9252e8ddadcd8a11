//! The house rules that the compiler does not know, held against every source file.
//!
//! - Layers: code names only what lies below it (the picture is in `lib.rs`; the table is [`LAYERS`]).
//! - What may not stand in library code: [`unfinished_or_careless`].
//! - One owner each for time and randomness ([`clocks_outside_clock_rs`]) and for the payload codec
//!   ([`bincode_outside_codec_rs`]).
//! - Every file says in its first line what it is.
//!
//! A checker is trusted once it has caught a planted fault, so each rule is also given lines that it must catch, and
//! lines that only look like them. What it cannot see: paths that a macro puts together, and names that come in by a
//! glob.

// A panic here is a failed test; clippy sees that only for functions marked as such.
#![allow(clippy::unwrap_used)]

#[path = "tidy/tokens.rs"]
mod tokens;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tokens::{Token, tokens, without_tests, word};

/// Top-level modules from the ground up. A layer may use those below it, and itself where its rooms are not `blind`.
const LAYERS: [Layer; 6] = [
    Layer { name: "nouns", rooms: &["error", "clock", "config", "json", "base64"], blind: false },
    Layer { name: "engine", rooms: &["engine"], blind: false },
    Layer { name: "spelling", rooms: &["keys", "codec"], blind: false },
    Layer { name: "record", rooms: &["record"], blind: false },
    Layer { name: "domain", rooms: &["jobs", "registry", "snapshot"], blind: true },
    Layer { name: "façade", rooms: &["persistence", "kv"], blind: false },
];

/// Rooms behind the engine's waist: whoever is above the engine and below the façade works with `dyn Engine`.
const BEHIND_THE_WAIST: [&str; 5] = ["local", "sled", "memory", "wrap", "conformance"];

struct Layer {
    name: &'static str,
    rooms: &'static [&'static str],
    /// Its rooms may not know each other.
    blind: bool,
}

/// A source file, its path relative to the package with `/` between the parts.
struct Source {
    path: String,
    text: String,
}

/// What a rule found: `path:line: message`.
type Faults = Vec<String>;

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Source { path: path.to_owned(), text: text.to_owned() }
    }

    fn tokens(&self) -> Vec<Token> {
        tokens(&self.text)
    }

    fn production_tokens(&self) -> Vec<Token> {
        without_tests(&self.tokens()).0
    }

    fn fault(&self, line: usize, message: impl std::fmt::Display) -> String {
        format!("{}:{line}: {message}", self.path)
    }

    /// Names of the modules around the file's content, from the crate's root: `src/jobs/claim.rs` is `[jobs, claim]`.
    fn module_path(&self) -> Vec<String> {
        let inside = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = inside.split('/').filter(|part| !matches!(*part, "lib" | "main" | "mod"));
        parts.map(str::to_owned).collect()
    }

    fn is_bin(&self) -> bool {
        self.path.starts_with("src/bin/")
    }
}

// ---- the rules -----------------------------------------------------------------------------------------------------

fn layer_faults(source: &Source, reexports: &BTreeMap<String, String>) -> Faults {
    let module = source.module_path();
    let Some(room) = module.first() else {
        // lib.rs shows every room to the world.
        return Faults::new();
    };
    if source.is_bin() {
        return edge_faults(source);
    }
    let Some(own) = layer_of(room) else {
        return vec![source.fault(1, format!("`{room}` has no place in the table of layers"))];
    };
    let mut faults = Faults::new();
    for (line, path) in crate_paths(&source.production_tokens(), &module) {
        let Some(first) = path.first() else { continue };
        let target = reexports.get(first).unwrap_or(first);
        let Some(other) = layer_of(target) else { continue };
        if other > own {
            let (below, above) = (LAYERS[own].name, LAYERS[other].name);
            faults.push(source.fault(line, format!("{below} may not know {above}: `{}`", path.join("::"))));
        } else if other == own && target != room && LAYERS[own].blind {
            faults.push(source.fault(line, format!("`{room}` and `{target}` are blind to each other")));
        }
        let between = room != "engine" && LAYERS[own].name != "façade";
        let behind = path.get(1).is_some_and(|second| BEHIND_THE_WAIST.contains(&second.as_str()));
        if target == "engine" && between && behind {
            faults.push(source.fault(line, format!("`{}` lies behind the engine's waist", path.join("::"))));
        }
    }
    faults
}

/// An edge knows the façade, what the façade hands out (the domain's own words: a lease, a version), and the nouns.
/// What lies below (engine, spelling, records) is none of its business.
fn edge_faults(source: &Source) -> Faults {
    let tokens = source.production_tokens();
    let mut faults = Faults::new();
    for at in (0..tokens.len()).filter(|&at| word(&tokens, at) == "ml_persistence" && word(&tokens, at + 1) == "::") {
        for path in paths_from(&tokens, at + 2) {
            let layer = path.first().and_then(|first| layer_of(first)).map(|layer| LAYERS[layer].name);
            if layer.is_some_and(|layer| !matches!(layer, "nouns" | "domain" | "façade")) {
                let path = path.join("::");
                faults.push(
                    source.fault(
                        tokens[at].line,
                        format!("an edge knows only the façade and what it hands out: `{path}`"),
                    ),
                );
            }
        }
    }
    faults
}

/// `.unwrap()`, `todo!`, `unimplemented!`, `dbg!`, and results that are thrown away.
fn unfinished_or_careless(source: &Source) -> Faults {
    let tokens = source.production_tokens();
    let mut faults = Faults::new();
    for (at, token) in tokens.iter().enumerate() {
        let before = at.checked_sub(1).map_or("", |at| word(&tokens, at));
        let (this, next) = (token.text.as_str(), word(&tokens, at + 1));
        let message = match this {
            "unwrap" if matches!(before, "." | "::") => "unwrap: answer with an error, or `expect` with the reason",
            "todo" | "unimplemented" | "dbg" if next == "!" => "not finished: todo!, unimplemented! or dbg!",
            "_" if before == "let" && matches!(next, "=" | ":") => "`let _ =` may drop an error",
            "_" if matches!(before, ";" | "{" | "}") && next == "=" => "`_ =` may drop an error",
            _ => continue,
        };
        faults.push(source.fault(token.line, message));
    }
    faults
}

/// Clocks, randomness and sleep; test code included, since a test that waits for time is a test that fails on a slow
/// day.
fn clocks_outside_clock_rs(source: &Source) -> Faults {
    let tokens = source.tokens();
    let mut faults = Faults::new();
    for (at, token) in tokens.iter().enumerate() {
        let next = word(&tokens, at + 1);
        let message = match token.text.as_str() {
            "sleep" | "sleep_ms" | "sleep_until" => "sleep: wait for a signal instead",
            "Instant" | "SystemTime" | "UNIX_EPOCH" => "a clock of the operating system; take a Clock or a Stopwatch",
            "getrandom" | "rand" | "fastrand" if next == "::" => "randomness; take Ids",
            "thread_rng" | "RandomState" => "randomness; take Ids",
            _ => continue,
        };
        // What a model draws belongs to its schedule, and is drawn again when that is replayed.
        let of_a_schedule = source.path == "src/engine/local/sync/modelled.rs" && message.starts_with("randomness");
        if !of_a_schedule && (source.path != "src/clock.rs" || message.starts_with("sleep")) {
            faults.push(source.fault(token.line, message));
        }
    }
    faults
}

fn bincode_outside_codec_rs(source: &Source) -> Faults {
    if source.path == "src/codec.rs" || source.path.starts_with("src/codec/") {
        return Faults::new();
    }
    let named = source.tokens().into_iter().filter(|token| token.text == "bincode");
    named.map(|token| source.fault(token.line, "bincode is named in codec.rs alone")).collect()
}

fn opening_faults(source: &Source) -> Faults {
    if source.text.starts_with("//! ") {
        return Faults::new();
    }
    vec![source.fault(1, "the first line says what the file is: `//! …`")]
}

// ---- reading -------------------------------------------------------------------------------------------------------

fn layer_of(room: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.rooms.contains(&room))
}

/// Every path of the crate that `tokens` name, from its root, with the line it begins on. `super` is followed as far
/// as the file's own place tells.
fn crate_paths(tokens: &[Token], module: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let (line, start) = (tokens[at].line, at);
        let mut base = match word(tokens, at) {
            "crate" => Vec::new(),
            "super" | "self" => module.to_vec(),
            _ => {
                at += 1;
                continue;
            }
        };
        while matches!(word(tokens, at), "super" | "self" | "crate") && word(tokens, at + 1) == "::" {
            if word(tokens, at) == "super" {
                base.pop();
            }
            at += 2;
        }
        if at == start {
            at += 1;
            continue;
        }
        for path in paths_from(tokens, at) {
            found.push((line, base.iter().cloned().chain(path).collect()));
        }
    }
    found
}

/// The paths of the tree that begins at `at`: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn paths_from(tokens: &[Token], at: usize) -> Vec<Vec<String>> {
    fn read(tokens: &[Token], at: &mut usize, before: &[String], found: &mut Vec<Vec<String>>) {
        let mut path = before.to_vec();
        loop {
            if word(tokens, *at) == "{" {
                *at += 1;
                while !matches!(word(tokens, *at), "}" | "") {
                    read(tokens, at, &path, found);
                    // Past a comma, an `as name`, a `*`.
                    while !matches!(word(tokens, *at), "," | "}" | "") {
                        *at += 1;
                    }
                    *at += usize::from(word(tokens, *at) == ",");
                }
                *at += 1;
                return;
            }
            path.push(word(tokens, *at).to_owned());
            *at += 1;
            if word(tokens, *at) != "::" {
                break;
            }
            *at += 1;
        }
        found.push(path);
    }
    let mut found = Vec::new();
    read(tokens, &mut { at }, &[], &mut found);
    found
}

/// Which room each name of `lib.rs`'s `pub use room::…` comes from.
fn reexports(lib: &str) -> BTreeMap<String, String> {
    let tokens = without_tests(&tokens(lib)).0;
    let mut names = BTreeMap::new();
    for at in (0..tokens.len()).filter(|&at| word(&tokens, at) == "use") {
        for path in paths_from(&tokens, at + 1) {
            if let (Some(room), Some(name)) = (path.first(), path.last()) {
                names.insert(name.clone(), room.clone());
            }
        }
    }
    names
}

/// Every `.rs` file under `folder` of the package, in order of path.
fn sources(folder: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders: Vec<PathBuf> = vec![root.join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        // A package without examples or benches is fine.
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                // A package below has a build folder of its own, with what its dependencies generate.
                if path.file_name().is_none_or(|name| name != "target") {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source { text: fs::read_to_string(&path).unwrap(), path: relative });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Library and program files that are not test code as a whole (`#[cfg(test)] mod name;`).
fn production_sources() -> Vec<Source> {
    let all = sources("src");
    let mut test_modules = Vec::new();
    for source in &all {
        for name in without_tests(&source.tokens()).1 {
            // A `#[path]` counts from the folder that the declaring file lies in.
            let folder = source.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            test_modules.push(match name.ends_with(".rs") {
                true => Source::new(&format!("{folder}/{name}"), "").module_path(),
                false => [source.module_path(), vec![name]].concat(),
            });
        }
    }
    let is_test = |source: &Source| test_modules.iter().any(|module| source.module_path().starts_with(module));
    all.into_iter().filter(|source| !is_test(source)).collect()
}

fn assert_none(faults: Faults) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

// ---- the source tree -----------------------------------------------------------------------------------------------

#[test]
fn the_walk_finds_the_library_and_this_file() {
    let paths: Vec<String> = sources("src").into_iter().chain(sources("tests")).map(|source| source.path).collect();
    for expected in ["src/lib.rs", "src/engine/mod.rs", "src/clock.rs", "tests/tidy.rs", "tests/tidy/tokens.rs"] {
        assert!(paths.iter().any(|path| path == expected), "{expected} is not among {paths:?}");
    }
}

#[test]
fn every_layer_knows_only_what_lies_below_it() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let reexports = reexports(&lib);
    assert_eq!(reexports.get("ErrorKind").map(String::as_str), Some("error"), "lib.rs was not understood");
    assert_none(production_sources().iter().flat_map(|source| layer_faults(source, &reexports)).collect());
}

#[test]
fn library_code_is_finished_and_drops_no_result() {
    assert_none(production_sources().iter().flat_map(unfinished_or_careless).collect());
}

#[test]
fn time_and_randomness_come_from_clock_rs_and_nothing_sleeps() {
    let all = ["src", "tests", "examples", "benches"].into_iter().flat_map(sources);
    assert_none(all.flat_map(|source| clocks_outside_clock_rs(&source)).collect());
}

#[test]
fn bincode_is_named_in_codec_rs_alone() {
    assert_none(sources("src").iter().flat_map(bincode_outside_codec_rs).collect());
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let all = ["src", "tests", "examples", "benches"].into_iter().flat_map(sources);
    assert_none(all.flat_map(|source| opening_faults(&source)).collect());
}

// ---- the checker itself --------------------------------------------------------------------------------------------

/// Asserts that `rule` finds exactly one fault in `line`, on line 3 of a file at `path`.
#[track_caller]
fn caught(path: &str, line: &str, rule: impl Fn(&Source) -> Faults) {
    let faults = rule(&Source::new(path, &format!("//! A file.\n\n{line}\n")));
    assert!(faults.len() == 1 && faults[0].starts_with(&format!("{path}:3: ")), "{line}: {faults:?}");
}

#[track_caller]
fn let_through(path: &str, line: &str, rule: impl Fn(&Source) -> Faults) {
    let faults = rule(&Source::new(path, &format!("//! A file.\n\n{line}\n")));
    assert!(faults.is_empty(), "{line}: {faults:?}");
}

fn layers(source: &Source) -> Faults {
    layer_faults(source, &reexports("pub use error::{Error, Result};\npub use jobs::{claim::Lease, Job as Task};"))
}

#[test]
fn a_planted_look_upwards_is_caught_however_it_is_spelt() {
    for (path, line) in [
        ("src/error.rs", "use crate::engine::Engine;"),
        ("src/engine/mod.rs", "use crate::keys;"),
        ("src/engine/local/mod.rs", "fn f() { crate::record::get() }"),
        ("src/codec.rs", "use crate::{error::Error, record::Record};"),
        ("src/keys.rs", "use crate::{\n    error::Error, persistence};"),
        ("src/record/mod.rs", "use super::jobs::Job;"),
        ("src/record/txn.rs", "use super::super::registry::{Version as V};"),
        ("src/record/txn.rs", "use crate::Lease;"),
        ("src/jobs/mod.rs", "pub use crate::persistence::MlPersistence as Store;"),
        ("src/jobs/mod.rs", "use crate::registry::Version;"),
        ("src/registry/alias.rs", "use crate::Lease;"),
        ("src/snapshot.rs", "use super::jobs::Job;"),
        ("src/jobs/claim.rs", "use crate::engine::sled::SledStore;"),
        ("src/bin/mlp.rs", "use ml_persistence::{MlPersistence, engine::Engine};"),
        ("src/bin/mlp/exec.rs", "fn f() { ml_persistence::record::digest() }"),
    ] {
        caught(path, line, layers);
    }
    let faults = layers(&Source::new("src/helpers.rs", "//! A file.\n"));
    assert_eq!(faults, ["src/helpers.rs:1: `helpers` has no place in the table of layers"]);
}

#[test]
fn looks_downwards_and_into_the_own_room_are_let_through() {
    for (path, line) in [
        ("src/engine/mod.rs", "use crate::{Error, Result, config::Config};"),
        ("src/config.rs", "use crate::clock::Clock;"),
        ("src/codec.rs", "use crate::keys::Key;"),
        ("src/jobs/claim.rs", "use super::queue::Queue; use crate::jobs::Job; use crate::engine::Engine;"),
        ("src/persistence.rs", "use crate::{engine::local::Local, jobs, registry, snapshot};"),
        ("src/lib.rs", "pub use persistence::MlPersistence; pub use jobs::Job;"),
        ("src/engine/mod.rs", "// use crate::keys;\n/* crate::jobs */ const A: &str = \"crate::jobs\";"),
        ("src/engine/mod.rs", "pub(crate) fn keys() {}"),
        ("src/engine/mod.rs", "#[cfg(test)]\nmod tests { use crate::jobs::Job; }"),
        (
            "src/bin/mlp.rs",
            "use ml_persistence::{Error, MlPersistence, jobs::Lease, config::Config}; use crate::record;",
        ),
    ] {
        let_through(path, line, layers);
    }
}

#[test]
fn planted_careless_lines_are_caught() {
    for line in [
        "fn f() { g().unwrap(); }",
        "fn f() { g().map(Option::unwrap) }",
        "fn f() { todo!() }",
        "fn f() { unimplemented!(\"later\") }",
        "fn f() { dbg!(1); }",
        "fn f() { let _ = sync(); }",
        "fn f() { let _: Result<()> = sync(); }",
        "fn f() { g(); _ = sync(); }",
        "#[cfg(test)] mod tests { } fn f() { g().unwrap() }",
        "const A: char = '\"'; fn f() { g().unwrap() } const B: char = '\"';",
        "fn f<'a>(x: &'a str) { x.parse().unwrap() }",
        "const A: &str = r#\"\"\"#; fn f() { todo!() }",
        "/* /* */ */ fn f() { todo!() }",
        "#[cfg(test)] use a::{b, c}; fn f() { todo!() }",
        "struct S { #[cfg(test)] a: u8, b: [u8; { todo!() }] }",
    ] {
        caught("src/record/mod.rs", line, unfinished_or_careless);
    }
}

#[test]
fn lines_that_only_look_careless_are_let_through() {
    for line in [
        "fn f() { g().unwrap_or_default(); g().unwrap_or(1); g().expect(\"never empty\"); }",
        "/// let _ = x.unwrap();\nfn f() {}",
        "const A: &str = \"\\\" let _ = todo!()\"; const B: &str = r##\"\"# .unwrap() \"##; const C: &[u8] = b\".unwrap()\";",
        "fn f() { match x { _ => 1 }; let _guard = lock(); let (_, b) = g(); }",
        "#[cfg(test)]\n#[allow(dead_code)]\nmod tests { fn f() { g().unwrap(); let _ = h(); } }",
        "#[cfg(all(test, feature = \"sled\"))]\nmod tests { fn f() { g().unwrap() } }",
        "#[cfg(test)] fn f(x: [u8; 4]) -> Vec<(u8, u8)> { todo!() }",
    ] {
        let_through("src/record/mod.rs", line, unfinished_or_careless);
    }
}

#[test]
fn a_planted_clock_dice_or_sleep_is_caught_in_test_code_too() {
    for line in [
        "use std::time::Instant;",
        "use std::time::{Duration, SystemTime};",
        "fn f() { std::time::Instant::now(); }",
        "fn f() { getrandom::fill(&mut key); }",
        "fn f() { rand::random::<u64>() }",
        "fn f() { std::thread::sleep(d) }",
        "#[cfg(test)] mod tests { fn f() { thread::sleep(d) } }",
    ] {
        caught("src/jobs/mod.rs", line, clocks_outside_clock_rs);
        caught("tests/jobs.rs", line, clocks_outside_clock_rs);
    }
    caught("src/clock.rs", "fn f() { std::thread::sleep(d) }", clocks_outside_clock_rs);
    let_through("src/clock.rs", "use std::time::{Instant, SystemTime};", clocks_outside_clock_rs);
    let_through("src/jobs/mod.rs", "use std::time::Duration; // not an Instant, and no sleep", clocks_outside_clock_rs);
}

#[test]
fn a_planted_bincode_is_caught_outside_of_codec_rs() {
    caught("src/record/mod.rs", "use bincode::Options;", bincode_outside_codec_rs);
    caught("src/jobs/mod.rs", "#[cfg(test)] mod tests { use bincode as b; }", bincode_outside_codec_rs);
    let_through("src/codec.rs", "use bincode::Options;", bincode_outside_codec_rs);
    let_through("src/keys.rs", "// bincode does not keep order", bincode_outside_codec_rs);
}

#[test]
fn a_file_that_opens_without_a_word_is_caught() {
    assert_eq!(opening_faults(&Source::new("src/a.rs", "use std::fmt;\n//! Late.\n")).len(), 1);
    assert_eq!(opening_faults(&Source::new("src/a.rs", "// A plain comment.\n")).len(), 1);
    assert_eq!(opening_faults(&Source::new("src/a.rs", "//! A file.\n")).len(), 0);
}

#[test]
fn a_module_declared_for_tests_alone_is_known_by_name_or_file() {
    let source = "#[cfg(test)]\nmod model;\nmod queue;\n#[cfg(test)]\nmod tests { mod x; }\n\
                  #[cfg(test)]\n#[path = \"queue_tests.rs\"]\nmod more;";
    assert_eq!(without_tests(&tokens(source)).1, ["model", "queue_tests.rs"]);
}
