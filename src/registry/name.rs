//! What may be a name: of a model, an alias, a stage, a label, and the bounds of every other text.
//!
//! Each refusal is [`Invalid`](crate::ErrorKind::Invalid), begins with the field and says which rule was broken. Text
//! is stored as given and compared by its bytes: nothing is trimmed, folded or normalised, so two names that look
//! alike but are spelt with different code points are two names.
//!
//! | text | rule |
//! |---|---|
//! | model, label | 1..=256 bytes; no control, bidirectional-format or zero-width characters; no white space at either end |
//! | alias | 1..=255 of `A-Z a-z 0-9 _ -`; not `latest`, not all digits, not `v` and digits (those mean something already) |
//! | stage | 1..=64 bytes, the rest as a model's name |
//! | external id | 1..=256 bytes, no control characters |
//! | key of a tag, property, metric, hyperparameter | 1..=256 bytes |
//! | who (`by`) | 1..=256 bytes |
//! | run id, training-data hash | at most 256 bytes |
//! | source, artifact URI | at most 4096 bytes |
//! | description | at most 64 KiB |

use crate::error::{Error, Result};

/// Longest name of a model and longest label, in bytes.
pub const NAME_BYTES_MAX: usize = 256;
/// Longest alias, in bytes.
pub const ALIAS_BYTES_MAX: usize = 255;
/// Longest stage, in bytes.
pub const STAGE_BYTES_MAX: usize = 64;
/// Longest key of a tag, property, metric or hyperparameter, in bytes.
pub const ENTRY_KEY_BYTES_MAX: usize = 256;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 64 << 10;
/// Longest source and longest URI, in bytes.
pub const URI_BYTES_MAX: usize = 4096;
/// Longest of the short free texts: who, run id, training-data hash, external id. In bytes.
pub const SHORT_BYTES_MAX: usize = 256;

/// The alias that always names the highest version not archived. It can be asked for, never set.
pub const LATEST: &str = "latest";

/// Refuses what can't be a model's name.
pub(crate) fn check_model(name: &str) -> Result<()> {
    check_name("model", name, NAME_BYTES_MAX)
}

/// The same, where the model's name is the field `name` and not a reference to the model.
pub(crate) fn check_model_name(name: &str) -> Result<()> {
    check_name("name", name, NAME_BYTES_MAX)
}

/// The same for the name that a model is to get.
pub(crate) fn check_new_name(name: &str) -> Result<()> {
    check_name("new_name", name, NAME_BYTES_MAX)
}

/// Refuses what can't be a label, the client's own name of a version.
pub(crate) fn check_label(label: &str) -> Result<()> {
    check_name("label", label, NAME_BYTES_MAX)
}

/// Refuses what can't be a stage.
pub(crate) fn check_stage(stage: &str) -> Result<()> {
    check_name("stage", stage, STAGE_BYTES_MAX)
}

/// Refuses what can't be an external id.
pub(crate) fn check_external_id(id: &str) -> Result<()> {
    check_bytes("external_id", id, 1, SHORT_BYTES_MAX)?;
    match id.chars().find(|character| character.is_control()) {
        Some(character) => {
            Err(Error::invalid(format!("external_id: no control characters, found {}", spell(character))))
        }
        None => Ok(()),
    }
}

/// Refuses the key of a tag, property, metric or hyperparameter outside 1..=256 bytes.
pub(crate) fn check_entry_key(field: &str, key: &str) -> Result<()> {
    check_bytes(field, key, 1, ENTRY_KEY_BYTES_MAX)
}

/// Refuses a text outside `min..=max` bytes.
pub(crate) fn check_bytes(field: &str, text: &str, min: usize, max: usize) -> Result<()> {
    if text.len() < min || text.len() > max {
        return Err(Error::invalid(format!("{field}: {min}..={max} bytes, got {}", text.len())));
    }
    Ok(())
}

/// Refuses an optional text of more than `max` bytes.
pub(crate) fn check_optional(field: &str, text: Option<&str>, max: usize) -> Result<()> {
    text.map_or(Ok(()), |text| check_bytes(field, text, 0, max))
}

/// Refuses an empty or overlong `by`.
pub(crate) fn check_by(by: Option<&str>) -> Result<()> {
    by.map_or(Ok(()), |by| check_bytes("by", by, 1, SHORT_BYTES_MAX))
}

/// Refuses what can't be looked up as an alias; [`LATEST`] passes.
pub(crate) fn check_alias_syntax(alias: &str) -> Result<()> {
    check_bytes("alias", alias, 1, ALIAS_BYTES_MAX)?;
    match alias.chars().find(|character| !(character.is_ascii_alphanumeric() || matches!(character, '_' | '-'))) {
        Some(character) => {
            Err(Error::invalid(format!("alias: only A-Z a-z 0-9 _ - are allowed, found {}", spell(character))))
        }
        None => Ok(()),
    }
}

/// Refuses what can't be set as an alias: bad syntax, and names that already mean a version.
pub(crate) fn check_alias(alias: &str) -> Result<()> {
    check_alias_syntax(alias)?;
    if alias == LATEST {
        return Err(Error::invalid("alias: latest is reserved; it always names the highest version not archived"));
    }
    let digits = alias.strip_prefix('v').unwrap_or(alias);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::invalid(format!(
            "alias: {alias} reads as a version number; use a name with another letter"
        )));
    }
    Ok(())
}

fn check_name(field: &str, name: &str, max: usize) -> Result<()> {
    check_bytes(field, name, 1, max)?;
    if name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace) {
        return Err(Error::invalid(format!("{field}: no white space at the beginning or end")));
    }
    for character in name.chars() {
        let rule = if character.is_control() {
            "control"
        } else if is_bidi_format(character) {
            "bidirectional-format"
        } else if is_zero_width(character) {
            "zero-width"
        } else {
            continue;
        };
        return Err(Error::invalid(format!("{field}: no {rule} characters, found {}", spell(character))));
    }
    Ok(())
}

/// Embeddings, overrides, isolates and marks: they can make one name display as another.
fn is_bidi_format(character: char) -> bool {
    matches!(character, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Characters without any width of their own. Combining marks and variation selectors are visible in what they
/// change, so they are allowed.
fn is_zero_width(character: char) -> bool {
    matches!(character, '\u{180e}' | '\u{200b}'..='\u{200d}' | '\u{2060}'..='\u{2064}' | '\u{feff}')
}

/// A character for a message that must not itself be unreadable.
fn spell(character: char) -> String {
    if character.is_ascii_graphic() { format!("{character:?}") } else { format!("U+{:04X}", u32::from(character)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(result: Result<()>) -> String {
        result.expect_err("must be refused").to_string()
    }

    #[test]
    fn every_refused_name_is_told_its_rule() {
        assert_eq!(refusal(check_model("")), "model: 1..=256 bytes, got 0");
        assert_eq!(refusal(check_model(&"x".repeat(257))), "model: 1..=256 bytes, got 257");
        assert_eq!(refusal(check_model(" a")), "model: no white space at the beginning or end");
        assert_eq!(refusal(check_model("a\u{3000}")), "model: no white space at the beginning or end");
        assert_eq!(refusal(check_model("a\u{7}b")), "model: no control characters, found U+0007");
        assert_eq!(refusal(check_model("a\u{202e}b")), "model: no bidirectional-format characters, found U+202E");
        assert_eq!(refusal(check_model("a\u{200b}b")), "model: no zero-width characters, found U+200B");
        assert_eq!(refusal(check_stage(&"x".repeat(65))), "stage: 1..=64 bytes, got 65");
    }

    #[test]
    fn names_of_every_script_and_of_any_punctuation_are_accepted() {
        for name in ["a", "a@v1", "a@v", "a:b/c", "a b", "модель", "模型", "🦀❤\u{fe0f}", "e\u{301}", &"x".repeat(256)]
        {
            check_model(name).unwrap();
        }
    }

    #[test]
    fn aliases_that_mean_a_version_already_can_be_asked_for_but_not_set() {
        for alias in ["latest", "7", "v7", "007"] {
            assert_eq!(check_alias(alias).unwrap_err().kind(), crate::ErrorKind::Invalid, "{alias}");
            check_alias_syntax(alias).unwrap();
        }
        for alias in ["v", "v1a", "prod", "Latest", "-", "_7", "V7"] {
            check_alias(alias).unwrap();
        }
        for alias in ["", "a b", "ü", "a.b", &"x".repeat(256)] {
            assert!(check_alias_syntax(alias).is_err(), "{alias}");
        }
    }
}
