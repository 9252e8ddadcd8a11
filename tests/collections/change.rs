//! Schemas that change over data.
