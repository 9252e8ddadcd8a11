//! placeholder
pub mod disk;
pub mod opener;
