//! A version as the line names it: `3` and `v3` are numbers, everything else is an alias.

use ml_persistence::registry::{Version, VersionRef};
use ml_persistence::{Error, MlPersistence, Result};

use crate::line::{Line, Wrong};

/// A model and one of its versions, as the line names them.
pub struct Named {
    pub model: String,
    pub version: VersionRef,
}

impl Named {
    pub fn read(line: &mut Line) -> Result<Self, Wrong> {
        let model = line.operand("MODEL")?;
        Self::of(model, &line.operand("VERSION")?)
    }

    /// Version `version` of `model`, as the line spells it.
    pub fn of(model: String, version: &str) -> Result<Self, Wrong> {
        Ok(Named { model, version: version_ref(version)? })
    }

    /// The number, looked up if it was given as an alias.
    pub fn number(&self, db: &MlPersistence) -> Result<u32> {
        match self.version {
            VersionRef::Number(number) => Ok(number),
            _ => Ok(self.existing(db)?.version),
        }
    }

    /// The version itself.
    pub fn existing(&self, db: &MlPersistence) -> Result<Version> {
        let found = db.registry().get(&self.model, self.version.clone())?;
        found.ok_or_else(|| {
            let wanted = match &self.version {
                VersionRef::Number(number) => format!("version {number}"),
                VersionRef::Alias(name) | VersionRef::Label(name) => format!("version with the alias {name:?}"),
                other => format!("{other:?}"),
            };
            Error::not_found(format!("model {:?}: there is no {wanted}", self.model))
        })
    }
}

/// `3` and `v3` are numbers, everything else is an alias.
fn version_ref(text: &str) -> Result<VersionRef, Wrong> {
    let digits = text.strip_prefix('v').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(VersionRef::Alias(text.to_owned()));
    }
    digits
        .parse()
        .map(VersionRef::Number)
        .map_err(|_| format!("{text}: versions are numbered up to {}", u32::MAX).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_or_an_alias_and_never_guessed_at() {
        for (text, expected) in [
            ("3", VersionRef::Number(3)),
            ("v3", VersionRef::Number(3)),
            ("4294967295", VersionRef::Number(u32::MAX)),
            ("latest", VersionRef::latest()),
            ("v", VersionRef::Alias("v".to_owned())),
            ("+3", VersionRef::Alias("+3".to_owned())),
            ("3rd", VersionRef::Alias("3rd".to_owned())),
        ] {
            assert_eq!(version_ref(text).expect(text), expected, "{text}");
        }
        assert!(version_ref("4294967296").is_err());
    }
}
