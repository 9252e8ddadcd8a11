//! placeholder until the edges land
fn main() {}
