//! Whole models, use and eviction through exec: what is answered, to the byte.

use crate::harness::Exec;

/// Each request with its reply.
fn golden(script: &[(&str, &str)]) {
    let mut exec = Exec::in_memory(&["--clock", "manual", "--now", "1000", "--seed", "1"]);
    for (request, expected) in script {
        let reply = exec.say(request);
        let expected = match expected.split_once(' ').unwrap_or((expected, "")) {
            ("refused:", kind) => {
                assert!(
                    reply.starts_with(&format!(r#"{{"id":null,"error":{{"kind":"{kind}","message":"#)),
                    "{request}: {reply}"
                );
                continue;
            }
            _ => format!(r#"{{"id":null,"ok":{expected}}}"#),
        };
        assert_eq!(reply, expected, "{request}");
    }
    assert_eq!(exec.finish().0, Some(0));
}

const MODEL: &str = r#""description":null,"tags":{},"properties":{},"aliases":{},"active_version":2,"last_version":2,"versions":2,"archived_versions":0,"archived":false,"created_at":1000,"#;

fn version(model: &str, number: u32, last_used_at: &str) -> String {
    format!(
        r#"{{"model":"{model}","version":{number},"archived":false,"stage":null,"source":null,"run_id":null,"description":null,"tags":{{}},"properties":{{}},"metrics":{{}},"hyperparams":{{}},"parent_version":null,"training_data_hash":null,"created_by":null,"artifact":null,"aliases":[],"created_at":1000,"updated_at":1000,"last_used_at":{last_used_at},"revision":1}}"#
    )
}

#[test]
fn a_model_is_renamed_and_deleted() {
    let before = format!(r#"{{"name":"a",{MODEL}"updated_at":1000,"revision":2}}"#);
    let after = format!(r#"{{"name":"b",{MODEL}"updated_at":1007,"revision":3}}"#);
    golden(&[
        (r#"{"op":"version.register","model":"a"}"#, &version("a", 1, "null")),
        (r#"{"op":"version.register","model":"a"}"#, &version("a", 2, "null")),
        (r#"{"op":"version.register","model":"taken"}"#, &version("taken", 1, "null")),
        (r#"{"op":"clock.advance","ms":7}"#, "1007"),
        (r#"{"op":"model.rename","name":"a","new_name":"a"}"#, &before),
        (r#"{"op":"model.rename","name":"a","new_name":"taken"}"#, "refused: already_exists"),
        (r#"{"op":"model.rename","name":"none","new_name":"b"}"#, "refused: not_found"),
        (r#"{"op":"model.rename","name":"a","new_name":"b","expected_revision":9}"#, "refused: conflict"),
        (r#"{"op":"model.rename","name":"a","new_name":"b "}"#, "refused: invalid"),
        (r#"{"op":"model.rename","name":"a"}"#, "refused: invalid"),
        (r#"{"op":"model.rename","name":"a","new_name":"b","expected_revision":2,"by":"ann"}"#, &after),
        (r#"{"op":"model.get","name":"a"}"#, "null"),
        (r#"{"op":"model.get","name":"b"}"#, &after),
        (r#"{"op":"version.get","model":"b","version":2}"#, &version("b", 2, "null")),
        (r#"{"op":"version.get","model":"a","version":2}"#, "null"),
        (
            r#"{"op":"alias.history","model":"b"}"#,
            r#"[{"at":1000,"by":null,"alias":null,"from":1,"to":2},{"at":1000,"by":null,"alias":null,"from":null,"to":1}]"#,
        ),
        (r#"{"op":"model.delete","name":"b","expected_revision":2}"#, "refused: conflict"),
        (r#"{"op":"model.delete","name":"b","by":"ann"}"#, r#"{"versions":2}"#),
        (r#"{"op":"model.delete","name":"b"}"#, "refused: not_found"),
        (
            r#"{"op":"model.summary"}"#,
            r#"{"models":{"total":1,"live":1,"archived":0,"with_active_version":1},"versions":{"total":1,"live":1,"archived":0}}"#,
        ),
        (r#"{"op":"version.list","model":"b"}"#, "refused: not_found"),
        (
            r#"{"op":"version.register","model":"b","make_active":false}"#,
            &version("b", 1, "null").replace("1000", "1007"),
        ),
    ]);
}

#[test]
fn versions_are_touched_listed_by_use_and_evicted() {
    let (first, second) = (version("m", 1, "1005"), version("m", 2, "null"));
    golden(&[
        (r#"{"op":"version.register","model":"m"}"#, &version("m", 1, "null")),
        (r#"{"op":"version.register","model":"m"}"#, &second),
        (r#"{"op":"clock.advance","ms":5}"#, "1005"),
        (r#"{"op":"version.touch","model":"m","version":1}"#, "null"),
        (r#"{"op":"version.touch","model":"m","version":3}"#, "refused: not_found"),
        (r#"{"op":"version.touch","model":"m"}"#, "refused: invalid"),
        (r#"{"op":"version.get","model":"m","version":1}"#, &first),
        (r#"{"op":"version.least_recently_used"}"#, &format!("[{second},{first}]")),
        (r#"{"op":"version.least_recently_used","limit":1}"#, &format!("[{second}]")),
        (r#"{"op":"version.least_recently_used","limit":0}"#, "refused: invalid"),
        (r#"{"op":"version.evict","model":"m","version":1,"idle_since":1004}"#, r#"{"evicted":false}"#),
        (r#"{"op":"version.evict","model":"m","version":1,"idle_since":1005}"#, r#"{"evicted":true}"#),
        (r#"{"op":"version.evict","model":"m","version":1,"idle_since":1005}"#, "refused: not_found"),
        (r#"{"op":"version.evict","model":"m","version":1}"#, "refused: invalid"),
        (r#"{"op":"version.least_recently_used"}"#, &format!("[{second}]")),
    ]);
}

#[test]
fn numbers_come_back_as_they_were_written() {
    let numbers = r#"{"a":7,"b":7.0,"c":7.50,"d":1e3,"e":-0.0,"f":9223372036854775807,"g":1E-7,"h":0.1}"#;
    let mut exec = Exec::in_memory(&[]);
    let register = format!(
        r#"{{"op":"version.register","model":"m","properties":{numbers},"metrics":{numbers},"hyperparams":{numbers}}}"#
    );
    for reply in [exec.say(&register), exec.say(r#"{"op":"version.get","model":"m","version":1}"#)] {
        for field in ["properties", "metrics", "hyperparams"] {
            assert!(reply.contains(&format!(r#""{field}":{numbers}"#)), "{field}: {reply}");
        }
    }
    let update = format!(r#"{{"op":"model.update","name":"m","properties_set":{numbers}}}"#);
    assert!(exec.say(&update).contains(&format!(r#""properties":{numbers}"#)));
    // A type changes by a new value alone, never by a sum or a cast.
    let retyped = r#"{"op":"model.update","name":"m","properties_set":{"a":"7","b":7,"c":{"base64":"Bw=="},"f":true}}"#;
    let reply = exec.say(retyped);
    assert!(
        reply.contains(r#""a":"7","b":7,"c":{"base64":"Bw=="},"d":1e3"#) && reply.contains(r#""f":true"#),
        "{reply}"
    );
    for refused in ["9223372036854775808", "1e400", "-9223372036854775809"] {
        let request = format!(r#"{{"op":"model.update","name":"m","properties_set":{{"x":{refused}}}}}"#);
        let (kind, message) = exec.refused(&request);
        assert_eq!(kind, "invalid");
        assert!(message.starts_with("properties_set.x: "), "{message}");
    }
}

#[test]
fn refused_names_are_told_their_rule() {
    let mut exec = Exec::in_memory(&[]);
    for (name, rule) in [
        ("", "1..=256 bytes, got 0"),
        (&"x".repeat(257), "1..=256 bytes, got 257"),
        (" a", "no white space at the beginning or end"),
        ("a\\t", "no white space at the beginning or end"),
        ("a\\u0007b", "no control characters, found U+0007"),
        ("a\\u202eb", "no bidirectional-format characters, found U+202E"),
        ("a\\u200bb", "no zero-width characters, found U+200B"),
    ] {
        for (op, field) in [("model.create", "name"), ("version.register", "model"), ("model.delete", "name")] {
            let refused = exec.refused(&format!(r#"{{"op":"{op}","{field}":"{name}"}}"#));
            assert_eq!(refused, ("invalid".to_owned(), format!("{field}: {rule}")), "{op}");
        }
        let (kind, message) = exec.refused(&format!(r#"{{"op":"model.rename","name":"a","new_name":"{name}"}}"#));
        assert_eq!((kind.as_str(), message), ("invalid", format!("new_name: {rule}")));
    }
    for alias in ["latest", "7", "v7", "a.b", ""] {
        let request = format!(r#"{{"op":"alias.set","model":"m","alias":"{alias}","version":1}}"#);
        let (kind, message) = exec.refused(&request);
        assert_eq!(kind, "invalid");
        assert!(message.starts_with("alias: "), "{message}");
    }
}
