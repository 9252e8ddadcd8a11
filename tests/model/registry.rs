//! The registry: models, their versions, their pointers and the moves of these, as plain maps; and what each verb does,
//! written from the registry's page.

use std::collections::BTreeMap;

use ml_persistence::ErrorKind::{self, AlreadyExists, Conflict, NotFound};

/// How a verb ends.
pub type Answer<T> = Result<T, ErrorKind>;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Registry(pub BTreeMap<String, Model>);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Model {
    pub description: Option<String>,
    pub tag: Option<String>,
    pub aliases: BTreeMap<String, u32>,
    pub active: Option<u32>,
    pub last: u32,
    pub archived: bool,
    pub external_id: Option<String>,
    pub created_at: u64,
    pub updated_at: u64,
    pub revision: u64,
    pub versions: BTreeMap<u32, Version>,
    /// Oldest first.
    pub moves: Vec<Move>,
}

/// A move of a pointer: when, which one (`None`: the active one), from where, to where.
pub type Move = (u64, Option<String>, Option<u32>, Option<u32>);

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Version {
    pub archived: bool,
    pub stage: Option<String>,
    pub f1: Option<u8>,
    pub label: Option<String>,
    pub external_id: Option<String>,
    pub artifact: Option<usize>,
    pub description: Option<String>,
    pub tag: Option<String>,
    pub created_at: u64,
    pub updated_at: u64,
    pub last_used_at: Option<u64>,
    pub revision: u64,
}

/// A version to register.
#[derive(Debug, Clone, Default)]
pub struct New {
    pub active: bool,
    pub create: bool,
    pub content: Version,
}

impl Model {
    /// Moves a pointer, and notes that it moved.
    fn point(&mut self, now: u64, alias: Option<&str>, to: Option<u32>) {
        let from = match (alias, to) {
            (None, _) => std::mem::replace(&mut self.active, to),
            (Some(alias), Some(to)) => self.aliases.insert(alias.to_owned(), to),
            (Some(alias), None) => self.aliases.remove(alias),
        };
        if from != to {
            self.moves.push((now, alias.map(str::to_owned), from, to));
        }
    }

    /// Takes every pointer away from a version.
    fn unpoint(&mut self, now: u64, number: u32) {
        if self.active == Some(number) {
            self.point(now, None, None);
        }
        for alias in self.aliases_of(number) {
            self.point(now, Some(&alias), None);
        }
    }

    pub fn aliases_of(&self, number: u32) -> Vec<String> {
        self.aliases.iter().filter(|(_, to)| **to == number).map(|(alias, _)| alias.clone()).collect()
    }

    fn expect(&self, revision: Option<u64>) -> Answer<()> {
        expect(self.revision, revision)
    }

    fn version(&mut self, number: u32) -> Answer<&mut Version> {
        self.versions.get_mut(&number).ok_or(NotFound)
    }
}

fn expect(found: u64, expected: Option<u64>) -> Answer<()> {
    if expected.is_none_or(|expected| expected == found) { Ok(()) } else { Err(Conflict) }
}

impl Registry {
    fn model(&mut self, name: &str) -> Answer<&mut Model> {
        self.0.get_mut(name).ok_or(NotFound)
    }

    fn version(&mut self, name: &str, number: u32) -> Answer<&mut Version> {
        self.model(name)?.version(number)
    }

    pub fn create(&mut self, now: u64, name: &str, description: Option<&str>, external_id: Option<&str>) -> Answer<()> {
        let taken = external_id.is_some() && self.0.values().any(|model| model.external_id.as_deref() == external_id);
        if taken || self.0.contains_key(name) {
            return Err(AlreadyExists);
        }
        let model = Model {
            description: description.map(str::to_owned),
            external_id: external_id.map(str::to_owned),
            created_at: now,
            updated_at: now,
            revision: 1,
            ..Model::default()
        };
        self.0.insert(name.to_owned(), model);
        Ok(())
    }

    pub fn register(&mut self, now: u64, name: &str, new: &New) -> Answer<u32> {
        if !self.0.contains_key(name) && !new.create {
            return Err(NotFound);
        }
        let all = || self.0.values().flat_map(|model| model.versions.values());
        if new.content.external_id.is_some() && all().any(|version| version.external_id == new.content.external_id) {
            return Err(AlreadyExists);
        }
        let labels = |model: &Model| model.versions.values().any(|version| version.label == new.content.label);
        if new.content.label.is_some() && self.0.get(name).is_some_and(labels) {
            return Err(AlreadyExists);
        }
        let blank = || Model { created_at: now, ..Model::default() };
        let model = self.0.entry(name.to_owned()).or_insert_with(blank);
        model.last += 1;
        model.revision += 1;
        model.updated_at = now;
        let version = Version { created_at: now, updated_at: now, revision: 1, ..new.content.clone() };
        let number = model.last;
        model.versions.insert(number, version);
        if new.active {
            model.point(now, None, Some(number));
        }
        Ok(number)
    }

    pub fn update_model(
        &mut self,
        now: u64,
        name: &str,
        revision: Option<u64>,
        (description, tag, archived): (Option<&str>, Option<Option<&str>>, Option<bool>),
    ) -> Answer<()> {
        let model = self.model(name)?;
        model.expect(revision)?;
        if let Some(description) = description {
            model.description = Some(description.to_owned());
            model.updated_at = now;
        }
        if let Some(tag) = tag {
            model.tag = tag.map(str::to_owned);
        }
        model.archived = archived.unwrap_or(model.archived);
        model.revision += 1;
        Ok(())
    }

    pub fn update_version(
        &mut self,
        now: u64,
        name: &str,
        number: u32,
        revision: Option<u64>,
        (description, stage, tag): (Option<&str>, Option<Option<&str>>, Option<Option<&str>>),
    ) -> Answer<()> {
        let model = self.model(name)?;
        let version = model.version(number)?;
        expect(version.revision, revision)?;
        version.description = description.map(str::to_owned).or(version.description.take());
        if let Some(tag) = tag {
            version.tag = tag.map(str::to_owned);
        }
        version.updated_at = now;
        version.revision += 1;
        let before = version.stage.clone();
        version.stage = stage.map_or(before.clone(), |stage| stage.map(str::to_owned));
        if version.stage != before {
            model.updated_at = now;
            model.revision += 1;
        }
        Ok(())
    }

    /// Points the alias (`None`: the active pointer) at a version.
    pub fn set_pointer(
        &mut self,
        now: u64,
        name: &str,
        alias: Option<&str>,
        number: u32,
        revision: Option<u64>,
    ) -> Answer<()> {
        let model = self.model(name)?;
        model.expect(revision)?;
        if model.version(number)?.archived {
            return Err(Conflict);
        }
        model.point(now, alias, Some(number));
        model.revision += 1;
        Ok(())
    }

    pub fn deactivate(&mut self, now: u64, name: &str, revision: Option<u64>) -> Answer<()> {
        let model = self.model(name)?;
        model.expect(revision)?;
        model.point(now, None, None);
        model.revision += 1;
        Ok(())
    }

    pub fn delete_alias(&mut self, now: u64, name: &str, alias: &str, revision: Option<u64>) -> Answer<()> {
        let model = self.model(name)?;
        model.expect(revision)?;
        if model.aliases.contains_key(alias) {
            model.point(now, Some(alias), None);
            model.revision += 1;
        }
        Ok(())
    }

    pub fn set_archived(
        &mut self,
        now: u64,
        name: &str,
        number: u32,
        archived: bool,
        revision: Option<u64>,
    ) -> Answer<()> {
        let model = self.model(name)?;
        let version = model.version(number)?;
        expect(version.revision, revision)?;
        let changes = version.archived != archived;
        version.archived = archived;
        version.updated_at = now;
        version.revision += 1;
        if changes {
            model.revision += 1;
            if archived {
                model.unpoint(now, number);
            }
        }
        Ok(())
    }

    pub fn delete_version(&mut self, now: u64, name: &str, number: u32, revision: Option<u64>) -> Answer<()> {
        let model = self.model(name)?;
        expect(model.version(number)?.revision, revision)?;
        model.versions.remove(&number);
        model.unpoint(now, number);
        model.updated_at = now;
        model.revision += 1;
        Ok(())
    }

    pub fn delete_model(&mut self, name: &str, revision: Option<u64>) -> Answer<u32> {
        self.model(name)?.expect(revision)?;
        Ok(self.0.remove(name).map_or(0, |model| model.versions.len() as u32))
    }

    pub fn rename(&mut self, now: u64, name: &str, new_name: &str, revision: Option<u64>) -> Answer<()> {
        self.model(name)?.expect(revision)?;
        if name == new_name {
            return Ok(());
        }
        if self.0.contains_key(new_name) {
            return Err(AlreadyExists);
        }
        let mut model = self.0.remove(name).ok_or(NotFound)?;
        model.updated_at = now;
        model.revision += 1;
        self.0.insert(new_name.to_owned(), model);
        Ok(())
    }

    pub fn touch(&mut self, now: u64, name: &str, number: u32) -> Answer<()> {
        let version = self.version(name, number)?;
        version.last_used_at = version.last_used_at.max(Some(now));
        Ok(())
    }

    pub fn evict(&mut self, now: u64, name: &str, number: u32, idle_since: u64) -> Answer<bool> {
        let version = self.version(name, number)?;
        if version.last_used_at.unwrap_or(version.created_at) > idle_since {
            return Ok(false);
        }
        self.delete_version(now, name, number, None).map(|()| true)
    }
}
