//! The fixed set of trees. A tree per namespace or collection would cost a store hundreds of megabytes: those are key
//! prefixes instead.

use crate::error::{Error, Result};

macro_rules! trees {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        /// A named ordered tree. Numbers and names are persisted: never change one, never reuse one.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Tree {
            $($(#[$doc])* $name = $number,)*
        }

        impl Tree {
            /// Every tree, by number.
            pub const ALL: &'static [Tree] = &[$(Tree::$name,)*];

            /// Its name, as a store spells it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Tree::$name => $text,)* }
            }

            /// The tree with this number.
            ///
            /// # Errors
            /// `Corrupt`: numbers come from stored bytes only.
            pub fn from_number(number: u8) -> Result<Self> {
                match number {
                    $($number => Ok(Tree::$name),)*
                    _ => Err(Error::corrupt(format!("tree {number}: there is no such tree"))),
                }
            }
        }
    };
}

trees! {
    /// Models, by name.
    Models = 0, "models";
    /// Model versions, by `name@vN`.
    ModelVersions = 1, "model_versions";
    /// Jobs and their claims, by zero-padded hex id.
    Jobs = 2, "jobs";
    /// The plain contract: (namespace, key).
    Kv = 3, "kv";
    /// Records of host collections.
    Records = 4, "records";
    /// Index entries of every record.
    Index = 5, "index";
    /// Counters of every record.
    Counter = 6, "counter";
    /// Pointer moves, job attempts and other bounded histories.
    History = 7, "history";
    /// Pieces of values that are too large for one entry.
    Blob = 8, "blob";
    /// Epochs, marks and other state of the store itself. Keys that begin with a zero byte are the engine's own.
    Meta = 9, "meta";
}

impl Tree {
    /// How many trees there are.
    pub const COUNT: usize = Tree::ALL.len();

    /// Its number, also its place in arrays of [`Tree::COUNT`].
    #[must_use]
    pub fn number(self) -> u8 {
        self as u8
    }

    /// Its place in arrays of [`Tree::COUNT`].
    #[must_use]
    pub(crate) fn index(self) -> usize {
        usize::from(self.number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_lead_back_to_their_tree() {
        for (place, tree) in Tree::ALL.iter().enumerate() {
            assert_eq!(tree.index(), place);
            assert_eq!(Tree::from_number(tree.number()).unwrap(), *tree);
        }
        assert!(Tree::from_number(Tree::COUNT as u8).is_err());
    }
}
