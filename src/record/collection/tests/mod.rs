//! Collections against models.
