//! placeholder
pub mod disk;
pub mod opener;
pub mod sim;
