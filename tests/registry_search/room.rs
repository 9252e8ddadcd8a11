//! A store in memory on a manual clock, and searches that walk all pages.

use ml_persistence::registry::{SearchRequest, Version};
use ml_persistence::{ManualClock, MlPersistence, Model};
use std::sync::Arc;

pub struct Room {
    pub db: MlPersistence,
    pub clock: ManualClock,
}

impl Room {
    pub fn new() -> Self {
        let clock = ManualClock::at(1_000);
        let db = MlPersistence::in_memory().clock(Arc::new(clock.clone())).open().expect("open");
        Room { db, clock }
    }

    /// Every version that the request selects, page by page; each page but the last is full.
    pub fn versions(&self, request: &SearchRequest, size: usize) -> Vec<Version> {
        let (mut found, mut request) = (Vec::new(), request.clone().page_size(size));
        loop {
            let page = self.db.registry().search_versions(&request).expect("a page");
            assert_eq!(page.damaged, []);
            found.extend(page.versions.iter().cloned());
            let Some(token) = page.next_page_token else { return found };
            assert_eq!(page.versions.len(), size, "a page with a next one is full");
            request = request.page_token(token);
        }
    }

    /// Every model that the request selects, page by page; each page but the last is full.
    pub fn models(&self, request: &SearchRequest, size: usize) -> Vec<Model> {
        let (mut found, mut request) = (Vec::new(), request.clone().page_size(size));
        loop {
            let page = self.db.registry().search_models(&request).expect("a page");
            assert_eq!(page.damaged, []);
            found.extend(page.models.iter().cloned());
            let Some(token) = page.next_page_token else { return found };
            assert_eq!(page.models.len(), size, "a page with a next one is full");
            request = request.page_token(token);
        }
    }

    pub fn assert_clean(&self) {
        assert_eq!(self.db.verify().expect("verify").violations, []);
    }
}
