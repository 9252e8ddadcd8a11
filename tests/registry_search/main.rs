//! Search of the registry: a table of queries with their answers, refusals with their places, plans, page walks under
//! concurrent writes, and random filters over random data against an evaluator that shares no code with the library.

#![allow(clippy::unwrap_used, reason = "a panic in a test is its failure, in its helpers too")]

mod oracle;
mod pages;
mod plans;
mod queries;
mod random;
mod refusals;
mod room;
