//! What may stand on the left of a test: the fields of models and of versions.
//!
//! | models | versions |
//! |---|---|
//! | `name` `description` `active_version` | `model` `version` `source` `run_id` `stage` `created_by` |
//! | `archived` `created_at` `updated_at` | `archived` `created_at` `updated_at` |
//! | `tags.key` `properties.key` | `tags.key` `properties.key` `metrics.key` `hyperparams.key` |

use std::fmt;

/// What is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Models.
    Models,
    /// Versions.
    Versions,
}

macro_rules! fields {
    (
        plain { $($plain:ident $name:literal $models:literal $versions:literal;)* }
        keyed { $($keyed:ident $map:literal $in_models:literal;)* }
    ) => {
        /// A field of a record.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) enum Field {
            $(#[doc = concat!("`", $name, "`")] $plain,)*
            $(#[doc = concat!("`", $map, ".key`")] $keyed(String),)*
        }

        /// Names that stand alone, each with whether models and versions have it.
        const PLAIN: &[(Field, &str, bool, bool)] = &[$((Field::$plain, $name, $models, $versions),)*];

        /// Names that take a key, each with whether models have it; versions have them all.
        const KEYED: &[(fn(String) -> Field, &str, bool)] = &[$((Field::$keyed, $map, $in_models),)*];

        impl fmt::Display for Field {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Field::$plain => f.write_str($name),)*
                    $(Field::$keyed(key) => write!(f, "{}.{}", $map, Quoted(key)),)*
                }
            }
        }
    };
}

fields! {
    plain {
        Name "name" true false;
        Description "description" true false;
        Model "model" false true;
        Version "version" false true;
        Stage "stage" false true;
        Source "source" false true;
        RunId "run_id" false true;
        CreatedBy "created_by" false true;
        ActiveVersion "active_version" true false;
        Archived "archived" true true;
        CreatedAt "created_at" true true;
        UpdatedAt "updated_at" true true;
    }
    keyed {
        Tag "tags" true;
        Property "properties" true;
        Metric "metrics" false;
        Hyperparam "hyperparams" false;
    }
}

impl Subject {
    /// The field that stands alone under this name.
    pub(crate) fn plain(self, name: &str) -> Option<Field> {
        PLAIN.iter().find(|(_, known, ..)| *known == name).filter(|row| self.has(row)).map(|(field, ..)| field.clone())
    }

    /// What makes a field of a key under this name.
    pub(super) fn keyed(self, name: &str) -> Option<fn(String) -> Field> {
        let known = KEYED.iter().find(|(_, known, _)| *known == name);
        known.filter(|(.., in_models)| self == Subject::Versions || *in_models).map(|(make, ..)| *make)
    }

    /// Every name, those that take a key last.
    pub(super) fn names(self) -> Vec<&'static str> {
        let plain = PLAIN.iter().filter(|row| self.has(row)).map(|(_, name, ..)| *name);
        plain.chain(KEYED.iter().map(|(_, name, _)| *name).filter(|name| self.keyed(name).is_some())).collect()
    }

    fn has(self, (_, _, models, versions): &(Field, &str, bool, bool)) -> bool {
        match self {
            Subject::Models => *models,
            Subject::Versions => *versions,
        }
    }
}

/// Whether a name may be spelled without quotes, a dot apart.
pub(super) fn is_bare(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// A key as a filter spells it: in backquotes where it has to be.
struct Quoted<'k>(&'k str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.split('.').all(|part| !part.is_empty() && part.chars().all(is_bare)) {
            f.write_str(self.0)
        } else {
            write!(f, "`{}`", self.0.replace('`', "``"))
        }
    }
}
