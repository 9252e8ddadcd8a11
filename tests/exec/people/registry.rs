//! `mlp models` and `mlp versions`: tables, JSON, and what changes.

use serde_json::json;

use super::{Store, with};

/// Model `spam` with three versions, of which the second is `prod` and the third active, and model `ham` with none.
fn store() -> Store {
    let register = |rest| with(json!({"op": "version.register", "model": "spam", "by": "ann"}), rest);
    Store::of(&[
        register(json!({"metrics": {"f1": 0.5}, "artifact": {"base64": "AAEC"}})),
        register(json!({"metrics": {"f1": 0.91, "auc": 1}, "hyperparams": {"depth": 6}, "properties": {"p": 7}})),
        register(json!({"stage": "staging"})),
        json!({"op": "alias.set", "model": "spam", "alias": "prod", "version": 2, "by": "bob"}),
        json!({"op": "model.create", "name": "ham", "description": "or not", "tags": {"team": "mail"}}),
    ])
}

#[test]
fn models_are_listed_and_shown() {
    let store = store();
    assert_eq!(
        store.shown("models list"),
        "\
model  versions  archived  active  aliases  updated at                note
ham    0         0         -       -        2023-11-14T22:13:20.000Z  or not
spam   3         0         3       prod=2   2023-11-14T22:13:20.000Z  -
"
    );
    assert_eq!(
        store.shown("models show spam"),
        "\
model           spam
description     -
active version  3
aliases         prod=2
versions        3, 0 of them archived
last number     3
put away        no
tags            -
properties      -
created at      2023-11-14T22:13:20.000Z
created by      ann
updated at      2023-11-14T22:13:20.000Z
changed by      bob
revision        4
"
    );
    let page = store.json("models list --limit 1");
    assert_eq!(page["models"][0]["created_at"], 1_700_000_000_000_u64);
    let next = page["next_page_token"].as_str().expect("there is a second");
    assert_eq!(store.json(&format!("models list --after {next}"))["models"][0]["name"], "spam");
    assert_eq!(store.shown("models list --all --limit 1 --json").lines().count(), 2);
    assert!(store.refused("models show none").contains("there is no such model"));
}

#[test]
fn versions_are_listed_and_shown_by_number_or_alias() {
    let store = store();
    assert_eq!(
        store.shown("versions list spam"),
        "\
model  version  state   stage    aliases  metrics         created at                by
spam   1        -       -        -        f1=0.5          2023-11-14T22:13:20.000Z  ann
spam   2        -       -        prod     auc=1, f1=0.91  2023-11-14T22:13:20.000Z  ann
spam   3        active  staging  -        -               2023-11-14T22:13:20.000Z  ann
"
    );
    assert_eq!(store.shown("versions list"), store.shown("versions list spam"));
    assert_eq!(store.shown("versions list ham"), "no such versions\n");
    assert!(store.refused("versions list none").contains("none"));
    let shown = store.shown("versions show spam prod");
    for line in
        ["version          2", "metrics          auc=1, f1=0.91", "hyperparameters  depth=6", "properties       p=7"]
    {
        assert!(shown.lines().any(|shown| shown == line), "{line}: {shown}");
    }
    assert_eq!(shown, store.shown("versions show spam v2"));
    assert_eq!(store.json("versions show spam latest")["version"], 3);
    let shown = store.shown("versions show spam 1");
    assert!(shown.contains("artifact         3 bytes kept here, sha256 ae4b3280e56e2faf"), "{shown}");
    assert_eq!(store.refused("versions show spam 9"), "mlp: model \"spam\": there is no version 9\n");
    assert_eq!(
        store.refused("versions show spam qa"),
        "mlp: model \"spam\": there is no version with the alias \"qa\"\n"
    );
}

#[test]
fn models_are_created_and_changed() {
    let store = store();
    assert_eq!(store.shown("models create eggs --tag a=b=c --property depth=6 --by ann"), "model eggs: created\n");
    let eggs = store.json("models show eggs");
    assert_eq!((&eggs["tags"], &eggs["properties"]), (&json!({"a": "b=c"}), &json!({"depth": 6})));
    assert!(store.refused("models create eggs").contains("exists"));
    let changed =
        store.json("models update eggs --untag a --tag x=y --unset depth --description fried --expected-revision 1");
    assert_eq!((&changed["tags"], &changed["properties"]), (&json!({"x": "y"}), &json!({})));
    assert_eq!((&changed["description"], &changed["revision"]), (&json!("fried"), &json!(2)));
    assert!(store.refused("models update eggs --expected-revision 1").contains("expected revision 1, found 2"));
    assert_eq!(store.shown("models archive eggs"), "model eggs: put away, revision 3\n");
    assert!(store.shown("models list").contains("put away"));
    assert_eq!(store.json("models unarchive eggs")["archived"], false);
}

#[test]
fn pointers_move_and_the_answer_says_from_where() {
    let store = store();
    assert_eq!(store.shown("versions activate spam prod"), "model spam: version 2 is active, no longer 3\n");
    assert_eq!(store.shown("versions activate spam 2"), "model spam: version 2 stays active\n");
    assert_eq!(store.shown("versions deactivate spam"), "model spam: no version is active\n");
    assert_eq!(store.shown("versions activate spam v1"), "model spam: version 1 is active\n");
    assert_eq!(
        store.shown("versions alias set spam prod latest --by eve"),
        "model spam: prod is version 3, no longer 2\n"
    );
    assert_eq!(store.shown("versions alias list spam"), "alias  version\nprod   3\n");
    assert_eq!(store.shown("versions archive spam 3"), "model spam, version 3: archived; it was prod\n");
    assert!(store.refused("versions alias set spam prod 3").contains("decide again"));
    assert_eq!(store.shown("versions unarchive spam 3"), "model spam, version 3: taken out again\n");
    assert_eq!(store.json("versions alias list spam"), json!({}));
    store.shown("versions alias set spam qa 1");
    assert_eq!(store.shown("versions alias delete spam qa"), "model spam: qa deleted; it was version 1\n");
    assert_eq!(
        store.shown("versions alias delete spam qa"),
        "model spam: there was no alias qa; nothing was changed\n"
    );
    assert_eq!(store.json("versions update spam 1 --stage live --tag a=b")["stage"], "live");
    assert_eq!(store.json("versions update spam 1 --clear-stage")["stage"], json!(null));
    assert!(store.shown("verify").starts_with("sound"));
}

#[test]
fn the_history_tells_what_was_production_on_a_day() {
    let store = store();
    assert_eq!(
        store.shown("versions alias history spam prod"),
        "at                        pointer  from  to  by\n2023-11-14T22:13:20.000Z  prod     -     2   bob\n"
    );
    store.shown("versions alias set spam prod 3");
    let then = store.json("versions alias history spam prod --at 2023-11-15");
    assert_eq!((then.as_array().map(Vec::len), &then[0]["to"]), (Some(1), &json!(2)));
    assert_eq!(store.json("versions alias history spam prod --at 1700000000000"), then);
    assert_eq!(store.json("versions alias history spam prod --at 2023-11-14"), json!([]));
    assert!(store.shown("versions alias history spam").contains("(active)"));
}

#[test]
fn a_deleted_version_is_shown_first_and_goes_only_with_a_yes() {
    let store = store();
    let refusal = store.refused("versions delete spam prod");
    assert_eq!(
        refusal,
        "model spam, version 2, of 2023-11-14T22:13:20.000Z, will go\n  it is prod\n\
         mlp: nothing was changed: nobody said yes; --yes says it\n"
    );
    assert_eq!(store.json("versions show spam prod")["version"], 2);
    assert!(store.refused("versions delete spam prod --yes --expected-revision 9").contains("expected revision 9"));
    let told = store.run(&["versions", "delete", "spam", "1", "--yes", "--json"]);
    assert_eq!(told.out, "{\"deleted\":{\"model\":\"spam\",\"version\":1}}\n");
    assert!(told.err.contains("with its artifact, unless another version holds the same: 3 bytes"), "{}", told.err);
    assert!(store.refused("versions show spam 1").contains("there is no version 1"));
    assert!(store.shown("verify").starts_with("sound"));
}

#[test]
fn models_and_versions_are_searched_ordered_and_the_search_explained() {
    let store = store();
    let numbers = |words: &[&str]| -> Vec<u64> {
        let told = store.run(&[&["versions", "list", "--json"], words].concat());
        assert_eq!(told.code, Some(0), "{}", told.err);
        let page: serde_json::Value = serde_json::from_str(&told.out).expect("one object");
        let versions = page["versions"].as_array().expect("a list").iter();
        versions.map(|version| version["version"].as_u64().expect("a number")).collect()
    };
    assert_eq!(numbers(&["spam", "--filter", "metrics.f1 >= 0.5"]), [1, 2]);
    assert_eq!(numbers(&["spam", "--order-by", "version desc", "--limit", "2"]), [3, 2]);
    assert_eq!(numbers(&["--filter", "stage = 'staging'", "--order-by", "model", "--order-by", "version"]), [3]);
    let models = store.run(&["models", "list", "--filter", "tags.team = 'mail'"]);
    assert!(models.out.contains("\nham ") && !models.out.contains("spam"), "{}", models.out);
    assert_eq!(store.shown("models list --filter name='none'"), "no such models\n");

    let told = store.run(&["versions", "list", "spam", "--filter", "stage = 'staging'", "--explain"]);
    for line in ["\nindex ", "\nby index ", "\nrecords read "] {
        assert!(told.out.contains(line), "{line}: {}", told.out);
    }
    assert!(store.json("models list --explain")["plan"].is_object());
    let told = store.run(&["models", "list", "--filter", "not nmae = 'x'"]);
    assert_eq!((told.code, told.out.as_str()), (Some(1), ""));
    assert!(
        told.err.contains("did you mean `name`?") && told.err.contains("\n  not nmae = 'x'\n      ^^^^\n"),
        "{}",
        told.err
    );
    assert!(store.refused("models list --order-by description").contains("description"));
    let token = store.json("models list --limit 1")["next_page_token"].as_str().expect("a second").to_owned();
    assert!(store.refused(&format!("models list --order-by name --filter name='a' --after {token}")).contains("token"));
}

#[test]
fn a_model_is_renamed_and_deleted_with_all_its_versions_once_somebody_says_yes() {
    let store = store();
    assert_eq!(store.shown("models rename spam junk --by bob"), "model spam: now junk, with its 3 versions\n");
    assert!(store.refused("models show spam").contains("there is no such model"));
    assert_eq!(store.json("versions show junk prod")["version"], 2);
    assert!(store.refused("models rename junk ham").contains("ham"));
    assert_eq!(
        store.refused("models delete junk"),
        "model junk, of 2023-11-14T22:13:20.000Z, will go\n  \
         with its 3 versions, and their artifacts that no other version holds; version 3 is active\n  \
         with its aliases: prod=2\nmlp: nothing was changed: nobody said yes; --yes says it\n"
    );
    assert!(store.refused("models delete junk --yes --expected-revision 1").contains("expected revision 1"));
    assert_eq!(store.json("models delete junk --yes"), json!({"deleted": {"model": "junk", "versions": 3}}));
    assert_eq!(store.shown("versions list"), "no such versions\n");
    assert_eq!(store.shown("models delete ham --yes"), "model ham: deleted with 0 versions\n");
    assert!(store.shown("verify").starts_with("sound"));
}
